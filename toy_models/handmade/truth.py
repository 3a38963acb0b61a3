"""What is known about a model because its weights were set by hand, in a form that tests can read."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from toy_models.errors import InputError

HeadIndex = tuple[int, int]
"""(layer, head)."""
Node = HeadIndex | Literal["token", "position", "logits"]
Channel = Literal["Q", "K", "V", "logits"]
Composition = Literal["K", "Q", "K and Q", "smeared keys"]

ROLES = {
    "previous-token": "attends to the token before",
    "shift": "attends a fixed distance back, other than one",
    "current-token": "attends to its own position",
    "first-token": "attends to position 0",
    "duplicate-token": "attends to an earlier copy of the present token, else to itself",
    "induction": "attends to the token after an earlier copy of the present token, and raises its logit",
    "anti-copying": "attends as an induction head does, and lowers the logit of what it attends to",
    "copy-suppression": "attends to earlier tokens that earlier layers predict, and lowers their logit",
    "induction-pattern": "attends as an induction head does, without copying what it attends to",
    "literal-previous": "attends to copies of the present token and returns the token before each",
    "literal-current": "attends as an induction head does, and returns the word remembered there: the present token",
    "positional": "attends one period back less one, whatever the tokens are, and copies",
    "skip-trigram": "attends from one word to another by a table, and raises the words of a table",
    "random": "weights drawn at random",
    "idle": "weights are zero: attends evenly and writes nothing",
}


@dataclass(frozen=True)
class Edge:
    """`source` writes what `target` reads into its queries, keys or values (or into the logits)."""

    source: Node
    target: Node
    channel: Channel


@dataclass(frozen=True)
class Expected:
    """A quantity's known value on the model's example tokens: |measured - value| <= tolerance.

    `at` names the heads it speaks of: none for the whole model, one head, or (earlier head, later head). Means are
    over the batch and the stated positions; losses are in nats; attention is summed mass.

    - accuracy, loss: of the logits against `answers`, where there is one
    - next-token accuracy, next-token loss: against the token that comes next, at repeated positions
    - order-n loss: loss with patterns held and only paths through at most n heads (Elhage et al. 2021, term importance)
    - loss without, loss without (patterns held): loss after zeroing the named heads' outputs
    - previous-token, current-token, first-token: mean A[p, p-1], A[p, p], A[p, 0] over p >= 1
    - duplicate-token: mean over repeated positions of the mass on earlier copies of the present token
    - prefix-matching: mean over repeated positions of the mass on tokens that follow an earlier copy
    - Q-, K-, V-composition: the Frobenius ratios of Elhage et al. 2021
    - path logit: largest |logit| in the table W_E W_OV ... W_OV W_U of the path through the named heads, earliest first
      (of two or more, a virtual head's); with no heads the direct path's, the larger one of W_E W_U and W_pos W_U
    - path copying: sum(lambda) / sum(|lambda|) of the same table
    - token matching: largest |score| of W_E W_QK W_E^T / sqrt(d_head), what a head makes of tokens by itself
    - K-matching, at (earlier, later): sum(lambda) / sum(|lambda|) of the K term W_E W_QK (W_E W_OV)^T
    - pointer, at (earlier, later): share of positions p (the last left out) for which row p of the Q term
      (W_pos W_OV) W_QK W_pos^T is largest at p + 1
    """

    quantity: str
    value: float
    tolerance: float
    at: tuple[HeadIndex, ...] = ()

    def holds(self, measured: float) -> bool:
        return abs(measured - self.value) <= self.tolerance


@dataclass(frozen=True)
class Truth:
    """Roles of all heads, every edge, and expected values; `composition` says how induction is made, None if there
    is none."""

    name: str
    summary: str
    roles: Mapping[HeadIndex, str]
    edges: frozenset[Edge]
    expected: tuple[Expected, ...]
    composition: Composition | None = None

    def __post_init__(self) -> None:
        unknown = sorted(set(self.roles.values()) - set(ROLES))
        if unknown:
            raise InputError(f"{self.name}: no role is called {unknown[0]!r}; known: {', '.join(ROLES)}")
        object.__setattr__(self, "roles", MappingProxyType(dict(self.roles)))

    @property
    def is_induction(self) -> bool:
        return self.composition is not None

    def heads(self, role: str) -> tuple[HeadIndex, ...]:
        """The heads of a role, in order."""
        return tuple(sorted(head for head, what in self.roles.items() if what == role))

    def find(self, quantity: str, *at: HeadIndex) -> Expected:
        """The expected value of a quantity; `InputError` when this model states none."""
        for expected in self.expected:
            if (expected.quantity, expected.at) == (quantity, at):
                return expected
        where = " at " + ", ".join(spell(head) for head in at) if at else ""
        stated = sorted({e.quantity for e in self.expected})
        raise InputError(f"{self.name} states no {quantity!r}{where}; it states {', '.join(stated) or 'nothing'}")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; heads are spelt L0H1."""
        return {
            "name": self.name,
            "summary": self.summary,
            "is_induction": self.is_induction,
            "composition": self.composition,
            "roles": {spell(head): role for head, role in sorted(self.roles.items())},
            "edges": sorted([spell(e.source), spell(e.target), e.channel] for e in self.edges),
            "expected": [
                {"quantity": e.quantity, "at": [spell(h) for h in e.at], "value": e.value, "tolerance": e.tolerance}
                for e in self.expected
            ],
        }


def spell(node: Node) -> str:
    """(0, 1) -> "L0H1"; names of other nodes as they are."""
    return node if isinstance(node, str) else f"L{node[0]}H{node[1]}"
