"""The command line: its exit codes, its help, and that an error is one line."""

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from analyses import cli, exits
from analyses.arguments import COMMANDS
from analyses.parsing import parse
from interp.errors import InputError as InterpInputError
from toy_models.errors import InputError as ModelInputError
from toy_models.training import TrainingInterrupted

pytest_plugins = ("tests.command_line",)


@pytest.fixture
def heads_does(monkeypatch):
    """Puts another function in place of what `interp heads` runs."""

    def replace(action):
        def import_module(name):
            assert name == "analyses.commands.heads"
            return SimpleNamespace(run=action, __name__=name)

        monkeypatch.setattr(cli, "importlib", SimpleNamespace(import_module=import_module))

    return replace


def raising(error):
    def action(arguments):
        raise error

    return action


@pytest.mark.parametrize("code", [0, 1, 3])
def test_the_exit_code_is_the_commands(interp, heads_does, code):
    heads_does(lambda arguments: code)
    assert interp("heads", "x").code == code


@pytest.mark.parametrize("error", [InterpInputError, ModelInputError])
def test_bad_input_exits_2_with_its_message_as_one_line(interp, heads_does, error):
    heads_does(raising(error("tokens must be below 12,\n  got 99")))
    called = interp("heads", "x")
    assert (called.code, called.out, called.err) == (2, "", "interp: tokens must be below 12, got 99\n")


@pytest.mark.parametrize(
    "error",
    [RuntimeError("no"), AssertionError("no"), KeyError("no"), MemoryError(), SystemExit(1), SystemExit(0), OSError()],
    ids=lambda error: type(error).__name__,
)
def test_a_crash_exits_70_and_says_that_it_is_our_fault(interp, heads_does, error):
    heads_does(raising(error))
    called = interp("heads", "x")
    assert called.code == exits.INTERNAL_ERROR == 70
    assert called.err.startswith("interp: internal error, please report it")
    assert type(error).__name__ in called.err
    assert called.err.count("\n") == 1
    assert called.out == ""


@pytest.mark.parametrize("answer", [None, "fine", 1.0])
def test_a_command_that_returns_no_exit_code_exits_70(interp, heads_does, answer):
    heads_does(lambda arguments: answer)
    assert interp("heads", "x").code == 70


def test_a_command_that_cannot_be_imported_exits_70(interp, monkeypatch):
    def import_module(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(cli, "importlib", SimpleNamespace(import_module=import_module))
    assert interp("heads", "x").code == 70


def test_ctrl_c_exits_130(interp, heads_does):
    heads_does(raising(KeyboardInterrupt()))
    called = interp("heads", "x")
    assert (called.code, called.err) == (130, "interp: interrupted\n")


def test_ctrl_c_while_training_says_how_to_go_on(interp, heads_does, tmp_path):
    heads_does(raising(TrainingInterrupted(tmp_path / "my run", 40, 100)))
    called = interp("heads", "x")
    assert called.code == 130
    assert called.err == (
        f"interp: stopped after 40 of 100 steps; to go on: interp train --resume '{tmp_path / 'my run'}'\n"
    )


def test_debug_shows_the_traceback_of_bad_input_and_of_a_crash(interp, heads_does):
    for error, code in ((ModelInputError("what"), 2), (RuntimeError("what"), 70)):
        heads_does(raising(error))
        called = interp("heads", "x", "--debug")
        assert called.code == code
        assert "Traceback" in called.err
        assert "raise error" in called.err
        assert called.err.splitlines()[-1].startswith("interp: ")
        assert "Traceback" not in interp("heads", "x").err


REFUSED = {
    "no command": ([], "which command? One of demo, train"),
    "unknown command": (["frobnicate"], "there is no command 'frobnicate'; known: demo, train"),
    "misspelt command": (["haeds", "x"], "there is no command 'haeds'; did you mean heads?"),
    "no model": (["heads"], "missing from interp heads: MODEL"),
    "unknown option": (["heads", "x", "--frob"], "unrecognized options: --frob; see interp heads --help"),
    "misspelt option": (["train", "--model.n-layer", "2"], "(did you mean --model.n-layers?); see interp train --help"),
    "option of another command": (["heads", "x", "--top", "3"], "unrecognized options: --top"),
    "second model": (["heads", "x", "y"], "unrecognized options: y"),
    "option without a value": (["heads", "x", "--out"], "missing value for argument '--out'"),
    "not a number": (["heads", "x", "--seed", "one"], "error parsing --seed: invalid literal"),
    "negative seed": (["heads", "x", "--seed", "-1"], "--seed must be 0 or above"),
    "huge seed": (["heads", "x", "--seed", str(2**63)], "--seed must be 0 or above and below 2**63"),
    "unknown task": (["train", "--task", "poetry"], "invalid choice 'poetry'"),
    "tokens that are no numbers": (["lens", "x", "--tokens", "1", "b"], "--tokens takes whole numbers"),
    "no entries": (["circuits", "x", "--top", "0"], "--top must be at least 1, got 0"),
    "negative layers": (["train", "--model.n-layers", "-1"], "n_layers must be at least 0, got -1"),
    "negative width": (["train", "--model.d-model", "-8"], "d_model must be at least 1, got -8"),
    "d_head of 0": (["train", "--model.d-head", "0"], "d_head must be at least 1, got 0"),
    "odd rotary": (["train", "--model.positions", "rotary", "--model.d-head", "5"], "d_head must be even, got 5"),
    "no steps": (["train", "--train.steps", "0"], "steps must be at least 1, got 0"),
    "no learning rate": (["train", "--train.learning-rate", "nan"], "learning_rate must be a positive number"),
    "context too short": (["train", "--repeated-tokens.n-ctx", "20"], "so nothing is repeated"),
    "unknown kind of evidence": (["audit", "x", "--skip", "vibes"], "invalid choice 'vibes'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_a_command_line_is_refused_in_one_line(interp, case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words, message = REFUSED[case]
    called = interp(*words)
    assert called.code == 2
    assert called.out == ""
    assert called.err.startswith("interp: ")
    assert called.err.count("\n") == 1
    assert message in called.err
    assert not set("│╭╰─") & set(called.err)
    assert list(tmp_path.iterdir()) == []


def test_what_a_config_refuses_is_said_in_its_own_words(interp):
    assert interp("train", "--model.d-head", 0).err == "interp: d_head must be at least 1, got 0\n"


def test_debug_shows_the_traceback_of_a_refused_command_line(interp):
    called = interp("train", "--model.n-layers", "-1", "--debug")
    assert called.code == 2
    assert "Traceback" in called.err


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["heads", "None", "--out", "None"], "out", Path("None")),
        (["lens", "x", "--text", "None"], "text", "None"),
        (["lens", "x", "--text", ""], "text", ""),
        (["lens", "x", "--text=-h"], "text", "-h"),
        (["lens", "x", "--tokens", "3", "1,4", "-1"], "tokens", (3, 1, 4, -1)),
        (["lens", "x", "--tokens"], "tokens", ()),
        (["lens", "x"], "tokens", None),
        (["patterns", "--head", "0.1", "x", "--head", "L1H0"], "head", ("0.1", "L1H0")),
    ],
)
def test_words_are_read_as_they_are(words, name, value):
    assert getattr(parse(words), name) == value


def test_help_lists_every_command_and_the_exit_codes(interp):
    called = interp("--help")
    assert (called.code, called.err) == (0, "")
    for name in COMMANDS:
        assert f"\n  {name} " in called.out
    for code in (0, 1, 2, 3, 70, 130):
        assert f" {code} " in called.out
    assert max(map(len, called.out.splitlines())) <= 98
    assert "\x1b" not in called.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_without_colour_when_nobody_sees_it(interp, name):
    called = interp(name, "--help")
    assert (called.code, called.err) == (0, "")
    assert f"usage: interp {name}" in called.out
    assert "--json" in called.out
    assert "\x1b" not in called.out


def test_version_is_the_installed_one(interp):
    from importlib.metadata import version

    assert interp("--version").out == f"interp {version('interp')}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_module(name):
    assert callable(importlib.import_module(f"analyses.commands.{name}").run)


def process(*words, **options):
    command = [sys.executable, "-m", "analyses.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


def test_help_loads_neither_torch_nor_anything_else_that_is_slow():
    code = (
        "import sys; from analyses import cli; print(cli.run(['--help']), file=sys.stderr);"
        "print(cli.run(['train', '--help']), file=sys.stderr);"
        "slow = {'torch', 'transformer_lens', 'numpy', 'matplotlib', 'scipy'} & set(sys.modules);"
        "print(sorted(slow), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == "0\n0\n[]\n"


def test_help_takes_less_than_half_a_second_of_processor_time():
    code = "import time; from analyses import cli; cli.run(['--help']); print(time.process_time())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert float(done.stdout.splitlines()[-1]) < 0.5


def test_a_process_exits_with_the_code_and_one_line():
    done = process("heads", "/nowhere")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "interp: /nowhere does not exist; give a run folder or a checkpoint folder\n"


def test_output_that_cannot_be_written_exits_2():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "analyses.cli", "--version"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stderr == "interp: cannot write standard output: No space left on device\n"


def test_a_reader_that_went_away_is_no_error_of_ours():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "analyses.cli", "--version"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")
