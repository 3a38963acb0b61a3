"""Responses of residual nets against those of plain nets: how strong is what a block computes?"""

import math

from analyses.claims.claim import Arm, Claim, Comparison, Picture
from analyses.claims.experiments.residual_depth import PLAIN_20, RESIDUAL_20
from analyses.claims.experiments.residual_training import train_net

LESS = math.log(1.05)
"""5 %; figure 7 shows curves that lie apart visibly, and no numbers."""
STRONG = {"inside": True, "decay": 1e-2}
SPARED = STRONG | {"decay_norm": False}
RULES = ("decay .0001 on all", "decay .01 on all", "decay .01 on weights")


def std_greater(rule: str) -> Comparison:
    return Comparison(
        f"std: {rule}", "standard deviation of what blocks compute, after BatchNorm", "response std",
        f"plain, {rule}", f"residual, {rule}", "greater", LESS, scale="log ratio",
    )  # fmt: skip


def share_falls(rule: str) -> Comparison:
    return Comparison(
        f"share: {rule}", "||F(x)|| / ||x|| after training over the same before", "change of share",
        f"plain, {rule}", f"residual, {rule}", "greater", LESS, scale="log ratio",
    )  # fmt: skip


CLAIMS = (
    Claim(
        name="residual-responses-are-smaller",
        numbers=(19,),
        statement="What the layers of a residual net compute has a smaller standard deviation than in a plain net.",
        source="He et al. 2015, arXiv:1512.03385, figure 7",
        arms={
            f"plain, {RULES[0]}": PLAIN_20,
            f"residual, {RULES[0]}": RESIDUAL_20,
            f"plain, {RULES[1]}": Arm(train_net, STRONG | {"residual": False}),
            f"residual, {RULES[1]}": Arm(train_net, STRONG),
            f"plain, {RULES[2]}": Arm(train_net, SPARED | {"residual": False}),
            f"residual, {RULES[2]}": Arm(train_net, SPARED),
        },
        comparisons=(*(std_greater(rule) for rule in RULES), *(share_falls(rule) for rule in RULES)),
        why=(
            "After BatchNorm a response's standard deviation is |gamma|: about 1 in both nets at first, and what "
            "decay on gamma lets it be afterwards. The share of what a block adds falls with depth in untrained nets "
            "already, so its change is compared, with that of the plain net. .01 times 400 steps is of the order of "
            "the paper's decay times its steps. Plain nets have learned less by then, which may be part of it."
        ),
        picture=Picture("response std", "standard deviation after BatchNorm"),
        slip=(
            "The notes advise weight decay on weights alone, not on BatchNorm. But gamma is what this figure shows, so "
            "whether its nets decayed gamma matters: spared, it has no reason to fall. Both rules are run here."
        ),
    ),
)  # fmt: skip
