"""What BatchNorm does for deep nets, and whether the shift of layers' inputs, or saturation, is why."""

import math

from analyses.claims.claim import Arm, Claim, Comparison, Picture
from analyses.claims.experiments.normalisation_nets import five_layers
from toy_models.layer_kinds import ActivationKind, NormKind

IMAGE = 1 / 360
"""One of the test images."""
BATCH_NORM = "Ioffe & Szegedy 2015, Batch Normalization, arXiv:1502.03167"
RATES: dict[ActivationKind, tuple[float, ...]] = {"sigmoid": (0.1, 1.0, 5.0), "relu": (0.1, 1.0, 3.0)}
NORMS: tuple[NormKind, ...] = ("none", "batch", "layer")
CURVES = Picture("accuracy by step", "test accuracy", "step", "updates")


def net(activation: ActivationKind, norm: NormKind, lr: float) -> Arm:
    return Arm(five_layers, {"activation": activation, "norm": norm, "lr": lr})


def from_scale(scale: float, norm: NormKind = "none", noise: float = 0.0) -> Arm:
    """Sigmoids with initial weights `scale` times as large; 4 makes up for the slope of the sigmoid, 1/4."""
    return Arm(five_layers, {"activation": "sigmoid", "norm": norm, "lr": 1.0, "init_scale": scale, "noise": noise})


SWEEP = {f"{a}, {n}, rate {lr:g}": net(a, n, lr) for a, rates in RATES.items() for lr in rates for n in NORMS}
SHIFT = {
    "plain": from_scale(4.0),
    "batch norm": from_scale(4.0, "batch"),
    "batch norm, then noise": from_scale(4.0, "batch", 1.0),
}
SCALES = {f"{norm}, weights x {scale:g}": from_scale(scale, norm) for scale in (1.0, 10.0, 30.0) for norm in NORMS[:2]}


def higher(condition: str, treated: str, control: str, value: str = "accuracy", margin: float = 0.02) -> Comparison:
    return Comparison(condition, value, value, treated, control, "greater", margin, resolution=IMAGE)


def ratio(condition: str, treated: str, control: str, value: str, factor: float) -> Comparison:
    return Comparison(condition, value, value, treated, control, "greater", math.log(factor), scale="log ratio")


def sweep_of(norm: NormKind) -> tuple[Comparison, ...]:
    """Of this normalisation against none, at every rate."""
    found = []
    for activation, rates in RATES.items():
        name = {"sigmoid": "sigmoids", "relu": "rectifiers"}[activation]
        for lr in rates:
            control, treated = (f"{activation}, {n}, rate {lr:g}" for n in ("none", norm))
            found.append(higher(f"{name} at rate {lr:g}", treated, control))
    return tuple(found)


def arms_of(norm: NormKind) -> dict[str, Arm]:
    return {name: arm for name, arm in SWEEP.items() if arm.config["norm"] in ("none", norm)}


CLAIMS = (
    Claim(
        name="batch-norm-reduces-shift",
        numbers=(22,),
        statement="The inputs of layers shift while the layers below train, and BatchNorm reduces that shift.",
        source=f"{BATCH_NORM}, section 2",
        arms=SHIFT,
        comparisons=(
            ratio("plain against BatchNorm, over a pass through the data", "plain", "batch norm", "drift", 2.0),
            ratio("plain against BatchNorm, of one update", "plain", "batch norm", "drift of one update", 2.0),
            ratio("noise after BatchNorm against plain", "batch norm, then noise", "plain", "drift of one update", 2.0),
        ),
        why="The same initial weights and batches without BatchNorm, and with its effect on the distributions undone "
        "by noise. Shift is that of the mean, in the layer's standard deviations, on the same images.",
        picture=Picture("drift by layer", "shift of the mean in a pass (standard deviations)", "layer", "layer"),
    ),
    Claim(
        name="internal-covariate-shift-is-why-batch-norm-helps",
        numbers=(22,),
        statement="BatchNorm helps because layers no longer have to follow the shift of their inputs.",
        source=f"{BATCH_NORM}, section 2; against it Santurkar et al. 2018, arXiv:1805.11604",
        arms=SHIFT,
        comparisons=(
            higher("more shift, no faster", "plain", "batch norm, then noise", "average accuracy", 0.0),
        ),
        why="Noise after BatchNorm makes layers shift more from update to update than those of the plain net do (claim "
        "batch-norm-reduces-shift). If shift were what holds nets up, that net would learn no faster than the plain.",
        picture=CURVES,
        slip="BatchNorm helps, but the shift is not the whole reason: with the shift put back, and more of it, a "
        "net with BatchNorm still learns faster than one without, though it loses about a quarter of its lead.",
    ),
    Claim(
        name="saturation-kills-gradients",
        numbers=(23,),
        statement="Deep nets of sigmoids do not train without BatchNorm because saturated units pass no gradient.",
        source=f"{BATCH_NORM}, section 2",
        arms=SCALES,
        comparisons=(
            Comparison(
                "units being saturated at the usual start", "share of saturated activations", "saturated at first",
                "none, weights x 1", "batch, weights x 1", "greater", 0.1,
            ),
            ratio("gradients at weights x 10", "none, weights x 1", "none, weights x 10", "gradient ratio", 2.0),
            ratio("gradients at weights x 30", "none, weights x 1", "none, weights x 30", "gradient ratio", 2.0),
            higher("accuracy at weights x 10", "none, weights x 1", "none, weights x 10", margin=0.05),
            higher("below BatchNorm at weights x 30", "batch, weights x 30", "none, weights x 30", margin=0.05),
        ),
        why="Larger initial weights saturate units in earnest. The gradient of the first weights over that of the last "
        "should then fall, and the accuracy with it; BatchNorm from the same weights shows what can be had.",
        picture=CURVES,
        slip="At the usual start no unit is saturated, and the net fails all the same: what fails there is the small "
        "slope of the sigmoid, at most 1/4 a layer. Weights ten times as large saturate units, and the net trains. At "
        "thirty times saturation does cost accuracy, but the first layer's gradient is not smaller than the last's.",
    ),
    Claim(
        name="batch-norm-allows-higher-learning-rates",
        numbers=(24,),
        statement="With BatchNorm nets train at higher learning rates.",
        source=f"{BATCH_NORM}, section 3.3",
        arms=arms_of("batch"),
        comparisons=sweep_of("batch"),
        why="The same initial weights, batches and rate without BatchNorm; the lowest rate is one at which plain nets "
        "of rectifiers train well.",
        picture=CURVES,
    ),
    Claim(
        name="layer-norm-allows-higher-learning-rates",
        numbers=(24,),
        statement="With LayerNorm, too, nets train at higher learning rates than without normalisation.",
        source="Ba et al. 2016, Layer Normalization, arXiv:1607.06450",
        arms=arms_of("layer"),
        comparisons=sweep_of("layer"),
        why="The same initial weights, batches and rate without normalisation; at the lowest rate plain nets of "
        "rectifiers train well, so that little can be gained. BatchNorm does more (claim "
        "batch-norm-allows-higher-learning-rates): sigmoids that it brings above .9 stay near .6 here.",
        picture=CURVES,
    ),
    Claim(
        name="batch-norm-needs-fewer-steps",
        numbers=(24,),
        statement="BatchNorm and a higher learning rate reach the same accuracy in several times fewer steps.",
        source=f"{BATCH_NORM}, section 4.2.2 (14 times fewer, with other changes, on ImageNet)",
        arms={
            "plain, rate 0.3": net("relu", "none", 0.3),
            "batch, rate 0.3": net("relu", "batch", 0.3),
            "batch, rate 1": net("relu", "batch", 1.0),
        },
        comparisons=(
            ratio("BatchNorm at the plain net's rate", "plain, rate 0.3", "batch, rate 0.3", "steps to 90 %", 2.0),
            ratio("BatchNorm at a higher rate", "plain, rate 0.3", "batch, rate 1", "steps to 90 %", 2.0),
        ),
        why="The same net of rectifiers without BatchNorm at its best rate of 0.03, 0.1, 0.3 and 1, found beforehand.",
        picture=CURVES,
    ),
)  # fmt: skip
