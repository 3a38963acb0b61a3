"""Parameters belong to the net, activations to an input: looking at the second leaves the first as they were."""

import hashlib

import torch
from torch import nn

from analyses.claims.claim import Arm, Claim, Row
from analyses.claims.experiments.identities import exact
from interp import record
from toy_models.vision import ConvNet, ConvNetConfig
from toy_models.vision.data import digits


def looked_at(seed: int, device: str, budget: float) -> Row:
    """What changes in a net and in torch's random state when it is recorded, and when it is simply run."""
    images = digits().images
    one, other = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:64]].split(32)
    row: Row = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for mode in ("training", "evaluation"):
            net = ConvNet(ConvNetConfig(norm="batch", dropout=0.5), torch.Generator().manual_seed(seed))
            net.train(mode == "training")
            before, parameters = state_hash(net), [p.detach().clone() for p in net.parameters()]
            found = [record(net, each, names="*") for each in (one, other)]
            row[f"{mode}, recorded"] = float(state_hash(net) != before)
            row[f"{mode}, parameters"] = share_changed(list(net.parameters()), parameters)
            row[f"{mode}, activations"] = share_changed(list(found[0].values()), list(found[1].values()))
            net(one)
            row[f"{mode}, run"] = float(state_hash(net) != before)
    return row


def state_hash(net: nn.Module) -> str:
    """SHA-256 of every parameter and buffer, with its name, and of torch's random state."""
    digest = hashlib.sha256(torch.get_rng_state().numpy().tobytes())
    for name, value in net.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def share_changed(now: list[torch.Tensor], before: list[torch.Tensor]) -> float:
    """Share of the tensors that are not equal to their counterparts."""
    pairs = list(zip(now, before, strict=True))
    return sum(not torch.equal(a.detach(), b) for a, b in pairs) / len(pairs)


RUN = "training, run"
CHANGED = "1 if a hash of parameters, buffers and random state changed"

CLAIMS = (
    Claim(
        name="parameters-stay-activations-follow-the-input",
        numbers=(5,),
        statement="Parameters are the net's and stay as they are; activations are what an input makes of them.",
        source="Olah et al. 2020, Zoom In: An Introduction to Circuits (features in activations, circuits in weights)",
        arms={"batch norm and dropout": Arm(looked_at)},
        comparisons=(
            exact("recorded in training mode", CHANGED, "batch norm and dropout", "training, recorded", 0.0, wrong=RUN),
            exact(
                "recorded in evaluation mode", CHANGED, "batch norm and dropout", "evaluation, recorded", 0.0, wrong=RUN
            ),
            exact(
                "two inputs",
                "share of parameters, of activations, that differ",
                "batch norm and dropout",
                "evaluation, parameters",
                0.0,
                wrong="evaluation, activations",
            ),
        ),
        why="A plain run in training mode changes BatchNorm's running statistics and uses up random numbers; "
        "activations of two inputs differ.",
        trained=False,
    ),
)
