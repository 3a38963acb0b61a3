"""The role "virtual-head": two heads that act as one, the later one's values reading what the earlier one moved.

Pairs are found by removal: what an earlier head writes is taken out of the value input of one later head, with all
attention patterns held, so that nothing but V-composition changes (Elhage et al. 2021).
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from analyses.audit.measured import Found, Material, asked_once, claim_of, measured
from analyses.audit.rules import above
from analyses.evidence import Claim, Feeder, Measurement
from interp.circuits.diagonal import DiagonalScores, diagonal_scores
from interp.names import Head, pattern_name, z_name
from interp.paths.virtual_heads import virtual_full_ov
from interp.stats import Estimate
from interp.stats.ratios import resample

DRAWS = 400
MOST_PAIRS = 400
"""Pairs that are tried, a run each; later heads beyond are left out, and said to be."""
LONGEST = 4
"""Heads of the longest chain whose circuit is read."""
NOT_MEASURED = "virtual heads are looked for by taking earlier heads out of value inputs: {}"


@dataclass(frozen=True, eq=False)
class Pair:
    """An earlier head in the value input of a later one."""

    earlier: Head
    later: Head
    effect: Estimate
    """KL of the predictions when it is taken out, patterns held, as a share of removing the later head."""
    nats: Estimate
    """The same in nats."""
    moved: Estimate
    """Share of the variation of the later head's output that goes with it."""
    offset: tuple[int, float, float]
    """Where the combined pattern looks most: how far back, with which attention, and what even attention has there."""


class Virtual:
    """All pairs whose value path matters, and the chains they form."""

    def __init__(self, material: Material):
        self.material = material
        self.pairs: list[Pair] = []
        self.scores: dict[tuple[Head, ...], DiagonalScores] = {}
        self.why_not = ""
        self.left_out: list[Head] = []
        if "causal" in material.skip:
            self.why_not = NOT_MEASURED.format("causal evidence was skipped")
        elif material.weights.n_layers > 1 and material.intact.closed:
            self.why_not = NOT_MEASURED.format(material.intact.closed)
        else:
            self.pairs = self._find()

    @asked_once
    def claim(self, head: Head) -> Claim | None:
        """None for a head that no pair has."""
        if self.material.weights.n_layers < 2:
            return None
        if self.why_not:
            return claim_of("virtual-head", {}, {"causal": self.why_not})
        own = [pair for pair in self.pairs if head in (pair.earlier, pair.later)]
        if not own:
            return None
        best = max(own, key=lambda pair: min(pair.moved.mean, pair.effect.mean))
        found: dict[Any, Found] = {"causal": self._causal(best)}
        if "behaviour" not in self.material.skip:
            found["behaviour"] = self._behaviour(best)
        if "weights" not in self.material.skip:
            found["weights"] = (self._circuit(best),)
        sure = [pair for pair in own if self._moves(pair)]
        feeders = tuple(self._partner(pair.earlier, pair) for pair in sure if pair.later == head)
        readers = tuple(self._partner(pair.later, pair) for pair in sure if pair.earlier == head)
        return claim_of("virtual-head", found, feeders=feeders, readers=readers)

    def to_dict(self) -> dict[str, Any]:
        return {
            "note": self.why_not,
            "later heads left out": [str(head) for head in self.left_out],
            "pairs": [
                {
                    "earlier": str(pair.earlier),
                    "later": str(pair.later),
                    "effect": pair.effect.to_dict(),
                    "nats": pair.nats.to_dict(),
                    "moved": pair.moved.to_dict(),
                    "offset": dict(zip(("back", "attention", "even attention"), pair.offset, strict=True)),
                }
                for pair in self.pairs
            ],
        }

    def _find(self) -> list[Pair]:
        """Every later head with all earlier ones taken out of its values; the pairs of those for which that matters."""
        m, found, tried = self.material, [], 0
        heads = [Head(layer, index) for layer in range(m.weights.n_layers) for index in range(m.weights.n_heads)]
        for later in (head for head in heads if head.layer):
            earlier = [head for head in heads if head.layer < later.layer]
            if tried + len(earlier) > MOST_PAIRS:
                self.left_out.append(later)
            elif self._matters(self._without(later, earlier)[0]):
                tried += len(earlier)
                made = [self._pair(head, later) for head in earlier]
                found += [pair for pair in made if pair is not None]
        return found

    def _matters(self, nats: Float[Tensor, " batch"]) -> bool:
        m = self.material
        return float(nats.mean()) >= m.criteria.loss_share * m.intact.information.mean

    def _pair(self, earlier: Head, later: Head) -> Pair | None:
        intact = self.material.intact
        nats, rest = self._without(later, [earlier])
        removed = intact.without(later, "mean")
        if not self._matters(nats) or not self._matters(removed):
            return None
        draws = resample(len(nats), self.material.generator, self.material.criteria.interval_level)
        effect = draws.ratio(nats[:, None], removed)[0]
        W_O = intact.weights.W_O[later]
        whole = variation(intact.written[later.layer][:, :, later.index], W_O)
        moved = 1 - variation(rest, W_O) / whole.clamp_min(torch.finfo(whole.dtype).tiny)
        pattern = self._combined(earlier, later)
        return Pair(earlier, later, effect, intact.estimate(nats), intact.estimate(moved.cpu().double()), pattern)

    def _without(self, later: Head, earlier: list[Head]) -> tuple[Float[Tensor, " batch"], Tensor]:
        """How far predictions move, and what is left of the later head's z."""
        intact = self.material.intact
        name, kept = z_name(later.layer), {}

        def keep(z: Tensor) -> Tensor:
            kept["z"] = z[:, :, later.index].clone()
            return z

        moved = intact.moved(intact.patterns, intact.cut(later, "V", earlier), {name: keep})
        return moved, kept["z"]

    def _combined(self, earlier: Head, later: Head) -> tuple[int, float, float]:
        """A_later A_earlier: the distance at which it has the most attention, mean over queries that look so far."""
        first, second = (self.material.intact.patterns[pattern_name(h.layer)][:, h.index] for h in (earlier, later))
        mean = (second @ first).mean(0)
        length = len(mean)
        along = [float(mean.diagonal(-back).mean()) for back in range(length // 2)]
        best = max(range(len(along)), key=along.__getitem__)
        even = float((1 / torch.arange(best + 1, length + 1)).mean())
        return best, along[best], even

    def _behaviour(self, pair: Pair) -> Found:
        least, (back, attention, even) = self.material.criteria.value_share, pair.offset
        return (
            measured(
                f"share of what {pair.later} moves (variation of its output) that {pair.earlier} brought",
                pair.moved,
                f"at least {least:.0%}, with its whole interval",
                above(pair.moved, least),
                "share of the variation",
                least,
            ),
            Measurement(
                f"attention of the two patterns in a row at their most frequent distance, {back} back",
                attention,
                "for information: where the virtual head looks",
                None,
                "share of attention",
                nulls={"even attention": even},
                informs=True,
            ),
        )

    def _causal(self, pair: Pair) -> Found:
        least = self.material.criteria.value_share
        name = f"predictions moved when {pair.earlier} leaves the values of {pair.later} alone, patterns held"
        return (
            measured(
                f"{name}, as a share of removing {pair.later}",
                pair.effect,
                f"at least {least:.0%}, with its whole interval",
                above(pair.effect, least),
                "share",
                least,
            ),
            measured("the same", pair.nats, "for information", None, "nats (KL)", informs=True),
        )

    def _circuit(self, pair: Pair) -> Measurement:
        """The OV circuit of the longest chain through the pair, from tokens to logits, must favour its diagonal."""
        chain = self._chain(pair)
        if chain not in self.scores:
            table = virtual_full_ov(self.material.weights.to(device="cpu"), chain)
            self.scores[chain] = diagonal_scores(table, self.material.generator, DRAWS)
        scored, q = self.scores[chain].eigenvalue, self.material.criteria.null_quantile
        value, low, high = (float(x) for x in (scored.value, scored.null_quantile(1 - q), scored.null_quantile(q)))
        stands_out = value > max(high, 0.0) or value < min(low, 0.0)
        return Measurement(
            f"copying score of the virtual OV circuit {' then '.join(map(str, chain))}, sum(λ)/sum(|λ|)",
            value,
            f"beyond the {1 - q:.0%} or {q:.0%} quantile of its null; else undecided: it may move something else",
            True if stands_out else None,
            "from -1 to 1",
            nulls={f"{1 - q:.0%} quantile, {scored.null}": low, f"{q:.0%} quantile": high},
            threshold=max(high, 0.0) if value > 0 else min(low, 0.0),
        )

    def _chain(self, pair: Pair) -> tuple[Head, ...]:
        """The pair, with the heads that its first one reads and that read its last one, by the largest effects."""
        chain = [pair.earlier, pair.later]
        while len(chain) < LONGEST:
            before = [p for p in self.pairs if p.later == chain[0]]
            after = [p for p in self.pairs if p.earlier == chain[-1]]
            if before:
                chain.insert(0, max(before, key=lambda p: p.effect.mean).earlier)
            elif after:
                chain.append(max(after, key=lambda p: p.effect.mean).later)
            else:
                break
        return tuple(chain)

    def _moves(self, pair: Pair) -> bool:
        """Whether surely enough of what the later head writes goes with the earlier one, and of its effect."""
        least = self.material.criteria.value_share
        return above(pair.moved, least) is True and above(pair.effect, least) is True

    def _partner(self, head: Head, pair: Pair) -> Feeder:
        causal = replace(self._causal(pair)[0], holds=above(pair.effect, self.material.criteria.value_share))
        weights = None if "weights" in self.material.skip else self._circuit(pair)
        return Feeder(str(head), "V", causal, weights, None if weights is None else weights.holds)


def variation(z: Float[Tensor, "batch pos d_head"], W_O: Float[Tensor, "d_head d_model"]) -> Float[Tensor, " batch"]:
    """Mean squared distance of what a head writes, z W_O, from its mean over sequences and positions."""
    written = einsum(z - z.mean((0, 1)), W_O, "batch pos d, d m -> batch pos m")
    return written.square().sum(-1).mean(-1)
