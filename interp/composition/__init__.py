"""How strongly a later head reads what an earlier one writes, with nulls, bounds and false discovery under control."""

from interp.composition.edges import Compositions, compositions
from interp.composition.kernel import projection_kernel
from interp.composition.kinds import Kind
from interp.composition.law import RotationLaw
from interp.composition.measure import Composition, composition
from interp.composition.pieces import Piece, Pieces, composition_pieces
from interp.composition.scores import composition_by_offset, composition_scores
from interp.composition.terms import TermScores, term_scores
from interp.composition.tokens import token_composition, token_table

__all__ = [
    "Composition",
    "Compositions",
    "Kind",
    "Piece",
    "Pieces",
    "RotationLaw",
    "TermScores",
    "composition",
    "composition_by_offset",
    "composition_pieces",
    "composition_scores",
    "compositions",
    "projection_kernel",
    "term_scores",
    "token_composition",
    "token_table",
]
