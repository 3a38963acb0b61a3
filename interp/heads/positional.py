"""Is a head's pattern a function of position alone? And which pattern is it?

Read on tokens that come again at random distances: on blocks of one period, the pattern of a head that follows tokens
is nearly a function of position too.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.causality import require_causal
from interp.heads.stimuli import Protocol, random_tokens
from interp.hooks import record
from interp.names import pattern_name
from interp.weights.shape import shape_of


@dataclass(frozen=True, eq=False)
class PositionalReadings:
    """Samples are sequences; E is even attention, 1 / (i + 1) on each key that query i may see."""

    share: Float[Tensor, "n layer head"]
    """<A - E, M - E> / ||A - E||^2 for a sequence's pattern A and the mean pattern M of all *other* sequences: 1 if
    all sequences have one pattern, about 0 if what A adds to even attention is its own. 0 for even attention."""
    unevenness: Float[Tensor, "n layer head"]
    """Total variation distance from even attention, mean over queries i >= 1: 1/2 sum_j |A_ij - E_ij|."""
    late_first: Float[Tensor, "n layer head"]
    """Attention on position 0 from queries in the second half of the sequence."""
    mean: Float[Tensor, "layer head dest src"]
    """The mean pattern."""
    text: str


def scattered_tokens(protocol: Protocol, n: int, generator: torch.Generator) -> Int[Tensor, "n pos"]:
    """Sequences as long as the protocol's in which tokens come again at random distances.

    Each is drawn with replacement from `period` tokens of its own (behind BOS where there is one).
    """
    chosen = random_tokens(n, min(protocol.period, len(protocol.symbols)), protocol.symbols, generator)
    picks = torch.randint(chosen.shape[1], (n, protocol.length - protocol.start), generator=generator)
    tokens = chosen.gather(1, picks)
    if protocol.bos is None:
        return tokens
    return torch.cat([torch.full((n, 1), protocol.bos), tokens], dim=1)


def positional_readings(model: nn.Module, tokens: Int[Tensor, "n pos"], text: str) -> PositionalReadings:
    """Of every head, on these tokens; all patterns of a layer are held at once."""
    require_causal(model, "a detector of heads that look back")
    shape, device = shape_of(model), next(model.parameters()).device
    means: dict[int, Tensor] = {}
    names = [pattern_name(layer) for layer in range(shape.n_layers)]
    reductions = {name: _reader(layer, means) for layer, name in enumerate(names)}
    found = record(model, tokens.to(device), names=names, reduce=reductions)
    share, unevenness, late = torch.stack([found[name] for name in names], dim=2).cpu().double()
    mean = torch.stack([means[layer] for layer in range(shape.n_layers)]).cpu().double()
    return PositionalReadings(share, unevenness, late, mean, f"{len(tokens)} sequences: {text}")


def even_attention(length: int) -> Float[Tensor, "dest src"]:
    """1 / (i + 1) on the keys that query i may see."""
    return (1 / torch.arange(1, length + 1, dtype=torch.float64))[:, None].expand(-1, length).tril()


def _reader(layer: int, means: dict[int, Tensor]) -> Callable[[Tensor], Tensor]:
    def reduce(pattern: Float[Tensor, "n head dest src"]) -> Float[Tensor, "three n head"]:
        n, even = len(pattern), even_attention(pattern.shape[-1]).to(pattern)
        means[layer] = pattern.mean(0)
        beyond = pattern - even
        total = beyond.square().sum((-1, -2))
        others = (beyond * beyond.sum(0)).sum((-1, -2)) - total  # with the sum over all other sequences
        tiny = 1e-9 * pattern.shape[-1]
        share = torch.where(total > tiny, others / (n - 1) / total.clamp_min(tiny), 0.0)
        unevenness = beyond[:, :, 1:].abs().sum(-1).mean(-1) / 2
        return torch.stack([share, unevenness, pattern[:, :, pattern.shape[-1] // 2 :, 0].mean(-1)])

    return reduce
