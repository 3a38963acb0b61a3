"""The options of the commands that read models; no torch import."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from analyses.arguments.common import HeadName, HeadNames, OnModel, OnSequence, Whole, one_of
from toy_models.errors import InputError

Aim = Literal["induction", "duplicate", "previous", "first"]
Aimed = Annotated[Aim | None, one_of(*get_args(Aim))]


@dataclass(frozen=True, kw_only=True)
class Heads(OnModel):
    """What every head does on tokens (prefix matching, copying and more), with nulls."""


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
    offset: Whole = None
    """Distance from query to key; rotary positions need one (1 if left out)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top < 1:
            raise InputError(f"--top must be at least 1, got {self.top}")


@dataclass(frozen=True, kw_only=True)
class Composition(OnModel):
    """Q-, K- and V-composition of all pairs of heads beside what random weights give."""

    offset: Whole = None
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
    target: Aimed = None
    """With --scores: the keys whose score is set against that of the other keys. What followed earlier copies of the
    present token (induction, if left out), these copies themselves, the previous token, or the first."""
    order: Whole = None
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
