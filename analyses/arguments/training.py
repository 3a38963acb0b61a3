"""The options of `interp train` that describe the model, its training and its task; no torch import."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from toy_models.config import TransformerConfig
from toy_models.task_config import MarkovConfig, RepeatedTokensConfig, SkipTrigramsConfig, TextConfig
from toy_models.train_config import TrainConfig


@dataclass(frozen=True)
class ModelOptions(TransformerConfig):
    """The transformer; its vocabulary and context are those of the task."""

    d_vocab: Annotated[int, tyro.conf.Suppress] = 64
    n_ctx: Annotated[int, tyro.conf.Suppress] = 64


@dataclass(frozen=True)
class TrainOptions(TrainConfig):
    """AdamW with warm-up, decay and clipping; when to measure, to save and to stop."""

    seed: Annotated[int, tyro.conf.Suppress] = 0
    device: Annotated[Literal["auto", "cpu", "cuda"], tyro.conf.Suppress] = "auto"


@dataclass(frozen=True)
class RepeatedTokensOptions(RepeatedTokensConfig):
    """A few fresh random tokens, then a random block that is repeated until the context is full."""

    kind: Annotated[Literal["repeated-tokens"], tyro.conf.Suppress] = "repeated-tokens"


@dataclass(frozen=True)
class MarkovOptions(MarkovConfig):
    """Markov chains whose transition matrix is drawn anew for every sequence, rows from a symmetric Dirichlet."""

    kind: Annotated[Literal["markov"], tyro.conf.Suppress] = "markov"


@dataclass(frozen=True)
class SkipTrigramsOptions(SkipTrigramsConfig):
    """One source token somewhere early; after it, every trigger is answered by the pair's own output."""

    kind: Annotated[Literal["skip-trigrams"], tyro.conf.Suppress] = "skip-trigrams"


@dataclass(frozen=True)
class TextOptions(TextConfig):
    """Windows of real text; with no paths, the source files of Python's standard library."""

    kind: Annotated[Literal["text"], tyro.conf.Suppress] = "text"
