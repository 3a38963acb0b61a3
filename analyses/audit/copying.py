"""The role "copying": a head that raises the tokens it attends to, whatever makes it attend to them."""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analyses.audit.behaviour import Behaviour
from analyses.audit.intact import Intact
from analyses.audit.measured import Found, Material, asked_once, claim_of, is_open, measured
from analyses.audit.rules import above, some
from analyses.audit.weight_evidence import WeightEvidence
from analyses.evidence import Claim, Measurement
from interp.heads.attended import SHUFFLED, attended_push
from interp.heads.scores import HeadScores
from interp.names import Head, pattern_name
from interp.stats import Estimate


class Copying:
    """Measured once for all heads; the causal part for those whose behaviour leaves it open."""

    def __init__(self, material: Material, behaviour: Behaviour | None, weights: WeightEvidence | None):
        self.material, self.behaviour, self.weights = material, behaviour, weights
        self.push: HeadScores | None = None
        self.dropped: dict[Head, Estimate] = {}
        if behaviour is not None:
            m = material
            level = m.criteria.interval_level
            tokens = m.battery.tokens
            self.push = attended_push(m.model, m.weights, tokens, m.generator, protocol=m.text, level=level)
            self.margin = self.push.contrast(SHUFFLED, m.generator, level)

    @asked_once
    def claim(self, head: Head) -> Claim:
        behaviour = self._behaviour(head)
        weights = () if self.weights is None else self.weights.copies(head, rises=True)
        causal: Found = ()
        if "causal" not in self.material.skip and (not behaviour or is_open(behaviour)):
            causal = (self._removal(head),)
        return claim_of("copying", {"behaviour": behaviour, "weights": weights, "causal": causal})

    def to_dict(self) -> dict[str, Any]:
        return {
            "push": None if self.push is None else self.push.to_dict(),
            "logit lost by removal": {str(head): estimate.to_dict() for head, estimate in self.dropped.items()},
        }

    def _behaviour(self, head: Head) -> Found:
        if self.push is None or self.behaviour is None:
            return ()
        margin, least = self.margin[head], self.material.criteria.push_margin
        pushed = measured(
            "logit of the attended tokens minus that of all keys alike, from this head alone",
            margin,
            f"at least {least:g} nats, with its whole interval",
            above(margin, least),
            "nats",
            least,
        )
        published, repeats = (self.behaviour.copying(name, head) for name in ("copying", "copying_on_repeats"))
        if published.holds is True:
            return (pushed, published)
        either = some((published.holds, repeats.holds))
        return (pushed, replace(repeats, holds=either, informs=False), replace(published, informs=True))

    def _removal(self, head: Head) -> Measurement:
        estimate, least = self._dropped(head), self.material.criteria.push_margin
        holds: bool | None = True if above(estimate, least) else None
        if estimate.high <= 0:
            holds = False
        return measured(
            "logit that attended tokens lose beyond all keys alike when it is removed (by mean or zero, the less)",
            estimate,
            f"at least {least:g} nats, with its whole interval; against, if surely none",
            holds,
            "nats",
            least,
        )

    def _dropped(self, head: Head) -> Estimate:
        if head not in self.dropped:
            found = [self.material.intact.estimate(each) for each in attended_drop(self.material.intact, head)]
            self.dropped[head] = min(found, key=lambda estimate: estimate.mean)
        return self.dropped[head]


def attended_drop(intact: Intact, head: Head) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """What the logits of the tokens it attends to lose when it is removed, by mean and by zero.

    sum_j A_ij d_i[t_j] - mean_{j <= i} d_i[t_j], d = intact - removed logits, A the intact pattern; over i >= 1.
    """
    pattern = intact.patterns[pattern_name(head.layer)][:, head.index]
    by_mean, by_zero = (logits_lost(intact, head, to) for to in ("mean", "zero"))
    return attended_minus_all(pattern, by_mean), attended_minus_all(pattern, by_zero)


def logits_lost(intact: Intact, head: Head, to: Any) -> Float[Tensor, "batch dest src"]:
    """d_i[t_j]: by how much the logit of each token of the sequence falls at i without the head."""
    with torch.no_grad():
        lost = intact.logits - intact.changed(intact.removals[to].edits([head]))
    return at_tokens(lost, intact.tokens)


def at_tokens(
    logits: Float[Tensor, "batch dest d_vocab"], tokens: Int[Tensor, "batch src"]
) -> Float[Tensor, "batch dest src"]:
    return logits.gather(-1, tokens[:, None].expand(-1, logits.shape[1], -1)).double()


def attended_minus_all(
    weights: Float[Tensor, "batch dest src"], values: Float[Tensor, "batch dest src"]
) -> Float[Tensor, " batch"]:
    keys = torch.arange(1, values.shape[-1] + 1, device=values.device)
    attended, alike = (weights * values).sum(-1), values.tril().sum(-1) / keys
    return (attended - alike)[:, 1:].mean(-1).cpu()
