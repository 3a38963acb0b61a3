"""What a person sees when `make` cannot do its work, and that the next run tries again. Nothing is installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Stands in for Python: says which version it is, makes a .venv whose python is itself, "installs" or refuses to.
PYTHON = """#!/bin/sh
case "$*" in
    *version_info*) echo "${FAKE_VERSION:-3.11}" ;;
    "-m venv --clear .venv")
        [ -z "${FAKE_NO_VENV:-}" ] || { echo "No module named venv" >&2; exit 1; }
        rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    "-m pip --version") echo "pip 25" ;;
    "-m pip install "*)
        [ -z "${FAKE_NO_NETWORK:-}" ] || { echo "ERROR: Could not find a version of torch" >&2; exit 1; }
        echo "$*" >>installed
        printf '#!/bin/sh\\necho ran interp "$@"\\n' >.venv/bin/interp
        printf '#!/bin/sh\\ncp "$6" "$5"\\n' >.venv/bin/jupytext
        printf '#!/bin/sh\\necho executed >>"$2"; exit ${FAKE_EXECUTE:-0}\\n' >.venv/bin/jupyter-execute
        chmod +x .venv/bin/* ;;
    "-m pytest "*) echo "ran $* with OMP_NUM_THREADS=$OMP_NUM_THREADS"; exit "${FAKE_PYTEST:-0}" ;;
    *) echo "unexpected: $*" >&2; exit 9 ;;
esac
"""


@pytest.fixture
def make(tmp_path):
    """Runs make in a copy of the build files, with the stand-in for Python and any environment variables."""
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    for name in ("Makefile", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    executable(tmp_path / "python", PYTHON)

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        ours = ("MAKE", "MFLAGS", "PYTHON", "OMP_", "MKL_")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        return subprocess.run(
            ["make", "--no-print-directory", f"PYTHON={tmp_path / 'python'}", *arguments],
            cwd=tmp_path,
            env=inherited | environment,
            capture_output=True,
            text=True,
            timeout=30,
        )

    return run


def executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def the_one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The only line on stderr, apart from make's own."""
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert len(lines) == 1
    return lines[0]


def test_demo_installs_once_and_runs_the_main_job_each_time(make, tmp_path):
    first, second = make("demo"), make("demo")
    assert (first.returncode, second.returncode) == (0, 0)
    assert first.stdout.splitlines() == [
        f"interp: creating .venv with {tmp_path / 'python'}",
        "interp: installing . into .venv (minutes the first time; log in install.log)",
        "interp: training the default model and auditing it, into runs/demo",
        "ran interp demo --out runs/demo",
    ]
    assert second.stdout.splitlines() == first.stdout.splitlines()[2:]


def test_a_changed_setup_cfg_installs_again(make, tmp_path):
    make("demo")
    os.utime(tmp_path / "setup.cfg", (4e9, 4e9))
    make("demo")
    assert len((tmp_path / "installed").read_text().splitlines()) == 2


def test_test_installs_the_test_extra_and_runs_everything_one_thread_a_worker(make, tmp_path):
    done = make("test")
    assert done.stdout.splitlines()[-1] == "ran -m pytest -n 2 with OMP_NUM_THREADS=1"
    assert (tmp_path / "installed").read_text().endswith("--editable .[test]\n")


def test_test_fails_when_pytest_fails(make):
    assert make("test", FAKE_PYTEST="1").returncode == 2


def test_an_old_python_is_named_with_what_to_do(make, tmp_path):
    line = the_one_line(make("demo", FAKE_VERSION="3.9"))
    python = tmp_path / "python"
    assert line == (
        f"interp: {python} is Python 3.9, but 3.11 or newer is needed; name another, as in: make PYTHON=python3.12"
    )
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize(
    ("version", "accepted"),
    [("2.7", False), ("3.1", False), ("3.10", False), ("3.11", True), ("3.20", True), ("4.0", True)],
)
def test_versions_from_3_11_on_are_accepted(make, version, accepted):
    assert (make("demo", FAKE_VERSION=version).returncode == 0) == accepted


def test_a_missing_python_is_named(make):
    line = the_one_line(make("demo", "PYTHON=no-such-python"))
    assert line == "interp: cannot run no-such-python; name another, as in: make PYTHON=python3.12"


def test_a_python_without_venv_is_told_how_to_get_it_and_the_log_says_why(make, tmp_path):
    line = the_one_line(make("demo", FAKE_NO_VENV="1"))
    assert line.endswith("is its venv module installed (Debian: apt install python3-venv)? See the end of install.log")
    assert "No module named venv" in (tmp_path / "install.log").read_text()


@pytest.mark.parametrize("target", ["demo", "test", "check"])
def test_a_failed_download_names_the_log_and_the_next_run_tries_again(make, tmp_path, target):
    line = the_one_line(make(target, FAKE_NO_NETWORK="1"))
    assert "failed; is the network there" in line
    assert "install.log" in line
    assert "ERROR: Could not find a version of torch" in (tmp_path / "install.log").read_text()
    assert not (tmp_path / "installed").exists()
    make(target)
    assert (tmp_path / "installed").exists()


def test_a_broken_venv_is_made_anew(make, tmp_path):
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").symlink_to("/nowhere/python")
    done = make("demo")
    assert (done.returncode, done.stderr) == (0, "")


def test_notebooks_are_executed_and_kept_as_they_were_when_a_cell_fails(make, tmp_path):
    (tmp_path / "notebooks").mkdir()
    script, notebook = tmp_path / "notebooks/story.py", tmp_path / "notebooks/story.ipynb"
    script.write_text("one\n")
    assert make("notebooks").returncode == 0
    assert notebook.read_text() == "one\nexecuted\n"
    script.write_text("two\n")
    assert make("notebooks", FAKE_EXECUTE="1").returncode == 2
    assert notebook.read_text() == "one\nexecuted\n"
    assert make("notebooks").returncode == 0
    assert notebook.read_text() == "two\nexecuted\n"
    assert len((tmp_path / "installed").read_text().splitlines()) == 1


def test_clean_keeps_the_runs(make, tmp_path):
    make("demo")
    (tmp_path / "runs/demo").mkdir(parents=True)
    assert make("clean").returncode == 0
    assert (tmp_path / "runs/demo").exists()
    assert not (tmp_path / ".venv").exists()


# .ci/run -------------------------------------------------------------------------------------------------


@pytest.fixture
def ci(tmp_path):
    """Runs .ci/run where only stand-ins for apt-get, id and make are to be found, and no browser."""
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "dirname"):
        (tools / name).symlink_to(shutil.which(name))
    executable(tools / "id", "#!/bin/sh\necho ${FAKE_USER:-0}\n")
    executable(tools / "apt-get", '#!/bin/sh\necho "$@" >>apt-calls\nexit ${FAKE_APT:-0}\n')
    executable(tools / "make", "#!/bin/sh\necho make $@ browser=$INTERP_REQUIRE_BROWSER\nexit ${FAKE_MAKE:-0}\n")

    def run(**environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [tools / "bash", tmp_path / ".ci/run"],
            env={"PATH": str(tools), "CI": "true"} | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )

    return run


def test_ci_installs_a_browser_insists_on_it_and_runs_make_test(ci, tmp_path):
    done = ci()
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "make test browser=1")
    assert (tmp_path / "apt-calls").read_text().splitlines() == [
        "update",
        "install -y --no-install-recommends chromium",
    ]


def test_ci_leaves_an_installed_browser_alone(ci, tmp_path):
    executable(tmp_path / "bin/chromium", "#!/bin/sh\n")
    assert ci().stdout == "make test browser=1\n"
    assert not (tmp_path / "apt-calls").exists()


def test_ci_fails_when_the_tests_fail(ci):
    assert ci(FAKE_MAKE="2").returncode == 2


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({"FAKE_APT": "100"}, "interp: installing chromium failed; see install-chromium.log\n"),
        ({"FAKE_USER": "1000"}, "interp: no chromium, and only root with apt-get could install it here\n"),
    ],
)
def test_ci_says_why_there_is_no_browser_and_goes_on(ci, environment, line):
    done = ci(**environment)
    assert done.stderr == line
    assert done.stdout.endswith("make test browser=1\n")


def test_outside_ci_a_missing_browser_is_no_failure(ci):
    assert ci(CI="").stdout.endswith("make test browser=\n")
