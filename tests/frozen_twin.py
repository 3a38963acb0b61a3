"""Runs with attention patterns and normalisation scales held, from unfolded weights, in loops: the slow twin of paths.

With everything held the model is affine in what it starts from, so the term of a set of heads is the
inclusion-exclusion over runs that keep only some of them, and that of a source a run that starts from it alone.
"""

from collections.abc import Callable, Collection, Iterator
from itertools import combinations

import torch
from torch import Tensor

from interp.weights import TransformerWeights, weights_of
from tests.reference_transformer import activated, score

Heads = tuple[tuple[int, int], ...]


def subsets(heads: Collection[tuple[int, int]]) -> Iterator[Heads]:
    for size in range(len(heads) + 1):
        yield from combinations(sorted(heads), size)


def term(run: Callable[[Heads], Tensor], heads: Heads) -> Tensor:
    """sum over subsets T of S of (-1)^(|S| - |T|) run(T)."""
    signed = [(-1) ** (len(heads) - len(kept)) * run(kept) for kept in subsets(heads)]
    return torch.stack(signed).sum(0)


class Twin:
    """Patterns, scales and MLP outputs of one run; `logits` and `scores` then run again with all of them held."""

    def __init__(self, model: torch.nn.Module, tokens: Tensor):
        self.w: TransformerWeights = weights_of(model, fold=False)
        self.tokens = tokens
        self.heads: Heads = tuple((layer, h) for layer in range(self.w.n_layers) for h in range(self.w.n_heads))
        self.patterns: list[list[Tensor]] = []
        self.scales: list[Tensor] = []
        self.mlp_outs: list[Tensor] = []
        sources = {"token", "position", "bias"}
        for layer in range(self.w.n_layers):
            x = self.residual(layer, self.heads, sources)
            self.scales.append(self.scale(x))
            sides = [
                [self.side(letter, (layer, h), self.heads, sources) for letter in "QK"] for h in range(self.w.n_heads)
            ]
            self.patterns.append([self.scores(q, k).softmax(-1) for q, k in sides])
            if self.w.W_in is not None:
                self.mlp_outs.append(self.mlp(layer, self.after_attention(layer, x, self.heads, sources)))
                sources = sources | {f"L{layer} MLP"}
        self.sources = sources
        self.final_scale = self.scale(self.residual(self.w.n_layers, self.heads, sources))

    def scale(self, x: Tensor) -> Tensor:
        if self.w.normalization == "none":
            return torch.ones_like(x[..., :1])
        x = x - x.mean(-1, keepdim=True) if "LN" in self.w.normalization else x
        return (x.square().mean(-1, keepdim=True) + self.w.norm_eps).sqrt()

    def normalised(self, x: Tensor, scale: Tensor, gain: Tensor | None, bias: Tensor | None, biased: bool) -> Tensor:
        x = x - x.mean(-1, keepdim=True) if "LN" in self.w.normalization else x
        x = x / scale if gain is None else x / scale * gain
        return x + bias if biased and bias is not None else x

    def before(self, layer: int, x: Tensor, biased: bool) -> Tensor:
        """What a layer's attention reads of x."""
        gain = None if self.w.ln1_w is None else self.w.ln1_w[layer]
        bias = None if self.w.ln1_b is None else self.w.ln1_b[layer]
        return self.normalised(x, self.scales[layer], gain, bias, biased)

    def residual(self, layer: int, kept: Collection[tuple[int, int]], sources: Collection[str]) -> Tensor:
        """The residual stream before a layer, of these sources, heads not kept being silent."""
        x = self.w.W_E[self.tokens] * ("token" in sources)
        if self.w.W_pos is not None and "position" in sources:
            x = x + self.w.W_pos[: self.tokens.shape[1]]
        for earlier in range(layer):
            x = self.after_attention(earlier, x, kept, sources)
            if f"L{earlier} MLP" in sources:
                x = x + self.mlp_outs[earlier]
        return x

    def after_attention(
        self, layer: int, x: Tensor, kept: Collection[tuple[int, int]], sources: Collection[str]
    ) -> Tensor:
        biased = "bias" in sources
        read = self.before(layer, x, biased)
        for head in range(self.w.n_heads):
            if (layer, head) in kept:
                v = read @ self.w.W_V[layer, head] + self.w.b_V[layer, head] * biased
                x = x + self.patterns[layer][head] @ v @ self.w.W_O[layer, head]
        return x + self.w.b_O[layer] * biased

    def mlp(self, layer: int, x: Tensor) -> Tensor:
        w = self.w
        gain = None if w.ln2_w is None else w.ln2_w[layer]
        bias = None if w.ln2_b is None else w.ln2_b[layer]
        return activated(w, self.normalised(x, self.scale(x), gain, bias, True), layer)

    def logits(self, kept: Collection[tuple[int, int]], sources: Collection[str] | None = None) -> Tensor:
        """[batch pos vocab] of a run in which only these heads write; of all sources, biases among them, by default."""
        w, sources = self.w, self.sources if sources is None else sources
        x = self.residual(w.n_layers, kept, sources)
        biased = "bias" in sources
        return self.normalised(x, self.final_scale, w.ln_final_w, w.ln_final_b, biased) @ w.W_U + w.b_U * biased

    def side(
        self, letter: str, head: tuple[int, int], kept: Collection[tuple[int, int]], sources: Collection[str]
    ) -> Tensor:
        """Queries or keys of a head, before rotation: [batch pos d_head]."""
        w, layer, biased = self.w, head[0], "bias" in sources
        x = self.before(layer, self.residual(layer, kept, sources), biased)
        if w.W_pos_attn is not None and "position" in sources:
            x = x + w.W_pos_attn[layer, : x.shape[1]]
        W, b = (w.W_Q[head], w.b_Q[head]) if letter == "Q" else (w.W_K[head], w.b_K[head])
        side = x @ W + b * biased
        if letter == "Q" or w.smear is None:
            return side
        previous = [side[:, max(position - 1, 0)] for position in range(side.shape[1])]
        return w.smear[head] * side + (1 - w.smear[head]) * torch.stack(previous, dim=1)

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Scores of queries and keys, pair by pair, -inf where masked."""
        length = queries.shape[1]
        found = queries.new_full((len(queries), length, length), -torch.inf)
        for dest in range(length):
            for src in range(dest + 1):
                found[:, dest, src] = score(self.w, queries[:, dest], keys[:, src], dest - src)
        return found
