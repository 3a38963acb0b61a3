"""How strongly a later head reads what an earlier one writes: Q-, K- and V-composition of all pairs, with nulls.

With QK = W_Q R W_K^T and OV = W_V W_O (rows are vectors), e the earlier and l the later head, the score is

    ||OV_e M_l||_F / (||OV_e||_F ||M_l||_F),    M = QK (Q-composition), QK^T (K), OV (V)

(Elhage et al. 2021). Only the small sides are multiplied: with W_V = Q_V R_V, ||W_V X||_F = ||R_V X||_F. The cyclic
identity, which holds for traces, does not hold for Frobenius norms: an early figure of that paper used it.

These scores belong to the weights as they stand (biases, positions and the scale of a normalisation are not in them)
and depend on the basis of the residual stream, which nothing fixes in a model without normalisation: there, read
`Composition.in_tokens` instead. Being far from a null is not being part of a circuit.

This is the public place. Its parts are `composition_scores` (the ratios), `composition_law` and `composition_draws`
(the null), `composition_terms` (token space), `composition_pieces` (rank-1 pieces) and, on top, `composition_edges`
(all kinds at once).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.composition.draws import ROTATED, SAMPLED, rotated_scores, sampled_scores
from interp.composition.kinds import Kind, checked_offsets, is_pair, needs_offset, widened
from interp.composition.law import RotationLaw, spectrum
from interp.composition.p_values import rotation_p_values
from interp.composition.scores import (
    composition_by_offset,
    pair_scores,
    reading,
    writing,
)
from interp.composition.terms import TermScores, term_scores
from interp.errors import InputError
from interp.inputs import checked
from interp.stats import Null, Scored, null_summary
from interp.stats.scored import without_nan
from interp.weights import TransformerWeights

FREE_BASIS = (
    "nothing fixes the basis of this model's residual stream (it has no normalisation), so these scores would change "
    "under a change of basis that leaves the model's function alone; read the eigenvalue score of the {kind}-term in "
    "token space instead, which would not"
)
EIGENVALUES = 5_000
"""Of about so many small matrices the eigenvalues are taken for the null in token space, if that leaves 19 draws."""


@dataclass(frozen=True)
class Composition:
    """Scores `[earlier layer, head, later layer, head]` with nulls; NaN where the first layer is not the earlier."""

    kind: Kind
    rotated: Scored
    """The scores, each beside draws with a Haar rotation between the two matrices, which keeps their spectra."""
    baseline: float
    """1 / sqrt(d_model): the root mean square under either null, exactly, whatever the spectra. Scores of matrices
    that do not compose are skewed to the right and on average a little lower."""
    law: RotationLaw
    """The closed form of the same null."""
    p_above: Float[Tensor, "layer head layer head"]
    """P(a rotation gives at least the score): small where heads compose more than matrices at random. NaN where there
    is no pair, or a matrix is 0."""
    p_below: Float[Tensor, "layer head layer head"]
    """P(a rotation gives at most the score): small where heads avoid each other."""
    sampled: Null
    """Scores of independent normal factors of the same shapes."""
    offsets: tuple[int, ...] | None
    """Rotary positions (Q and K): the score is the root mean square over these values of dest - src."""
    by_offset: Float[Tensor, "offset layer head layer head"] | None
    """The score at each of them."""
    warning: str | None
    """Why raw scores mean little for this model, and what to read instead; or None."""
    in_tokens: TermScores | None
    """What to read instead: the term in token space, where there is a warning."""

    @property
    def score(self) -> Float[Tensor, "layer head layer head"]:
        return self.rotated.value

    @property
    def share(self) -> Float[Tensor, "layer head layer head"]:
        """(score - baseline) / (bound - baseline): 0 at the root mean square of random rotations, 1 where no rotation
        could give more, negative below the null; 0 where spectra leave nothing to rotate, NaN for matrices that are 0.
        """
        room = self.law.bound.to(self.score.device) - self.baseline
        share = torch.where(room > 1e-9, (self.score - self.baseline) / room.where(room > 1e-9, 1.0), 0.0)
        return share.masked_fill(self.p_above.isnan(), float("nan"))

    def to_dict(self) -> dict[str, Any]:
        tensors = {
            "score": self.score,
            "bound": self.law.bound.masked_fill(self.score.isnan().cpu(), float("nan")),
            "share": self.share,
            "p_above": self.p_above,
            "p_below": self.p_below,
        }
        return (
            self.rotated.to_dict()
            | {name: without_nan(tensor.tolist()) for name, tensor in tensors.items()}
            | {
                "kind": self.kind,
                "baseline": self.baseline,
                "sampled": self.sampled.to_dict(),
                "offsets": None if self.offsets is None else list(self.offsets),
                "by_offset": None if self.by_offset is None else without_nan(self.by_offset.tolist()),
                "warning": self.warning,
                "in_tokens": None if self.in_tokens is None else self.in_tokens.to_dict(),
            }
        )


@checked
def composition(
    w: TransformerWeights,
    kind: Kind,
    generator: torch.Generator,
    draws: int = 1000,
    offsets: int | Sequence[int] | None = None,
) -> Composition:
    """`composition_scores` beside what they are when there is nothing to find.

    The same `draws` rotations serve all pairs: only the corner that meets both row spaces is needed, and of the
    matrices only their singular values. p-values count draws, and go on by the closed form where draws run out (see
    `interp.composition.p_values`). Raises `InputError` as `composition_scores`, and for fewer than two draws.
    """
    if draws < 2:
        raise InputError(f"a null needs at least 2 draws, got {draws}")
    w, chosen = widened(w), checked_offsets(w, kind, offsets)
    left, right = writing(w), reading(w, kind, chosen)
    scores = pair_scores(left, right)
    law = RotationLaw(spectrum(left.rows()), spectrum(right.rows()), w.d_model)
    null = rotated_scores(law.left, law.right, w.d_model, generator, draws)
    null = null.masked_fill(~is_pair(w), float("nan"))
    above, below = rotation_p_values(scores.cpu(), law, null, 64 * torch.finfo(w.dtype).eps)
    rotary = needs_offset(w, kind)
    free = w.normalization == "none"
    return Composition(
        kind=kind,
        rotated=Scored(scores, null.to(w.device), ROTATED),
        baseline=w.d_model**-0.5,
        law=law,
        p_above=above.to(w.device),
        p_below=below.to(w.device),
        sampled=null_summary(sampled_scores(w.d_model, w.d_head, generator, draws), SAMPLED),
        offsets=chosen if rotary else None,
        by_offset=composition_by_offset(w, kind, chosen) if rotary else None,
        warning=FREE_BASIS.format(kind=kind) if free else None,
        in_tokens=in_tokens(w, kind, generator, draws, chosen[0]) if free else None,
    )


def in_tokens(
    w: TransformerWeights, kind: Kind, generator: torch.Generator, draws: int, offset: int
) -> TermScores | None:
    """The term in token space beside relabelled ones, of which there are fewer where there are many pairs.

    Rotary positions are read at the first offset. None where the term has no diagonal: for V, if the output
    vocabulary is another than the input's.
    """
    if w.d_vocab < 2 or (kind == "V" and w.W_U.shape[1] != w.d_vocab):
        return None
    pairs = max(1, int(is_pair(w).sum()))
    fewer = max(2, min(draws, max(19, EIGENVALUES // pairs)))
    return term_scores(w, kind, generator, fewer, offset, rotated=False)
