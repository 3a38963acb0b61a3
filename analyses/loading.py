"""A model from disk with everything a command needs to know about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from analyses.output import check_folder
from interp.names import Head, check
from toy_models.checkpoint import CHECKPOINTS, RUN, load_checkpoint
from toy_models.config import TransformerConfig, to_dict
from toy_models.errors import InputError
from toy_models.task_config import TaskConfig
from toy_models.training.metrics_log import Record, read_metrics
from toy_models.training.run_folder import METRICS, read_run
from toy_models.training.target import Target
from toy_models.transformer import Transformer
from toy_models.vocabulary import Vocabulary


@dataclass(frozen=True)
class Subject:
    """A model under study: where it is from, its tokens' names, and what is known about its training.

    `path` is the folder that was asked for and `checkpoint` the one that the weights were read from; `run` is the
    run folder that they belong to, None for a checkpoint that stands alone. `step`, `task` and `vocabulary` are
    None where nobody wrote them down.
    """

    model: Transformer
    path: Path
    checkpoint: Path
    run: Path | None
    model_hash: str
    vocabulary: Vocabulary | None
    task: TaskConfig | None
    step: int | None

    @property
    def config(self) -> TransformerConfig:
        return self.model.config

    @property
    def name(self) -> str:
        """What to call it in titles: the run's name, and the step for one of its checkpoints."""
        if self.run is None or self.path.resolve() == self.run:
            return self.path.resolve().name
        return f"{self.run.name}, {self.path.resolve().name}"

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The tokens' names; their numbers where there is no vocabulary."""
        if self.vocabulary is not None:
            return self.vocabulary.labels
        return tuple(str(token) for token in range(self.config.d_vocab))

    @property
    def bos(self) -> int | None:
        """The token that begins every sequence, if there is one."""
        return None if self.vocabulary is None else self.vocabulary.bos

    @property
    def heads(self) -> tuple[Head, ...]:
        """All heads, layer by layer."""
        return tuple(Head(*at) for at in product(range(self.config.n_layers), range(self.config.n_heads)))

    def choose(self, names: Sequence[str]) -> tuple[Head, ...]:
        """The heads of these names, once each and in order, all without any; `InputError` for one that is not there."""
        if not self.heads:
            raise InputError(f"{self.path} has no attention heads: n_layers is 0")
        c = self.config
        return tuple(sorted({check(Head.parse(name), c.n_layers, c.n_heads) for name in names})) or self.heads

    @cached_property
    def info(self) -> dict[str, Any] | None:
        """run.json of the run; `InputError` if it is damaged."""
        return None if self.run is None else read_run(self.run)

    @cached_property
    def target(self) -> Target | None:
        """The losses that the run was measured against."""
        saved = None if self.info is None else self.info["target"]
        try:
            return None if saved is None else Target.from_dict(saved)
        except (KeyError, TypeError) as error:
            raise InputError(f"{self.run}/{RUN}: its target cannot be read: {error!r}") from error

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """The run's metrics, empty for a checkpoint that stands alone."""
        return () if self.run is None else tuple(read_metrics(self.run / METRICS))

    def folder(self, out: Path | None) -> Path:
        """Where results go: `out`, or beside the model; `OutputError` if nothing can be written there."""
        return check_folder(self.path if out is None else out)

    def to_dict(self) -> dict[str, Any]:
        """What identifies the model, for JSON."""
        return {
            "path": str(self.path),
            "checkpoint": str(self.checkpoint),
            "step": self.step,
            "hash": self.model_hash,
            "config": to_dict(self.config),
            "task": None if self.task is None else to_dict(self.task),
        }

    def describe(self) -> str:
        """One line for the terminal."""
        c = self.config
        kind = "attention-only" if c.d_mlp == 0 else f"MLPs of {c.d_mlp}"
        trained = "" if self.step is None else f", {self.step} steps"
        on = "" if self.task is None else f" on {self.task.kind}"
        return (
            f"{self.path}: {c.n_layers} layers x {c.n_heads} heads, {kind}, {c.positions} positions, "
            f"{c.d_vocab} tokens, context {c.n_ctx}{trained}{on}"
        )


def load_subject(path: str | Path, device: str = "cpu") -> Subject:
    """The model of a run folder or a checkpoint folder.

    Raises `InputError` when there is none, or it is damaged (naming the file), when what is said about its vocabulary
    or task cannot be, and for an unknown device.
    """
    path = Path(path)
    checkpoint = load_checkpoint(path, device)
    try:
        vocabulary, task = checkpoint.vocabulary, checkpoint.task
        if vocabulary is not None and len(vocabulary) != checkpoint.config.d_vocab:
            d_vocab = checkpoint.config.d_vocab
            raise InputError(f"the vocabulary has {len(vocabulary)} tokens, the model's d_vocab is {d_vocab}")
        step = checkpoint.metadata.get("step")
        if not (step is None or (isinstance(step, int) and step >= 0)):
            raise InputError(f"step must be a whole number of 0 or above, got {step!r}")
    except InputError as error:
        raise InputError(f"{checkpoint.path / 'config.json'}: metadata: {error}") from error
    return Subject(
        model=checkpoint.model,
        path=path,
        checkpoint=checkpoint.path,
        run=find_run(path),
        model_hash=checkpoint.model_hash,
        vocabulary=vocabulary,
        task=task,
        step=step,
    )


def find_run(path: Path) -> Path | None:
    """The run folder that a folder is, or whose checkpoint it is."""
    path = path.resolve()
    if (path / RUN).exists():
        return path
    above = path.parent.parent
    return above if path.parent.name == CHECKPOINTS and (above / RUN).exists() else None
