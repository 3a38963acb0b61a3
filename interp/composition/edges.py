"""Q-, K- and V-composition together: which edges differ from a random rotation by more than many tests explain."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from interp.composition.kinds import Kind, needs_offset
from interp.composition.measure import Composition, composition
from interp.errors import InputError
from interp.inputs import checked
from interp.names import Head
from interp.stats import benjamini_yekutieli
from interp.stats.scored import without_nan
from interp.weights import TransformerWeights

LEVEL = 0.05


@dataclass(frozen=True)
class Edge:
    """One way in which a later head may read an earlier one, with what is known of it from weights."""

    kind: Kind
    earlier: Head
    later: Head
    score: float
    bound: float
    """The largest score of matrices with the same spectra."""
    share: float
    """0 at the null's root mean square, 1 at the bound."""
    p_above: float
    p_below: float
    q_above: float
    q_below: float

    def __str__(self) -> str:
        return f"{self.earlier} -> {self.later}.{self.kind}"


@dataclass(frozen=True, eq=False)
class Compositions:
    """Every kind, with false-discovery-controlled q-values over all pairs of all kinds, for each tail by itself."""

    kinds: Mapping[Kind, Composition]
    q_above: Mapping[str, Float[Tensor, "layer head layer head"]]
    """Of "composes more than under a random rotation"."""
    q_below: Mapping[str, Float[Tensor, "layer head layer head"]]
    """Of "composes less"."""

    @property
    def tested(self) -> int:
        """How many edges have p-values: pairs of heads that are not 0, times kinds."""
        return sum(int((~each.isnan()).sum()) for each in self.q_above.values())

    def above(self, level: float = LEVEL) -> list[Edge]:
        """Edges with q_above <= level, the one nearest its bound first."""
        return sorted((e for e in self.edges() if e.q_above <= level), key=lambda edge: -edge.share)

    def below(self, level: float = LEVEL) -> list[Edge]:
        """Edges with q_below <= level, the lowest share first."""
        return sorted((e for e in self.edges() if e.q_below <= level), key=lambda edge: edge.share)

    def edges(self) -> Iterator[Edge]:
        """All of them, kind by kind."""
        for kind, each in self.kinds.items():
            share, bound = each.share, each.law.bound
            for at in (~each.score.isnan()).nonzero().tolist():
                early_layer, early_head, late_layer, late_head = index = tuple(at)
                tensors = (each.score, bound, share, each.p_above, each.p_below, self.q_above[kind], self.q_below[kind])
                numbers = [float(tensor[index]) for tensor in tensors]
                yield Edge(kind, Head(early_layer, early_head), Head(late_layer, late_head), *numbers)

    def to_dict(self, level: float = LEVEL) -> dict[str, Any]:
        named: dict[str, Any] = {
            kind: each.to_dict()
            | {
                "q_above": without_nan(self.q_above[kind].tolist()),
                "q_below": without_nan(self.q_below[kind].tolist()),
            }
            for kind, each in self.kinds.items()
        }
        survive = {
            "level": level,
            "method": "Benjamini-Yekutieli over all pairs and kinds, each tail by itself",
            "tested": self.tested,
            "above": [str(edge) for edge in self.above(level)],
            "below": [str(edge) for edge in self.below(level)],
        }
        return {"kinds": named, "surviving": survive}


@checked
def compositions(
    w: TransformerWeights,
    generator: torch.Generator,
    draws: int = 1000,
    offsets: int | Sequence[int] | None = None,
    kinds: Sequence[Kind] = get_args(Kind),
) -> Compositions:
    """`composition` of each kind, with q-values.

    Pairs share heads, so their tests depend on each other: q-values are those of Benjamini & Yekutieli, over all pairs
    of all kinds, for scores above and below the null separately. `offsets` are for rotary positions (Q and K).
    Raises `InputError` as `composition`, and without kinds.
    """
    if not kinds:
        raise InputError("composition needs at least one kind of 'Q', 'K', 'V', got none")
    found = {kind: composition(w, kind, generator, draws, offsets if needs_offset(w, kind) else None) for kind in kinds}
    above = benjamini_yekutieli(torch.stack([each.p_above for each in found.values()]))
    below = benjamini_yekutieli(torch.stack([each.p_below for each in found.values()]))
    return Compositions(found, dict(zip(found, above, strict=True)), dict(zip(found, below, strict=True)))
