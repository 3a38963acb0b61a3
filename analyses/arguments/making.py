"""The options of the commands that make models; no torch import."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from analyses.arguments.common import Common, Folder
from analyses.arguments.training import (
    MarkovOptions,
    ModelOptions,
    RepeatedTokensOptions,
    SkipTrigramsOptions,
    TextOptions,
    TrainOptions,
)
from toy_models.errors import InputError

HandmadeName = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[NAME]")]
HandmadeOptions = Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="KEY=VALUE")]


@dataclass(frozen=True, kw_only=True)
class Demo(Common):
    """Train the default model on repeated random tokens, audit it, and write the report."""

    out: Folder = None
    """Folder of the run; runs/demo if left out. A run that is there already is used, or gone on with."""
    seed: int = 0
    """Decides initial weights, training data and the held-out sample, and what the audit draws."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model is trained and runs; auto is a GPU where there is one."""


@dataclass(frozen=True, kw_only=True)
class Train(Common):
    """Train a transformer into a run folder; interp train convnet (resnet, mlp, dropout-ae, superposition) trains
    models of images and vectors, and has its own --help."""

    resume: Folder = None
    """Go on with the run in this folder; every other option is then taken from it."""
    task: Literal["repeated-tokens", "markov", "skip-trigrams", "text"] = "repeated-tokens"
    """What it is trained on; the options below that carry the task's name belong to it."""
    out: Folder = None
    """Folder of the run, which must not hold one yet; runs/TASK-seedN if left out."""
    seed: int = 0
    """Decides initial weights, training data and the held-out sample, each through a generator of its own."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; auto is a GPU where there is one."""
    model: ModelOptions = field(default_factory=ModelOptions)
    train: TrainOptions = field(default_factory=TrainOptions)
    repeated_tokens: RepeatedTokensOptions = field(default_factory=RepeatedTokensOptions)
    markov: MarkovOptions = field(default_factory=MarkovOptions)
    skip_trigrams: SkipTrigramsOptions = field(default_factory=SkipTrigramsOptions)
    text: TextOptions = field(default_factory=TextOptions)


@dataclass(frozen=True, kw_only=True)
class Handmade(Common):
    """Write a model whose circuit is known, its weights set by hand; without a NAME, list them."""

    name: HandmadeName = ""
    """Which model; without it, all are listed."""
    out: Folder = None
    """Folder of the checkpoint, which must be new or empty; runs/NAME if left out."""
    d_vocab: int = 16
    """Tokens, the first of which begins every sequence."""
    n_ctx: int = 34
    """Longest sequence."""
    sharpness: float = 40.0
    """Attention score of a match; no match scores 0."""
    gain: float = 12.0
    """Logit of a token copied with full attention."""
    dtype: Literal["float32", "float64"] = "float32"
    """Of the weights on disk."""
    option: HandmadeOptions = ()
    """An option of this model alone, as in by=3 for shift_by; may be repeated."""
    noise: float = 0.0
    """Gaussian noise on every weight matrix, as a share of its root mean square entry; comes before the changes below,
    which leave alone what the model computes."""
    idle: int = 0
    """So many heads of zeros added to each layer."""
    permute: bool = False
    """Heads of each layer in a random order."""
    head_basis: bool = False
    """Queries and keys, and values, of each head in another random basis."""
    basis: bool = False
    """Residual stream in another random basis, which moves raw composition scores."""
    seed: int = 0
    """Decides noise, order and bases."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.noise < float("inf"):
            raise InputError(f"--noise must be 0 or above, got {self.noise}")
        if self.idle < 0:
            raise InputError(f"--idle must be 0 or above, got {self.idle}")
