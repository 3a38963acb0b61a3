"""Dropout as an ensemble: the net with scaled weights against the average over masks, exact where it can be."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from analyses.claims.claim import Arm, Claim, Comparison, Picture, Row
from analyses.claims.experiments.identities import exact
from analyses.claims.experiments.vector_training import fit, own_default_generator, scaled, split_digits
from interp.hooks import intervene
from toy_models.layer_kinds import ActivationKind
from toy_models.layers import Dropout
from toy_models.mlp import MLP
from toy_models.training.seeds import generator_for, seed_for
from toy_models.vector_config import MLPConfig

DROPOUT = "Srivastava et al. 2014, Dropout, JMLR 15"
COUNTS = (1, 2, 5, 10, 20, 50, 100, 200)
REFERENCE = 300
"""Masks that stand for all of them."""


def all_masks(seed: int, device: str, budget: float) -> Row:
    """Two hidden layers of 4 units and all 256 masks of rate 1/2: average logits and predictions, and the scaled net.

    "mean" is the largest difference of the mean logits from those of the net in evaluation mode, "geometric mean" that
    of the renormalised geometric mean of the probabilities, for linear units; "of bent units" the first for tanh,
    "arithmetic mean" the second for the arithmetic mean.
    """
    row: Row = {}
    kinds: tuple[ActivationKind, ...] = ("identity", "tanh")
    for kind in kinds:
        generator = torch.Generator().manual_seed(seed)
        config = MLPConfig(d_in=3, widths=(4, 4), d_out=5, activation=kind, dropout=0.5, init_scale=2.0)
        model = MLP(config, generator).double()
        x = torch.randn(1, 3, generator=generator, dtype=torch.float64)
        logits = every_mask(model, x)
        whole = model.eval()(x).detach()
        if kind == "tanh":
            return row | {"of bent units": float((logits.mean(0) - whole).abs().max())}
        geometric = logits.log_softmax(-1).mean(0).softmax(-1)
        row["mean"] = float((logits.mean(0) - whole).abs().max())
        row["geometric mean"] = float((geometric - whole.softmax(-1)).abs().max())
        row["arithmetic mean"] = float((logits.softmax(-1).mean(0) - whole.softmax(-1)).abs().max())
    return row


@torch.no_grad()
def every_mask(model: MLP, x: Tensor) -> Tensor:
    """Logits [mask d_out] of one input with each of the 2^8 ways to leave out units of two layers of four."""
    masks = 2 * torch.tensor([[float(i >> bit & 1) for bit in range(8)] for i in range(256)], dtype=x.dtype)
    names = [f"blocks.{layer}.dropout.hook_mask" for layer in range(2)]
    with intervene(model.train(), dict(zip(names, masks.split(4, dim=1), strict=True))):
        return model(x.expand(256, -1))


def scale_of_means(seed: int, device: str, budget: float) -> Row:
    """|mean ratio - 1| of a million numbers to what dropout at rate 1/2 makes of them, with and without 1 / (1 - p)."""
    x = torch.rand(1_000_000, generator=generator_for(seed, "numbers")) + 1
    dropout = Dropout(0.5, "unit")
    with own_default_generator(seed_for(seed, "masks")):
        out = dropout(x).double()
    ratio = float(out.mean() / x.double().mean())
    with torch.no_grad():
        same = float((dropout.eval()(x) - x).abs().max())
    return {"scaled": abs(ratio - 1), "not scaled": abs(ratio / 2 - 1), "in evaluation": same, "half": abs(ratio / 2)}


def ensemble(seed: int, device: str, budget: float, dropout: float) -> Row:
    """A net trained on 1,000 digits with this rate, then read with masks of rate 1/2.

    Distances are mean total variations of predictions on test images, to the average over 300 masks: of the net with
    all units, of one mask (mean over 20), and of the average over other masks, K of them.
    """
    training, test = split_digits(seed, 1000, device)
    config = MLPConfig(widths=(128, 128), dropout=dropout)
    trained = MLP(config, generator_for(seed, "weights")).to(device)
    fit(trained, training, steps=scaled(600, budget), lr=0.1, seed=seed)
    model = MLP(MLPConfig(widths=(128, 128), dropout=0.5)).to(device)
    model.load_state_dict(trained.state_dict())
    with torch.no_grad(), own_default_generator(seed_for(seed, "masks")):
        whole = model.eval()(test.images).softmax(-1)
        drawn = torch.stack([model.train()(test.images).softmax(-1) for _ in range(REFERENCE + COUNTS[-1])])
    average, others = drawn[:REFERENCE].mean(0), drawn[REFERENCE:]

    def right(p: Tensor) -> float:
        return float((p.argmax(-1) == test.labels).double().mean())

    return {
        "scaled to average": distance(whole, average),
        "one mask to average": mean([distance(each, average) for each in others[:20]]),
        "accuracy scaled": right(whole),
        "accuracy of average": right(average),
        "accuracy of one mask": mean([right(each) for each in others[:20]]),
        "masks": [float(k) for k in COUNTS],
        "distance to average": [distance(others[:k].mean(0), average) for k in COUNTS],
    }


def distance(p: Tensor, q: Tensor) -> float:
    """Mean over images of half the sum of absolute differences."""
    return float((p - q).abs().sum(-1).mean() / 2)


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


CLAIMS = (
    Claim(
        name="scaled-weights-average-over-all-masks-of-a-linear-net",
        numbers=(33,),
        statement="For linear units the net with scaled weights is the average over all masks.",
        source=f"{DROPOUT}, section 9.1 (geometric mean: Baldi & Sadowski 2013)",
        arms={"exact": Arm(all_masks)},
        comparisons=(
            exact("the mean of the logits", "largest difference", "exact", "mean", 1e-9, wrong="of bent units"),
            exact("the geometric mean of predictions", "largest difference", "exact", "geometric mean", 1e-9,
                  wrong="arithmetic mean"),
        ),
        why="With tanh in both layers the mean is another one, and so is the arithmetic mean of the predictions.",
        trained=False,
    ),
    Claim(
        name="inverse-scale-keeps-the-mean",
        numbers=(37,),
        statement="Dividing by the share kept in training keeps the mean, so that nothing is to be scaled afterwards.",
        source=f"{DROPOUT}, section 10",
        arms={"exact": Arm(scale_of_means)},
        comparisons=(
            exact("the mean in training", "|mean ratio - 1| of 10⁶ numbers", "exact", "scaled", 0.01,
                  wrong="not scaled"),
            exact("evaluation", "largest difference from the input", "exact", "in evaluation", 1e-9, wrong="half"),
        ),
        why="Without the scale the mean is halved. 0.01 is ten standard errors of the mean of a million masks.",
        trained=False,
    ),
    Claim(
        name="dropout-approximates-an-ensemble",
        numbers=(33,),
        statement="A net trained with dropout, its weights scaled, predicts what the average of its thinned nets does.",
        source=f"{DROPOUT}, sections 1 and 7.5",
        arms={"dropout": Arm(ensemble, {"dropout": 0.5}), "none": Arm(ensemble, {"dropout": 0.0})},
        comparisons=(
            Comparison(
                "being nearer than a thinned net", "distance to the average", "one mask to average", "dropout",
                "dropout", "greater", math.log(2), control_value="scaled to average", scale="log ratio",
            ),
            Comparison(
                "being nearer than without dropout in training", "distance to the average", "scaled to average", "none",
                "dropout", "greater", math.log(2), scale="log ratio",
            ),
            Comparison(
                "being as good as the average", "test accuracy", "accuracy scaled", "dropout", "dropout", "equivalent",
                0.01, control_value="accuracy of average", resolution=1 / 797,
            ),
            Comparison(
                "being better than a thinned net", "test accuracy", "accuracy scaled", "dropout", "dropout", "greater",
                0.01, control_value="accuracy of one mask", resolution=1 / 797,
            ),
        ),
        why="One thinned net instead of the scaled one; and the same masks on a net that was trained without them.",
        picture=Picture("distance to average", "distance of K masks to the average", "masks", "masks K", True, True),
    ),
)  # fmt: skip
