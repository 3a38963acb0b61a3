"""What a claim is before it is run: its statement and source, the arms to train, and what is compared with what."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from analyses.claims.judge import Kind, Scale
from interp.errors import InputError

Row = dict[str, float | list[float]]
"""What one arm gave with one seed: numbers, and lists of numbers for curves; it has a JSON form."""


@dataclass(frozen=True)
class Arm:
    """One treatment: `train(seed=, device=, budget=, **config)` gives a `Row`.

    `train` is a function of a module (it is called in other processes and its module's source is part of the cache's
    key); `config` has a JSON form. `budget` scales the length of training, 1.0 being the declared one. Equal arms of
    different claims are trained once.
    """

    train: Callable[..., Row]
    config: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Arm `treated`'s `value` against arm `control`'s `control_value` (the same name unless given), paired by seed.

    `margin`, in the unit of the value (or of the log of the ratio), is the smallest difference that would matter, or
    the tolerance of an identity; see `analyses.claims.judge.Part` for the kinds. It is written down before running.
    """

    condition: str
    measure: str
    value: str
    treated: str
    control: str
    kind: Kind
    margin: float
    control_value: str = ""
    scale: Scale = "difference"
    resolution: float = 0.0


@dataclass(frozen=True)
class Picture:
    """What the page draws for a claim: row entry `y` by arm; lists against `x` become lines, numbers become points."""

    y: str
    y_label: str
    x: str = ""
    x_label: str = ""
    log_x: bool = False
    log_y: bool = False
    arms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """A statement with its source and the experiment that decides it.

    `numbers` are its rows in the list of claims. `why` says in a sentence or two what the control controls for.
    `slip` corrects the statement where the notes have it wrong, with the reason. `untestable` says why the claim
    itself is out of reach here; the comparisons are then what is checked instead. `trained` is False for identities,
    which need no placebo and no more than one seed.
    """

    name: str
    numbers: tuple[int, ...]
    statement: str
    source: str
    arms: Mapping[str, Arm]
    comparisons: tuple[Comparison, ...]
    why: str
    picture: Picture | None = None
    slip: str = ""
    untestable: str = ""
    trained: bool = True

    def __post_init__(self) -> None:
        for c in self.comparisons:
            missing = [arm for arm in (c.treated, c.control) if arm not in self.arms]
            if missing:
                raise InputError(f"claim {self.name}: comparison {c.condition!r} names no arm {', '.join(missing)}")
        if not self.comparisons and not self.untestable:
            raise InputError(f"claim {self.name}: no comparison with a control, so there can be no verdict")
