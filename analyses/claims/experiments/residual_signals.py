"""Signals through deep nets: do gradients vanish without shortcuts, and what does BatchNorm have to do with it?"""

import math

from analyses.claims.claim import Arm, Claim, Comparison, Picture, Row
from analyses.claims.experiments.residual_depth import NETS, PLAIN_20
from analyses.claims.experiments.residual_measures import gradients, responses
from analyses.claims.experiments.residual_training import halves, make_net, train_net
from toy_models.layer_kinds import NormKind

LARGER = math.log(1.25)
ORDER = math.log(10)
"""Vanishing is a matter of orders of magnitude."""
TWICE = math.log(2)
HALF = "half of He's"
FULL = "He's weights"


def untrained(
    seed: int, device: str, budget: float, *, norm: NormKind = "batch", init_scale: float = 1.0, depth: int = 20
) -> Row:
    """Gradients and responses of a plain net at its first step."""
    net = make_net(seed, device, depth=depth, residual=False, norm=norm, init_scale=init_scale)
    train, _ = halves(seed, device)
    return gradients(net, train) | responses(net, train)


def arms_at_start() -> dict[str, Arm]:
    return {
        f"plain, {name}, {weights}": Arm(untrained, {"norm": norm, "init_scale": scale})
        for norm, name in (("batch", "BatchNorm"), ("none", "no norm"))
        for weights, scale in ((HALF, 0.5), (FULL, 1.0))
    }


def with_norm_against_without(condition: str, weights: str, value: str, measure: str, margin: float) -> Comparison:
    return Comparison(
        condition, measure, value, f"plain, BatchNorm, {weights}", f"plain, no norm, {weights}", "greater", margin,
        scale="log ratio",
    )  # fmt: skip


def first_over_last(condition: str, depth: int, kind: str, margin: float) -> Comparison:
    return Comparison(
        f"{condition} (depth {depth})", "gradient of the first block over that of the last, first step",
        "first over last gradient", f"plain, depth {depth}", f"residual, depth {depth}", kind, margin,  # type: ignore[arg-type]
        scale="log ratio",
    )  # fmt: skip


CLAIMS = (
    Claim(
        name="batchnorm-keeps-gradients-from-vanishing",
        numbers=(14,),
        statement=(
            "With BatchNorm gradients do not vanish and are healthy, so that is not why plain nets are hard to train; "
            "why they are is not known."
        ),
        source="He et al. 2015, arXiv:1512.03385, section 4.1",
        arms=NETS | arms_at_start(),
        comparisons=(
            *(first_over_last("not vanishing", depth, "greater", LARGER) for depth in (20, 56)),
            *(first_over_last("healthy", depth, "equivalent", ORDER) for depth in (20, 56)),
            *(
                with_norm_against_without(
                    f"BatchNorm's part ({weights})", weights, "first gradient",
                    "gradient of the first block, first step", ORDER,
                )
                for weights in (HALF, FULL)
            ),
        ),
        why=(
            "Residual nets are the control for what is healthy: early layers should get no smaller a part of the "
            "gradient than there, and one of the same order. Nets without BatchNorm are the control for its part in "
            "it. Even He's weights do not keep a signal's size here: on images of 8 x 8 pixels and fewer, much of each "
            "filter lies on the zero padding."
        ),
        slip=(
            "They do not vanish, but at 56 layers without shortcuts they explode towards the input, hundreds of times "
            "as much as with them: there gradients may well be a reason."
        ),
        picture=Picture(
            "gradient by block", "gradient norm", "block", "block", log_y=True,
            arms=(*NETS, *(f"plain, no norm, {weights}" for weights in (HALF, FULL))),
        ),
    ),
    Claim(
        name="batchnorm-keeps-forward-signals-varied",
        numbers=(101,),
        statement="With BatchNorm the signals that run forward through a plain net keep a variance that is not 0.",
        source="He et al. 2015, arXiv:1512.03385, section 4.1",
        arms=arms_at_start() | {
            "plain, BatchNorm, trained": PLAIN_20,
            "plain, no norm, trained": Arm(
                train_net, {"residual": False, "norm": "none", "rate": 0.01, "inside": True}
            ),
            "residual, no norm, trained": Arm(train_net, {"norm": "none", "rate": 0.01, "inside": True}),
        },
        comparisons=tuple(
            with_norm_against_without(
                weights, weights, "output std kept", "std over images, last block's output over the first's", TWICE
            )
            for weights in (HALF, FULL, "trained")
        ),
        why=(
            "The same net without BatchNorm. Standard deviations are over images, unit by unit: a signal that is large "
            "but the same for every image carries nothing. Without BatchNorm the learning rate is a tenth, or "
            "training diverges. A net that learned without BatchNorm has found variance by itself, and more "
            "than the one with it, whose own is far from 0 as well."
        ),
        picture=Picture("output std by block", "std over images", "block", "block", log_y=True),
    ),
)  # fmt: skip
