"""A model under study, with everything a command needs to know about it, wherever it is from."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import nn

from analyses.output import check_folder
from interp.names import Head, check
from toy_models.checkpoint import RUN
from toy_models.config import to_dict
from toy_models.errors import InputError
from toy_models.task_config import TaskConfig
from toy_models.training.metrics_log import Record, read_metrics
from toy_models.training.run_folder import METRICS, read_run
from toy_models.training.target import Target


@runtime_checkable
class ModelConfig(Protocol):
    """What commands read of a configuration: `toy_models.TransformerConfig` has it, and so has `BridgeConfig`."""

    @property
    def n_layers(self) -> int: ...
    @property
    def n_heads(self) -> int: ...
    @property
    def d_model(self) -> int: ...
    @property
    def d_head(self) -> int: ...
    @property
    def d_vocab(self) -> int: ...
    @property
    def n_ctx(self) -> int: ...
    @property
    def d_mlp(self) -> int: ...
    @property
    def activation(self) -> str: ...
    @property
    def positions(self) -> str: ...
    @property
    def normalization(self) -> str: ...
    @property
    def learned_positions(self) -> bool: ...
    @property
    def tied_embeddings(self) -> bool: ...
    @property
    def smeared_keys(self) -> bool: ...
    @property
    def biases(self) -> bool: ...


@runtime_checkable
class Tokens(Protocol):
    """Names of tokens, and how text is read: `toy_models.Vocabulary`, or a tokenizer."""

    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def bos(self) -> int | None: ...
    @property
    def kind(self) -> str: ...
    def encode(self, text: str) -> list[int]: ...


@dataclass(frozen=True)
class Subject:
    """A model under study: where it is from, its tokens' names, and what is known about its training.

    `path` is what was asked for and `checkpoint` the folder or file that the weights were read from; `run` is the run
    folder that they belong to, None for a model that stands alone. `step`, `task` and `vocabulary` are None where
    nobody wrote them down.
    """

    model: nn.Module
    config: ModelConfig
    path: Path
    checkpoint: Path
    run: Path | None
    model_hash: str
    vocabulary: Tokens | None
    task: TaskConfig | None
    step: int | None
    bos: int | None = None
    """The token that begins every sequence, if there is one."""
    excluded: tuple[int, ...] = ()
    """Tokens that are never drawn at random: special ones, and rows of the embedding that no token has."""
    home: Path | None = None
    """Where results go if nobody says; None for `path`."""
    kind: str = ""
    """What the model is beyond its configuration, in a few words."""
    notes: tuple[str, ...] = ()
    """What has to be said about how it was read."""

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
        return check_folder(out or self.home or self.path)

    def to_dict(self) -> dict[str, Any]:
        """What identifies the model, for JSON."""
        return {
            "path": str(self.path),
            "checkpoint": str(self.checkpoint),
            "step": self.step,
            "hash": self.model_hash,
            "config": to_dict(self.config),
            "task": None if self.task is None else to_dict(self.task),
            **({"notes": list(self.notes)} if self.notes else {}),
        }

    def describe(self) -> str:
        """One line for the terminal."""
        c = self.config
        mlp = "attention-only" if c.d_mlp == 0 else f"MLPs of {c.d_mlp}"
        kind = f"{self.kind}, {mlp}" if self.kind else mlp
        trained = "" if self.step is None else f", {self.step} steps"
        on = "" if self.task is None else f" on {self.task.kind}"
        notes = "".join(f"; {note}" for note in self.notes)
        return (
            f"{self.path}: {c.n_layers} layers x {c.n_heads} heads, {kind}, {c.positions} positions, "
            f"{c.d_vocab} tokens, context {c.n_ctx}{trained}{on}{notes}"
        )
