"""Eigenvalues of the full circuits of all heads, at vocabularies of tens of thousands of tokens.

The full circuits of a model's heads differ in their middle only. With E and U what stands at their two ends (for OV
the embedding and the unembedding, for QK the embedding twice) and U minus its mean over tokens,

    table of head h = E left_h right_h U,      eigenvalues other than 0: those of right_h (U E) left_h,

`U E` is `[d_model d_model]` and the same for all heads: one pass over the vocabulary, then d_head x d_head matrices.
With columns relabelled by a permutation P it is `U P E`, again one matrix for all heads.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from interp.circuits.diagonal import NULL, core_share
from interp.circuits.eigenvalues import eigenvalues
from interp.circuits.factored import Factored
from interp.circuits.tables import final_input
from interp.errors import InputError
from interp.inputs import checked
from interp.stats import Scored
from interp.weights import TransformerWeights

CHUNK = 2**12
"""Tokens that are multiplied at a time; sums over chunks are kept in float64."""
Progress = Callable[[Sequence[int]], Iterable[int]]
"""Wraps the draws (or the heads) as they are worked on, as tqdm does."""


@dataclass(frozen=True, eq=False)
class SharedTables:
    """`E left_h right_h U` minus its row means, of many heads h between the same tokens."""

    heads: tuple[tuple[int, int], ...]
    E: Float[Tensor, "token d_in"]
    left: Float[Tensor, "head d_in d_head"]
    right: Float[Tensor, "head d_head d_out"]
    U: Float[Tensor, "d_out column"]
    bias: Float[Tensor, "head d_head"] | None = None
    """Added to every row of `E left_h`; it moves columns as a whole, and no eigenvalue."""

    def __post_init__(self) -> None:
        if self.U.shape[-1] != len(self.E):
            raise InputError(f"eigenvalues need a square table, got {len(self.E)} x {self.U.shape[-1]} tokens")
        if not all(x.isfinite().all() for x in (self.outside, self.inside)):
            raise InputError("weights that are not finite have no eigenvalues; check the model")

    @cached_property
    def outside(self) -> Float[Tensor, ""]:
        """What the entries of `U E` would be, as a Frobenius norm, for unrelated ends: ||U|| ||E|| / sqrt(tokens)."""
        return self.U.norm().double() * self.E.norm().double() / len(self.E) ** 0.5

    @cached_property
    def inside(self) -> Float[Tensor, " head"]:
        """||left_h|| ||right_h||."""
        return self.left.norm(dim=(-2, -1)).double() * self.right.norm(dim=(-2, -1)).double()

    def table(self, index: int) -> Factored:
        """One head's table, minus its row means."""
        A, B = self.E @ self.left[index], self.right[index] @ self.U
        return Factored(A if self.bias is None else A + self.bias[index], B - B.mean(-1, keepdim=True))

    def eigenvalues(self) -> Complex[Tensor, "head d_head"]:
        """The eigenvalues that can differ from 0, largest magnitude first; products in the weights' own precision."""
        values = eigenvalues(self.cores(self.middle()).double())
        return values.gather(-1, values.abs().argsort(dim=-1, descending=True))

    def scores(self) -> Float[Tensor, " head"]:
        """sum(lambda) / sum(|lambda|) of each head, -1..1 (Elhage et al. 2021): for OV the copying score."""
        return self.shares(self.middle())

    def scored(self, generator: torch.Generator, draws: int = 100, progress: Progress | None = None) -> Scored:
        """`scores` beside `draws` relabellings of the columns, the null of `diagonal_scores` and its very draws.

        Either every draw makes one `U P E` for all heads, or every head its own `(right U) P (E left)`, whichever is
        fewer operations; `progress` wraps the draws or the heads. Raises `InputError` for fewer than two draws.
        """
        if draws < 2:
            raise InputError(f"a null needs at least 2 draws, got {draws}")
        n, device = len(self.E), generator.device
        back = [torch.randperm(n, generator=generator, device=device).argsort().to(self.E.device) for _ in range(draws)]
        if self.shares_middle(draws):
            steps = range(draws) if progress is None else progress(range(draws))
            drawn = torch.stack([self.shares(self.middle(back[step])) for step in steps])
        else:
            steps = range(len(self.heads)) if progress is None else progress(range(len(self.heads)))
            drawn = torch.stack([self.one_by_one(step, back) for step in steps], dim=1)
        return Scored(self.scores(), drawn, NULL)

    def shares_middle(self, draws: int) -> bool:
        """Whether one product for all heads is cheaper; those for single heads run at a quarter of its speed."""
        heads, r = len(self.heads), self.left.shape[-1]
        size = self.E.shape[-1] * len(self.U)
        together = draws * size
        alone = heads * (4 * draws * r * r + r * (self.E.shape[-1] + len(self.U)))
        return together < alone

    def middle(self, back: Int[Tensor, " token"] | None = None) -> Float[Tensor, "d_out d_in"]:
        """`U E`, U minus its mean over tokens; with `back`, row i of E is the old row `back[i]`."""
        total = torch.zeros(len(self.U), self.E.shape[-1], dtype=torch.float64, device=self.E.device)
        mean = self.U.mean(-1, keepdim=True)
        for start in range(0, len(self.E), CHUNK):
            part = slice(start, start + CHUNK)
            rows = self.E[part] if back is None else self.E[back[part]]
            total += (self.U[:, part] - mean) @ rows
        return total.to(self.E.dtype)

    def cores(self, middle: Float[Tensor, "d_out d_in"]) -> Float[Tensor, "head d_head d_head"]:
        """`right_h U E left_h` of every head."""
        return (self.right.flatten(0, 1) @ middle).view(*self.right.shape[:2], -1) @ self.left

    def shares(self, middle: Float[Tensor, "d_out d_in"]) -> Float[Tensor, " head"]:
        """sum(lambda) / sum(|lambda|); 0 where the eigenvalues are no more than rounding."""
        size = torch.maximum(self.outside, middle.norm().double())
        noise = torch.finfo(self.E.dtype).eps * self.inside * size
        return core_share(self.cores(middle), noise)

    def one_by_one(self, index: int, back: Sequence[Int[Tensor, " token"]]) -> Float[Tensor, " draw"]:
        """The same share of one head for every relabelling."""
        table = self.table(index)
        noise = torch.finfo(self.E.dtype).eps * table.A.double().norm() * table.B.double().norm()
        return core_share(torch.stack([table.B @ table.A[each] for each in back]), noise)


@checked
def ov_tables(w: TransformerWeights, heads: Sequence[tuple[int, int]] | None = None) -> SharedTables:
    """The full OV circuits of these heads, or of all, as `full_ov` minus row means has them.

    Raises `InputError` for a head that is not there, or an output vocabulary that is not the input's.
    """
    chosen, at = choose(w, heads)
    return SharedTables(chosen, w.W_E, at(read_in(w, w.W_V)), at(final_input(w, w.W_O)), w.W_U)


@checked
def qk_tables(
    w: TransformerWeights, heads: Sequence[tuple[int, int]] | None = None, offset: int | None = None
) -> SharedTables:
    """The full QK circuits of these heads, or of all: `full_qk` with biases over `attn_scale`, minus row means.

    Rotary positions need `offset` = dest - src.
    """
    chosen, at = choose(w, heads)
    query = (at(read_in(w, w.W_Q)) / w.attn_scale) @ w.rotation(offset)
    bias = w.b_Q if w.ln1_b is None else w.b_Q + torch.einsum("lm,lhmd->lhd", w.ln1_b, w.W_Q)
    moved = (at(bias) / w.attn_scale) @ w.rotation(offset)
    return SharedTables(chosen, w.W_E, query, at(read_in(w, w.W_K)).mT, w.W_E.T, moved)


def choose(
    w: TransformerWeights, heads: Sequence[tuple[int, int]] | None
) -> tuple[tuple[tuple[int, int], ...], Callable[[Tensor], Tensor]]:
    """The heads asked for, or all, layer by layer; and what takes theirs out of `[layer head ..]`."""
    every = [(layer, head) for layer in range(w.n_layers) for head in range(w.n_heads)]
    chosen = tuple((head[0], head[1]) for head in (every if heads is None else heads))
    if not chosen:
        raise InputError("there is no head to read: the model has no layers, or none was chosen")
    for head in chosen:
        w.check_head(head)
    if heads is None:
        return chosen, lambda x: x.flatten(0, 1)
    flat = torch.tensor([layer * w.n_heads + head for layer, head in chosen], device=w.device)
    return chosen, lambda x: x.flatten(0, 1)[flat]


def read_in(
    w: TransformerWeights, W: Float[Tensor, "layer head d_model d_head"]
) -> Float[Tensor, "layer head d_model d_head"]:
    """A matrix that reads the residual stream, with the gain and the centring before it that were not folded."""
    W = W if w.ln1_w is None else W * w.ln1_w[:, None, :, None]
    return W - W.mean(-2, keepdim=True) if w.normalization in ("LN", "LNPre") else W
