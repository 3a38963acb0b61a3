"""Do shortcuts help: training error of residual and plain nets at two budgets, and how soon the loss falls."""

import math

from analyses.claims.claim import Arm, Claim, Comparison, Picture
from analyses.claims.experiments.residual_training import TRAINED, train_net

PLAIN_20 = Arm(train_net, {"residual": False, "inside": True})
RESIDUAL_20 = Arm(train_net, {"inside": True})
PLAIN_56 = Arm(train_net, {"depth": 56, "residual": False})
RESIDUAL_56 = Arm(train_net, {"depth": 56})
BOTTLENECK = {"depth": 29, "block": "bottleneck", "width": 4}
MUCH = 3.0
"""Points of error; the paper's plain and residual nets of 34 layers lie 3.5 apart."""
FASTER = math.log(1.25)
"""A loss a quarter larger."""


def trains_worse(depth: str, budget: str, what: str) -> Comparison:
    return Comparison(
        f"{what} ({depth.rpartition(', ')[2]})", f"training error at budget {budget} (percent)", f"error {budget}",
        f"plain, {depth}", f"residual, {depth}", "greater", MUCH, resolution=100 / TRAINED,
    )  # fmt: skip


def trains_slower(depth: str) -> Comparison:
    return Comparison(
        depth, "mean training loss over steps 50 to 100 (nats)", "loss 1x", f"plain, {depth}",
        f"residual, {depth}", "greater", FASTER, scale="log ratio",
    )  # fmt: skip


NETS = {
    "plain, depth 20": PLAIN_20,
    "residual, depth 20": RESIDUAL_20,
    "plain, depth 56": PLAIN_56,
    "residual, depth 56": RESIDUAL_56,
}
SAME_SIZE = "Shortcuts of kind A have no weights: both nets have the same parameters, data order and learning rate. "
ERRORS = Picture("training error", "training error (%)", "step", "step")

CLAIMS = (
    Claim(
        name="residual-nets-perform-much-better",
        numbers=(12,),
        statement="Deep nets with shortcuts perform much better than the same nets without.",
        source="He et al. 2015, arXiv:1512.03385, sections 4.1 and 4.2",
        arms=NETS,
        comparisons=tuple(
            trains_worse(depth, budget, what)
            for depth in ("depth 20", "depth 56")
            for budget, what in (("1x", "slower training"), ("4x", "a worse end"))
        ),
        why=SAME_SIZE + (
            "Training errors, since what fails is learning and not generalising. 4x is 400 steps, which need not be "
            "the end for a plain net of 56 layers: it ends worse at this budget."
        ),
        picture=ERRORS,
    ),
    Claim(
        name="residual-nets-converge-faster",
        numbers=(15,),
        statement="Residual nets converge faster than plain nets where both can be trained.",
        source="He et al. 2015, arXiv:1512.03385, figure 4 and section 4.1",
        arms=NETS,
        comparisons=(trains_slower("depth 20"), trains_slower("depth 56")),
        why=SAME_SIZE + "The first 50 steps do not count: untrained residual nets have the larger loss, 3 to 5 nats.",
        picture=Picture("training loss", "training loss (nats)", "step", "step", log_y=True),
    ),
    Claim(
        name="bottlenecks-need-shortcuts-too",
        numbers=(90,),
        statement=(
            "Bottleneck nets need their shortcuts: plain nets of bottlenecks, which were not compared with, "
            "are harder to train."
        ),
        source="A gap in He et al. 2015, arXiv:1512.03385, section 4.1: deeper bottleneck architectures",
        arms={
            "plain, bottlenecks, depth 29": Arm(train_net, BOTTLENECK | {"residual": False}),
            "residual, bottlenecks, depth 29": Arm(train_net, BOTTLENECK),
        },
        comparisons=(
            trains_worse("bottlenecks, depth 29", "1x", "slower training"),
            trains_worse("bottlenecks, depth 29", "4x", "a worse end"),
        ),
        why=SAME_SIZE + "The control that is missing there: the same bottlenecks with nothing but the shortcuts gone.",
        picture=ERRORS,
    ),
)  # fmt: skip
