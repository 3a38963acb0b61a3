"""The README's examples are run, on a small run folder in place of runs/demo, and its tables are those of the code."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from analyses import cli, exits
from analyses.arguments import COMMANDS, TRAIN_KINDS
from analyses.commands import circuits, composition
from analyses.criteria import ROLES
from analyses.evidence import CONFIDENCE
from tests.foreign_models import save as save_foreign
from toy_models import handmade, training
from toy_models.checkpoint import save_checkpoint
from toy_models.handmade.variants import with_idle_heads
from toy_models.training import measure_target
from toy_models.transformer import Transformer
from toy_models.vocabulary import Vocabulary

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
QUICK = ["--train.steps", "2", "--train.batch-size", "4", "--train.eval-sequences", "4"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def rows_under(heading: str) -> list[list[str]]:
    """The cells of the table whose first row begins with these words, as plain text."""
    lines = README.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


@dataclass(frozen=True)
class Done:
    """A command of the README, and what became of it."""

    command: str
    code: int
    out: str
    err: str
    told: str
    """What the README shows below it."""

    @property
    def shown(self) -> str:
        """What a terminal shows of it, where the README shows something."""
        return f"{self.code}\n" if self.command.endswith("; echo $?") else self.out


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder to work in: runs/demo is the handmade induction model with 2 x 4 heads, its first checkpoint random."""
    folder = tmp_path_factory.mktemp("readme")
    demo = folder / "runs" / "demo"
    vocabulary = Vocabulary(("<bos>", *"abcdefghijklmnopqrstuvw"), 0, "symbols")
    metadata = {"step": 1000, "vocabulary": vocabulary.to_dict()}
    made = with_idle_heads(handmade.make("induction_k", d_vocab=24, n_ctx=40, dtype=torch.float32), 3)
    save_checkpoint(demo, made.model, metadata)
    untrained = Transformer(made.model.config, torch.Generator().manual_seed(0))
    save_checkpoint(demo / "checkpoints" / "step-00000000", untrained, metadata | {"step": 0})
    save_foreign("llama", folder / "models" / "tiny-llama")
    shutil.copy(ROOT / "README.md", folder)
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(Figure, "savefig", lambda self, file, **options: file.write(b"\x89PNG"))
        patch.setattr(training.run, "measure_target", lambda task: measure_target(task, 64, 4))
        for module in (circuits, composition):
            patch.setattr(module, "DRAWS", 6)
        yield folder


@pytest.fixture(scope="module")
def called(place) -> list[Done]:
    """Every command of the README in order: those of make are planned only, training takes two steps."""
    done = []
    for command, told in commands():
        line, _, target = command.removesuffix("; echo $?").partition(" > ")
        words = shlex.split(line)
        if words[:2] == ["interp", "train"] and "--resume" not in words:
            words += ["--steps", "2"] if words[2] in TRAIN_KINDS else QUICK
        code, out, err = planned(words) if words[0] == "make" else ran(words)
        if target:
            (place / target).write_text(out)
        done.append(Done(command, code, out, err, told))
    return done


def commands() -> list[tuple[str, str]]:
    """Each `$ command` with the lines below it."""
    found = []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            found.append((command, shown))
    return found


def planned(words: list[str]) -> tuple[int, str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    plan = [words[0], "--no-print-directory", "-n", *words[1:]]
    done = subprocess.run(plan, cwd=ROOT, env=ours, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def ran(words: list[str]) -> tuple[int, str, str]:
    assert words[0] == "interp"
    with pytest.MonkeyPatch.context() as patch:
        streams = {name: Captured() for name in ("stdout", "stderr")}
        for name, stream in streams.items():
            patch.setattr(f"sys.{name}", stream)
        code = cli.run(words[1:])
    return code, str(streams["stdout"]), str(streams["stderr"])


class Captured:
    """A stream that keeps what is written to it."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def write(self, text: str) -> int:
        self.parts.append(text)
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return False

    def __str__(self) -> str:
        return "".join(self.parts)


@pytest.fixture(scope="module")
def python(place) -> tuple[dict[str, Any], dict[str, tuple[Any, str]]]:
    """The names that the Python blocks leave behind, and each bare expression with its value and comment."""
    names: dict[str, Any] = {}
    values: dict[str, tuple[Any, str]] = {}
    for block in blocks("python"):
        lines = block.splitlines()
        for statement in ast.parse(block).body:
            source = ast.get_source_segment(block, statement)
            assert source is not None
            if isinstance(statement, ast.Expr):
                comment = lines[statement.lineno - 1].partition("  #")[2].strip()
                values[source] = eval(source, names), comment
            else:
                exec(source, names)
    return names, values


def test_every_command_exits_as_the_readme_says(called):
    silent = [done for done in called if not done.told]
    assert [(done.command, done.err) for done in silent if done.code] == []
    assert {done.command: done.shown for done in called if done.told} == {
        done.command: done.told for done in called if done.told
    }
    assert {done.told for done in called if done.told} == {"0\n", "1\n", "2\n", "3\n"}


def test_commands_write_what_the_readme_promises(called, place):
    assert json.loads((place / "untrained.json").read_text())["model"]["step"] == 0
    assert (place / "patterns" / "patterns.html").stat().st_size > 1_000_000
    assert (place / "patterns" / "patterns.png").exists()
    config = json.loads((place / "runs" / "rotary" / "config.json").read_text())
    assert (config["n_heads"], config["positions"]) == (8, "rotary")
    assert json.loads((place / "runs" / "notes" / "run.json").read_text())["config"]["task"]["paths"] == [
        "README.md",
        "notebooks",
    ]
    assert [line for done in called if done.command == "make demo" for line in done.out.splitlines()][-1].endswith(
        "interp demo --out runs/demo"
    )


def test_the_run_folder_it_draws_is_the_one_that_training_makes(called, place):
    drawn = next(block for block in blocks("text") if "metrics.jsonl" in block)
    names = re.findall(r"[\w-]+\.(?:json|jsonl|safetensors)\b", drawn)
    in_checkpoint = set(names[names.index("model.safetensors") + 1 :])
    run = place / "runs" / "rotary"
    files = {path.name for path in run.iterdir() if path.is_file()}
    checkpoint = {path.name for path in (run / "checkpoints" / "step-00000002").iterdir()}
    assert files == {"run.json", "metrics.jsonl", "config.json", "model.safetensors"}
    assert files <= set(names)
    assert checkpoint == in_checkpoint


def test_python_examples_give_the_values_in_their_comments(python):
    names, values = python
    found, comment = values.pop('report.heads("induction", confidence="strong")')
    assert found == ["L1H0"]
    assert found[0] in ast.literal_eval(comment)  # the demo has three, the handmade model one
    given = {source: comment.partition(":")[0] for source, (_, comment) in values.items()}
    given = {source: value for source, value in given.items() if value.startswith(("[", "(", "torch.Size", "True"))}
    assert len(given) == 6
    assert {source: repr(values[source][0]) for source in given} == given
    assert float(values["copying.value[1, 0]"][0]) > 0.99
    assert float(values["copying.null_quantile(0.99)[1, 0]"][0]) < 0.5
    assert float(values['contrast.by_kind()["K"].mean()'][0]) == pytest.approx(40, abs=1e-3)  # the sharpness of a match
    recovered, shifted = values["found.share, found.control"][0]
    assert (recovered.mean, shifted.mean < 0) == (pytest.approx(1, abs=1e-3), True)
    assert values["report.to_dict()"][0]["schema"] == "interp-audit"
    with torch.no_grad():
        assert not torch.allclose(names["logits"], names["model"](names["tokens"]))


def test_the_output_it_shows_has_the_columns_and_the_legend_of_todays(called):
    shown = next(block for block in blocks("text") if "Held-out loss" in block)
    today = next(done.out for done in called if "--no-report --expect induction --expect" in done.command)
    header = next(line for line in today.splitlines() if line.startswith("head "))
    assert header.split() in [line.split() for line in shown.splitlines()]
    legend = " ".join(today[today.index("b w c:") : today.index("expected induction")].split())
    assert legend.split(": random tokens")[0] in " ".join(shown.split())
    trained = next(done.out for done in called if "runs/rotary" in done.command and "--out" in done.command)
    assert [line[:29] for line in trained.splitlines()[2:9]] == [line[:29] for line in shown.splitlines()[:7]]


def test_tables_say_what_the_code_says():
    assert dict(rows_under("confidence")) == CONFIDENCE
    assert dict(rows_under("role")) == ROLES
    assert [row[0].strip("`").split()[1] for row in rows_under("command")] == list(COMMANDS)
    codes = {value for name, value in vars(exits).items() if name.isupper()}
    assert {int(row[0]) for row in rows_under("exit code")} == codes


def test_pictures_and_links_are_there_and_small():
    local = [target for target in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in target]
    assert len(local) >= 4
    assert [target for target in local if not (ROOT / target).is_file()] == []
    pictures = [ROOT / target for target in local if target.endswith(".png")]
    assert all(path.stat().st_size < 400_000 for path in pictures)
