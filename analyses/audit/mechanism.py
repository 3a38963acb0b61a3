"""By which mechanism a head does induction: its keys, its queries or smeared keys, as causes and weights say."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from analyses.audit.rules import above
from analyses.evidence import Mechanism
from interp.heads.detectors import PREFIX_MATCHING
from interp.hooks import intervene, record
from interp.names import Head, k_name, pattern_name
from interp.stats import Estimate, bootstrap_interval

Way = Literal["K", "Q", "smeared"]
MECHANISM_OF: dict[Way, Mechanism] = {"K": "K-composition", "Q": "Q-composition", "smeared": "smeared keys"}
SHORT: dict[Mechanism, str] = {
    "K-composition": "K",
    "Q-composition": "Q",
    "smeared keys": "smeared",
    "mixed": "mixed",
    "not identified": "?",
}
"""How a table says it, behind the role."""


def decide_mechanism(
    lost: Mapping[Way, Estimate], matched: Mapping[Way, bool] | None, share: float
) -> tuple[Mechanism, tuple[str, ...]]:
    """The mechanism, and what has to be said where numbers do not identify it.

    `lost`: share of the prefix matching that goes when all earlier heads leave its K (or Q) input, or when its keys
    are its own again ("smeared"); a way counts if at least `share` is lost, with the whole interval. `matched`: by
    which ways its weights could match, None if they were not read. Every way that counts must be among those: where
    causes and weights point to different ways, nothing is identified. A way of which it cannot be told whether it
    counts does not, and is noted.
    """
    if not lost:
        return "not identified", ()
    ways = [way for way, estimate in lost.items() if above(estimate, share)]
    if not ways:
        best = max(lost, key=lambda way: lost[way].mean)
        return "not identified", (
            f"the mechanism is not identified: the most that is lost is {lost[best]} by {MECHANISM_OF[best]}, and at "
            f"least {share:.0%} must be",
        )
    if matched is not None and (unseen := [MECHANISM_OF[way] for way in ways if not matched.get(way, False)]):
        could = [MECHANISM_OF[way] for way, found in matched.items() if found]
        return "not identified", (
            f"the mechanism is not identified: what is removed points to {' and '.join(unseen)}, while its weights "
            f"would match by {' and '.join(could) or 'none of the ways known'}",
        )
    undecided = [f"{e} is lost by {MECHANISM_OF[way]}" for way, e in lost.items() if above(e, share) is None]
    said = f"the mechanism may be mixed: {' and '.join(undecided)}, and it takes part from {share:.0%} on"
    return ("mixed" if len(ways) > 1 else MECHANISM_OF[ways[0]]), ((said,) if undecided else ())


def smearing_lost(
    model: nn.Module, head: Head, tokens: Int[Tensor, "batch pos"], generator: torch.Generator, level: float
) -> Estimate:
    """The share of a head's prefix matching that is lost when its keys are its own alone (smear s = 1)."""
    own: list[Tensor] = []

    def keep(k: Tensor) -> Tensor:
        own[:] = [k]
        return k

    def unsmear(k: Tensor) -> Tensor:
        k[:, :, head.index] = own[0][:, :, head.index]
        return k

    edits = {k_name(head.layer): keep, smeared_name(head.layer): unsmear}
    intact = _prefix_matching(model, head, tokens)
    with intervene(model, edits):
        without = _prefix_matching(model, head, tokens)
    readable = ~intact.isnan()
    drop = bootstrap_interval((intact - without)[readable], generator, level)
    whole = float(intact[readable].mean())
    return Estimate(drop.mean / whole, drop.low / whole, drop.high / whole, drop.n, drop.level, drop.method)


def smeared_name(layer: int) -> str:
    return k_name(layer).replace("hook_k", "hook_smeared_k")


def _prefix_matching(model: nn.Module, head: Head, tokens: Tensor) -> Float[Tensor, " batch"]:
    read: Callable[[Tensor], Tensor] = partial(_score, index=head.index, tokens=tokens)
    name = pattern_name(head.layer)
    return record(model, tokens, names=name, reduce=read)[name].cpu().double()


def _score(pattern: Tensor, index: int, tokens: Tensor) -> Tensor:
    return PREFIX_MATCHING(pattern[:, index : index + 1], tokens.to(pattern.device))[:, 0]
