"""What dropout does to the hidden units of an autoencoder: whether they work alone, and how many are active."""

import math

import torch
import torch.nn.functional as F

from analyses.claims.claim import Arm, Claim, Comparison, Picture, Row
from analyses.claims.experiments.vector_training import own_default_generator, scaled, split_digits
from interp.hooks import record
from interp.units import cancelled_share, deletion_damage, unit_responses
from toy_models.autoencoder import DropoutAutoencoder
from toy_models.training.seeds import generator_for, seed_for
from toy_models.vector_config import DropoutAutoencoderConfig

DROPOUT = "Srivastava et al. 2014, Dropout, JMLR 15"
DECAY = 7e-4
"""Penalty on squared weights with which digits are reconstructed about as well as with dropout, found with seed 7."""


def autoencoder(seed: int, device: str, budget: float, dropout: float = 0.0, decay: float = 0.0) -> Row:
    """Digits through 256 rectifiers and back, 700 steps of Adam on the mean squared error (plus decay |W|²).

    On test images: "error", and with a quarter of the units deleted at random "damage" above it; "cancelled", the share
    of what units write that others undo, "by chance" with random signs; "mean activation" and "active share".
    """
    training, test = split_digits(seed, 1437, device)
    model = DropoutAutoencoder(DropoutAutoencoderConfig(dropout=dropout), generator_for(seed, "weights")).to(device)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    order, x = generator_for(seed, "batches"), training.images.flatten(1)
    with own_default_generator(seed_for(seed, "masks")):
        for _ in range(scaled(700, budget)):
            chosen = x[torch.randint(len(x), (64,), generator=order).to(device)]
            penalty = model.encode.weight.square().sum() + model.decode.weight.square().sum()
            loss = F.mse_loss(model.train()(chosen), chosen) + decay * penalty
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return measured(model.eval(), test.images.flatten(1), seed)


def measured(model: DropoutAutoencoder, x: torch.Tensor, seed: int) -> Row:
    generator = generator_for(seed, "measures")
    found = unit_responses(model, x, generator, "hook_post")["hook_post"]
    values = record(model, x, names="hook_post")["hook_post"]
    cancelled = cancelled_share(values, model.decode.weight, generator)
    deleted = deletion_damage(model, x, x, F.mse_loss, "hook_post", generator)
    return {
        "error": deleted.intact,
        "damage": deleted.damage,
        "cancelled": cancelled.share,
        "by chance": cancelled.random.mean,
        "mean activation": float(found.mean.mean.mean()),
        "active share": float(found.active.mean.mean()),
        "sparsity": float(found.sparsity.mean()),
    }


def more(
    condition: str, value: str, treated: str, control: str, margin: float, measure: str = "", control_value: str = ""
) -> Comparison:
    return Comparison(condition, measure or value, value, treated, control, "greater", margin, control_value)


def times_more(condition: str, value: str, treated: str, control: str, factor: float | int) -> Comparison:
    return Comparison(condition, value, value, treated, control, "greater", math.log(factor), scale="log ratio")


ARMS = {
    "none": Arm(autoencoder),
    "dropout": Arm(autoencoder, {"dropout": 0.5}),
    "weight decay": Arm(autoencoder, {"decay": DECAY}),
}
WHY = (
    "The same weights and batches without dropout, and with weight decay instead, at about the reconstruction error "
    "that dropout has: what any regulariser would do is not dropout's."
)

CLAIMS = (
    Claim(
        name="units-co-adapt-without-dropout",
        numbers=(34,),
        statement="Without dropout units make up for each other's mistakes; with it they stand on their own.",
        source=f"{DROPOUT}, sections 2 and 7.1",
        arms=ARMS,
        comparisons=(
            times_more("damage by deletion", "damage", "none", "dropout", 2.0),
            times_more("damage by deletion, against weight decay", "damage", "weight decay", "dropout", 2.0),
            more("cancellation", "cancelled", "none", "dropout", 0.1),
            more("cancellation, against weight decay", "cancelled", "weight decay", "dropout", 0.1),
            more("cancellation without dropout above chance", "cancelled", "none", "none", 0.02, "", "by chance"),
            more("cancellation with dropout below chance", "by chance", "dropout", "dropout", 0.02, "", "cancelled"),
        ),
        why=f"{WHY} Deletion is what dropout trains for, so that its damage alone would be circular; the share of "
        "contributions that cancel is not. Chance: the same contributions with random signs.",
        picture=Picture("cancelled", "share of contributions that others undo"),
    ),
    Claim(
        name="dropout-makes-units-sparse",
        numbers=(35,),
        statement="With dropout the activations of hidden units are smaller and sparser.",
        source=f"{DROPOUT}, section 7.2",
        arms=ARMS,
        comparisons=(
            times_more("mean activation", "mean activation", "none", "dropout", 1.5),
            times_more("mean activation, against weight decay", "mean activation", "weight decay", "dropout", 1.5),
            more("share of active units", "active share", "none", "dropout", 0.1),
            more("share of active units, against weight decay", "active share", "weight decay", "dropout", 0.1),
        ),
        why=WHY,
        picture=Picture("active share", "share of units above 0"),
    ),
)
