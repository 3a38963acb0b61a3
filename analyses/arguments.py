"""The options of every `interp` command; no torch import, so that `--help` is quick."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from analyses.training_arguments import (
    MarkovOptions,
    ModelOptions,
    RepeatedTokensOptions,
    SkipTrigramsOptions,
    TextOptions,
    TrainOptions,
)
from toy_models.errors import InputError

HEAD_HELP = "Only this head, as L1H3 or 1.3; may be repeated."


def _numbers(words: list[str]) -> tuple[int, ...]:
    try:
        return tuple(int(number) for word in words for number in word.split(",") if number)
    except ValueError:
        raise InputError(f"--tokens takes whole numbers, as in --tokens 0 5 3 5, got {' '.join(words)!r}") from None


def _optional(metavar: str, read: Any, nargs: Any = 1) -> PrimitiveConstructorSpec[Any]:
    """How tyro reads an option that may be left out; without this, the word None would leave it out too."""
    return PrimitiveConstructorSpec(nargs, metavar, read, lambda value: True, lambda value: ["none"])


ModelPath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
Folder = Annotated[Path | None, _optional("DIR", lambda words: Path(words[0]))]
Text = Annotated[str | None, _optional("TEXT", lambda words: words[0])]
Tokens = Annotated[tuple[int, ...] | None, _optional("N [N ...]", _numbers, "*")]
HeadNames = Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="HEAD", help=HEAD_HELP)]
HeadName = Annotated[str | None, _optional("HEAD", lambda words: words[0])]
Aim = Literal["induction", "duplicate", "previous", "first"]
Expectations = Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="ROLE[:N]")]
HandmadeName = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[NAME]")]
HandmadeOptions = Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="KEY=VALUE")]
Kinds = Annotated[tuple[Literal["weights", "behaviour", "causal"], ...], tyro.conf.UseAppendAction]


@dataclass(frozen=True, kw_only=True)
class Common:
    """Options that every command has."""

    json: bool = False
    """Print the result as one JSON object on standard output, and nothing else there."""
    out: Folder = None
    """Folder for the files; without it, the folder of the run or checkpoint."""
    seed: int = 0
    """Seed of everything random here."""
    device: str = "cpu"
    """Where the model runs: cpu, cuda, cuda:1, or auto for a GPU where there is one."""
    threads: int = 1
    """CPU threads. Small models are quickest on one, above all on a busy machine; raise it for large ones. To end with
    the same weights to the last bit, a resumed run needs as many as before."""
    debug: bool = False
    """Show the traceback of an error."""

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise InputError(f"--threads must be at least 1, got {self.threads}")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"--seed must be 0 or above and below 2**63, got {self.seed}")


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
    """Train a transformer; writes a run folder that every other command reads."""

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


@dataclass(frozen=True, kw_only=True)
class OnModel(Common):
    """Options of the commands that read a model."""

    model: ModelPath
    """Run or checkpoint folder."""


@dataclass(frozen=True, kw_only=True)
class Audit(OnModel):
    """Give every head a role, with three kinds of evidence, and write the report."""

    expect: Expectations = ()
    """As in induction or induction:2: at least so many heads of this role; may be repeated. Exit code 0 if all
    hold, 1 if not, 3 if that cannot be decided."""
    confidence: Literal["weak", "moderate", "strong"] | None = None
    """Confidence from which a head counts for --expect; the default is in the criteria."""
    skip: Kinds = ()
    """A kind of evidence not to gather; may be repeated."""
    report: bool = True
    """Write report.html and the PNGs beside report.json."""


@dataclass(frozen=True, kw_only=True)
class Heads(OnModel):
    """What every head does on tokens (prefix matching, copying and more), with nulls."""


@dataclass(frozen=True, kw_only=True)
class OnSequence(OnModel):
    """Options of the commands that run a model on one sequence."""

    text: Text = None
    """Text to run, in the model's own vocabulary."""
    tokens: Tokens = None
    """Token numbers to run, as they are; without text and tokens, repeated random tokens."""


@dataclass(frozen=True, kw_only=True)
class Patterns(OnSequence):
    """Attention patterns on a text or on tokens: an interactive page and a PNG."""

    head: HeadNames = ()


@dataclass(frozen=True, kw_only=True)
class Circuits(OnModel):
    """QK and OV circuits in token space: copying scores, top entries, skip-trigrams."""

    head: HeadNames = ()
    top: int = 5
    """How many entries of each table."""
    offset: int | None = None
    """Distance from query to key; rotary positions need one (1 if left out)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top < 1:
            raise InputError(f"--top must be at least 1, got {self.top}")


@dataclass(frozen=True, kw_only=True)
class Composition(OnModel):
    """Q-, K- and V-composition of all pairs of heads beside what random weights give."""

    offset: int | None = None
    """Distance from query to key; rotary positions need one (1 if left out)."""


@dataclass(frozen=True, kw_only=True)
class Lens(OnSequence):
    """Logit lens by depth, and what each component adds to the right token's logit."""

    tuned: bool = False
    """Beside it the tuned lens (an affine map at each depth, trained on other sequences) with a bias-only control, and
    the depth and heads at which the next token becomes readable; on random sequences that repeat."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tuned and (self.text is not None or self.tokens is not None):
            raise InputError("--tuned is trained and measured on random tokens: leave out --text and --tokens")


@dataclass(frozen=True, kw_only=True)
class Paths(OnSequence):
    """What each path through heads adds to the loss and to the right token's logit; with --scores, to where a head
    looks."""

    head: HeadName = None
    """Only paths through this head, as L1H3 or 1.3."""
    scores: bool = False
    """With --head: take its attention scores apart, by the earlier heads that its query and its key come through."""
    target: Aim | None = None
    """With --scores: the keys whose score is set against that of the other keys. What followed earlier copies of the
    present token (induction, if left out), these copies themselves, the previous token, or the first."""
    order: int | None = None
    """Most heads in a path; the remainder then says what is missing."""
    top: int = 10
    """How many paths to show; paths.json has more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scores and self.head is None:
            raise InputError("--scores needs the head whose attention scores to take apart: add --head, as in L1H3")
        if self.target is not None and not self.scores:
            raise InputError("--target says which keys --scores sets against the others: add --scores")
        for name, value, lowest in (("top", self.top, 1), ("order", self.order, 0)):
            if value is not None and value < lowest:
                raise InputError(f"--{name} must be at least {lowest}, got {value}")


@dataclass(frozen=True, kw_only=True)
class Search(OnModel):
    """Which edges between heads carry induction: scores, a circuit, and a check with all other edges ablated."""

    method: Literal["eap-ig", "eap", "exact", "greedy", "random", "weights"] = "eap-ig"
    """How edges are scored: eap-ig and eap by gradients, exact and greedy by a run for each edge; random and weights
    are baselines."""
    ablation: Literal["resample", "mean", "zero"] = "resample"
    """What an ablated edge carries: what it does on other tokens at the same positions, its mean, or nothing."""
    metric: Literal["loss", "logit-difference", "kl"] = "loss"
    """What is measured of predictable tokens: loss, logit less the mean of all others, or KL from the whole model."""
    edges: int | None = None
    """Circuit of so many best edges."""
    threshold: float | None = None
    """Circuit of all edges that score so much; for greedy, the rise of the cost from which an edge stays."""
    faithfulness: float | None = None
    """Smallest circuit of best edges that reaches this share of what all edges carry; 0.9 if nothing is asked for."""
    steps: int = 10
    """Points between ablated and intact embeddings, for eap-ig."""

    def __post_init__(self) -> None:
        super().__post_init__()
        asked = {name: getattr(self, name) for name in ("edges", "threshold", "faithfulness")}
        given = [f"--{name}" for name, value in asked.items() if value is not None]
        if len(given) > 1:
            raise InputError(f"{' and '.join(given)} exclude each other: give one of them")
        for name, value, lowest in (("edges", self.edges, 1), ("steps", self.steps, 1)):
            if value is not None and value < lowest:
                raise InputError(f"--{name} must be at least {lowest}, got {value}")
        for name in ("threshold", "faithfulness"):
            value = asked[name]
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"--{name} must be a number above 0, got {value}")


COMMANDS: dict[str, type[Common]] = {
    kind.__name__.lower(): kind
    for kind in (Demo, Train, Handmade, Audit, Heads, Patterns, Circuits, Composition, Lens, Paths, Search)
}
