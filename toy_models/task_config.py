"""What the training data are: one frozen dataclass for each task, which refuses what cannot work, and its JSON form.

No torch import, so that a command line can be generated from these classes without loading torch.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

from toy_models.config import check_field_types, from_dict
from toy_models.errors import InputError


@dataclass(frozen=True)
class RepeatedTokensConfig:
    """A few fresh random tokens, then a random block that is repeated until the context is full.

    Each sequence draws its own period and offset, both uniformly. Raises `InputError` when made, if no
    sequence would hold a repeated token.
    """

    kind: Literal["repeated-tokens"] = "repeated-tokens"
    d_vocab: int = 64
    """Number of tokens, the beginning-of-sequence token included."""
    n_ctx: int = 64
    """Length of every sequence, the beginning-of-sequence token included."""
    bos: bool = True
    """Whether every sequence begins with token 0, which occurs nowhere else."""
    min_period: int = 8
    """Shortest repeated block."""
    max_period: int = 24
    """Longest repeated block."""
    max_offset: int = 8
    """Most fresh tokens before the first block."""

    def __post_init__(self) -> None:
        check_field_types(self)
        _check_lowest(self, n_ctx=2, min_period=1, max_offset=0)
        _check_symbols(self.d_vocab - self.bos, "a repeated block", self.bos)
        _check_order(self, "min_period", "max_period")
        longest = self.bos + self.max_offset + self.max_period
        if longest >= self.n_ctx:
            raise InputError(
                f"the longest offset and block take {longest} of {self.n_ctx} positions, so nothing is repeated: "
                "lower max_period or max_offset, or raise n_ctx"
            )


@dataclass(frozen=True)
class MarkovConfig:
    """Markov chains whose transition matrix is drawn anew for every sequence, rows from a symmetric Dirichlet.

    After Edelman et al. 2024 (arXiv:2402.11004). Raises `InputError` when made, if the values cannot work.
    """

    kind: Literal["markov"] = "markov"
    n_states: int = 8
    """States of the chain; the vocabulary has one token more with bos."""
    n_ctx: int = 64
    """Length of every sequence, the beginning-of-sequence token included."""
    bos: bool = True
    """Whether every sequence begins with token 0, which is not a state."""
    alpha: float = 0.2
    """Concentration of the Dirichlet; below 1 rows are nearly deterministic, far above 1 nearly uniform."""

    def __post_init__(self) -> None:
        check_field_types(self)
        _check_lowest(self, n_states=2, n_ctx=self.bos + 3)
        if self.n_states > 32767:
            raise InputError(f"n_states must be at most 32767, got {self.n_states}")
        if not (math.isfinite(self.alpha) and 0.05 <= self.alpha <= 1000):
            raise InputError(f"alpha must lie between 0.05 and 1000, got {self.alpha}")

    @property
    def d_vocab(self) -> int:
        return self.n_states + self.bos


@dataclass(frozen=True)
class SkipTrigramsConfig:
    """One source token somewhere early; after it, every trigger is answered by the pair's own output.

    (source, trigger) -> output is a fixed table, drawn from `table_seed`. Raises `InputError` when made, if
    the values cannot work.
    """

    kind: Literal["skip-trigrams"] = "skip-trigrams"
    n_sources: int = 4
    """Tokens that occur once, and decide what triggers mean in the rest of the sequence."""
    n_triggers: int = 4
    """Tokens that are followed by their output."""
    n_others: int = 24
    """Tokens that are neither; outputs are among them."""
    n_ctx: int = 64
    """Length of every sequence, the beginning-of-sequence token included."""
    bos: bool = True
    """Whether every sequence begins with token 0, which occurs nowhere else."""
    max_source_position: int = 16
    """The source stands at one of this many first places, all equally likely."""
    reliability: float = 0.9
    """Chance that a trigger after the source is followed by its output; otherwise noise follows."""
    trigger_rate: float = 0.25
    """Chance that a token of noise is a trigger (all equally likely), otherwise one of the others."""
    table_seed: int = 0
    """Seed of the table."""

    def __post_init__(self) -> None:
        check_field_types(self)
        _check_lowest(self, n_sources=1, n_triggers=1, n_others=2, n_ctx=self.bos + 3, max_source_position=1)
        if self.bos + self.max_source_position + 2 > self.n_ctx:
            raise InputError(
                f"a source at place {self.max_source_position} leaves no room for a trigger and its output in "
                f"{self.n_ctx} positions: lower max_source_position or raise n_ctx"
            )
        if self.n_others < max(self.n_sources, self.n_triggers):
            raise InputError(
                f"a source's outputs must differ, and a trigger's too, so n_others must be at least "
                f"{max(self.n_sources, self.n_triggers)}, got {self.n_others}"
            )
        if not 0 < self.reliability <= 1:
            raise InputError(f"reliability must be above 0 and at most 1, got {self.reliability}")
        if not 0 < self.trigger_rate < 1:
            raise InputError(f"trigger_rate must lie between 0 and 1, both excluded, got {self.trigger_rate}")
        if not 0 <= self.table_seed < 2**63:
            raise InputError(f"table_seed must be 0 or above and below 2**63, got {self.table_seed}")

    @property
    def d_vocab(self) -> int:
        return self.bos + self.n_sources + self.n_triggers + self.n_others


@dataclass(frozen=True)
class TextConfig:
    """Windows of real text, in byte-level BPE tokens or raw bytes; held-out text by whole files.

    With no `paths`, the Python source files of the running interpreter's standard library. Raises
    `InputError` when made, if the values cannot work; files are read later.
    """

    kind: Literal["text"] = "text"
    paths: tuple[str, ...] = ()
    """Files and folders to read; none for the standard library's source files."""
    suffixes: tuple[str, ...] = (".py", ".txt", ".md", ".rst")
    """Files of a folder are read if their name ends in one of these; files named one by one always are."""
    tokenizer: Literal["bpe", "bytes"] = "bpe"
    """Byte-level BPE trained on the training files, or one token for each byte."""
    max_vocab: int = 1024
    """Most tokens of a BPE vocabulary; text too short for so many merges gives fewer. Not used for bytes."""
    n_ctx: int = 128
    """Length of every sequence, the beginning-of-sequence token included."""
    bos: bool = True
    """Whether every sequence begins with token 0, which occurs nowhere else."""
    held_out: float = 0.1
    """Share of the files kept for testing; 0 for none."""
    max_bytes: int | None = 4_000_000
    """Stop adding files when they hold this many bytes; None for all."""

    def __post_init__(self) -> None:
        check_field_types(self)
        _check_lowest(self, n_ctx=self.bos + 2)
        if self.tokenizer == "bpe" and self.max_vocab < 256 + self.bos:
            raise InputError(
                f"byte-level BPE starts from 256 bytes{' and <bos>' * self.bos}, so max_vocab must be at least "
                f"{256 + self.bos}, got {self.max_vocab}"
            )
        if not 0 <= self.held_out < 1:
            raise InputError(f"held_out must be 0 or above and below 1, got {self.held_out}")
        if self.max_bytes is not None and self.max_bytes < 1:
            raise InputError(f"max_bytes must be at least 1, or left out for all of the text, got {self.max_bytes}")
        if any(not suffix.startswith(".") for suffix in self.suffixes):
            raise InputError(f"suffixes must begin with a dot, as in .txt, got {', '.join(self.suffixes)}")
        if any(not path for path in self.paths):
            raise InputError("paths holds an empty name; leave paths out for the standard library's source files")


TaskConfig = RepeatedTokensConfig | MarkovConfig | SkipTrigramsConfig | TextConfig

TASK_CONFIGS: dict[str, type[TaskConfig]] = {
    cls.kind: cls for cls in (RepeatedTokensConfig, MarkovConfig, SkipTrigramsConfig, TextConfig)
}


def task_config_from_dict(values: Any) -> TaskConfig:
    """The task config that `toy_models.config.to_dict` wrote; its `kind` says of which class."""
    if not isinstance(values, dict) or "kind" not in values:
        raise InputError(f"a task needs a JSON object with a kind, one of {', '.join(TASK_CONFIGS)}")
    if not isinstance(values["kind"], str) or values["kind"] not in TASK_CONFIGS:
        raise InputError(f"unknown kind of task {values['kind']!r}; known: {', '.join(TASK_CONFIGS)}")
    return from_dict(TASK_CONFIGS[values["kind"]], values)


def _check_lowest(config: Any, **lowest: int) -> None:
    for name, least in lowest.items():
        if getattr(config, name) < least:
            raise InputError(f"{name} must be at least {least}, got {getattr(config, name)}")


def _check_order(config: Any, low: str, high: str) -> None:
    if getattr(config, low) > getattr(config, high):
        raise InputError(f"{low} {getattr(config, low)} is above {high} {getattr(config, high)}")


def _check_symbols(n_symbols: int, what: str, bos: bool) -> None:
    if n_symbols < 2:
        raise InputError(
            f"{what} needs at least 2 tokens{' besides the beginning-of-sequence token' * bos}, got {n_symbols}: "
            "raise d_vocab"
        )
