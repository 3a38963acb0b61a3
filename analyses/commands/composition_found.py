"""What `interp composition` measured, on its way to the terminal, to figures and to JSON."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from interp.composition import Compositions, Kind, Pieces, TermScores
from interp.composition.edges import Edge
from interp.composition.kernel import Overlap
from interp.names import Head
from interp.stats import Scored
from interp.stats.scored import without_nan


@dataclass(frozen=True, eq=False)
class Found:
    """All that is measured of a model."""

    edges: Compositions
    terms: dict[Kind, TermScores]
    pointer: Scored | None
    """[pair], the share of positions p whose Q-term is largest at p + 1; None where no head can carry positions."""
    overlaps: dict[Kind, Overlap]
    pieces: list[tuple[Edge, Pieces]]
    offset: int | None
    by_offset: dict[Kind, Tensor]
    """[offset layer head layer head] of Q and K, for rotary positions."""

    def to_dict(self, pairs: list[tuple[Head, Head]]) -> dict[str, Any]:
        residual = self.edges.to_dict()
        return {
            "residual_stream": residual["kinds"],
            "surviving": residual["surviving"],
            "by_offset": {kind: without_nan(scores.tolist()) for kind, scores in self.by_offset.items()},
            "token_space": {kind: each.to_dict() for kind, each in self.terms.items()},
            "pointer": None
            if self.pointer is None
            else {"pairs": [f"{early} -> {late}.Q" for early, late in pairs], **self.pointer.to_dict()},
            "projection_kernel": {kind: each.to_dict() for kind, each in self.overlaps.items()},
            "pieces": [{"edge": str(edge), **pieces.to_dict()} for edge, pieces in self.pieces],
        }
