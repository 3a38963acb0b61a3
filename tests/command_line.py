"""The `interp` command called in this process, and models on disk for it to read.

In a test module: `pytest_plugins = ("tests.command_line",)`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from analyses import cli
from tests.small_runs import MODEL, TARGET, TASK, small_run
from toy_models import handmade, training
from toy_models.checkpoint import save_checkpoint
from toy_models.config import to_dict
from toy_models.tasks import make_task
from toy_models.training.seeds import generator_for
from toy_models.transformer import Transformer
from toy_models.vocabulary import Vocabulary


@dataclass(frozen=True)
class Called:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as strict JSON."""

        def refuse(word: str) -> None:
            raise AssertionError(f"{word} is no JSON")

        return json.loads(self.out, parse_constant=refuse)

    def row(self, *start: str) -> list[str]:
        """The words of the first line of standard output that begins with these."""
        for line in self.out.splitlines():
            if line.split()[: len(start)] == list(start):
                return line.split()
        raise AssertionError(f"no line begins with {start} in:\n{self.out}")


@pytest.fixture
def interp(capsys) -> Callable[..., Called]:
    """`interp("heads", folder, "--json")` gives exit code, output and errors."""

    def call(*words: object) -> Called:
        capsys.readouterr()
        code = cli.run([str(word) for word in words])
        captured = capsys.readouterr()
        return Called(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """A checkpoint with random weights, a vocabulary and a task: 2 layers of 2 heads, 12 tokens, context 24."""
    folder = tmp_path_factory.mktemp("tiny") / "tiny"
    metadata = {"step": 7, "task": to_dict(TASK), "vocabulary": make_task(TASK).vocabulary.to_dict()}
    save_checkpoint(folder, Transformer(MODEL, generator_for(0, "weights")), metadata)
    return folder


@pytest.fixture(scope="session")
def nameless(tmp_path_factory) -> Path:
    """The same weights, and nothing said about tokens or training."""
    folder = tmp_path_factory.mktemp("nameless") / "nameless"
    save_checkpoint(folder, Transformer(MODEL, generator_for(0, "weights")))
    return folder


@pytest.fixture(scope="session")
def induction(tmp_path_factory) -> Path:
    """The handmade K-composition induction model: L0H0 looks back by one, L1H0 is the induction head."""
    folder = tmp_path_factory.mktemp("induction") / "induction"
    made = handmade.make("induction_k")
    save_checkpoint(folder, made.model, {"vocabulary": Vocabulary(made.labels, 0, "symbols").to_dict()})
    return folder


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory) -> Path:
    """A finished run of 24 steps."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.run, "measure_target", lambda task: TARGET)
        training.train(small_run(), folder, progress=False)
    return folder


@pytest.fixture(scope="session")
def tree() -> Callable[[Path], dict[str, tuple[int, int]]]:
    """`tree(folder)`: every file below it with its size and time of change, to see that nothing was touched."""

    def look(folder: Path) -> dict[str, tuple[int, int]]:
        found = {str(path.relative_to(folder)): path.stat() for path in folder.rglob("*")}
        return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in found.items()}

    return look
