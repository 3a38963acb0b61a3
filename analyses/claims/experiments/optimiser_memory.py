"""What optimisers keep for each parameter: counted, and the count that leaves the gradient out beside it."""

import torch.nn.functional as F

from analyses.claims.claim import Arm, Claim, Row
from analyses.claims.experiments.identities import exact
from interp.units import optimiser_memory
from toy_models.mlp import MLP
from toy_models.shelf_config import ShelfTrainConfig
from toy_models.training.seeds import generator_for
from toy_models.training.shelf_optimizer import make_shelf_optimizer
from toy_models.vector_config import MLPConfig
from toy_models.vision.data import digits

KINDS = {
    "SGD": (ShelfTrainConfig(optimizer="sgd", momentum=0.0), 1),
    "momentum": (ShelfTrainConfig(optimizer="sgd", momentum=0.9), 2),
    "Adam": (ShelfTrainConfig(optimizer="adam"), 3),
}


def counted(seed: int, device: str, budget: float) -> Row:
    """Numbers kept for each parameter after two steps, by optimiser, against 1, 2 and 3; and the state alone."""
    images, labels = digits().images[:32], digits().labels[:32]
    row: Row = {}
    for name, (config, expected) in KINDS.items():
        net = MLP(MLPConfig(widths=(16,)), generator_for(seed, "weights"))
        optimizer = make_shelf_optimizer(net, config)
        for _ in range(2):
            optimizer.zero_grad()
            F.cross_entropy(net(images), labels).backward()
            optimizer.step()
        found = optimiser_memory(optimizer)
        row[f"{name} off"] = abs(found.per_parameter - expected)
        row[f"{name} off, state alone"] = abs(found.state / found.parameters - expected)
        row[f"{name}, bytes for each byte of parameters"] = found.bytes / (4 * found.parameters)
    return row


CLAIMS = (
    Claim(
        name="optimisers-keep-numbers-for-each-parameter",
        numbers=(69,),
        statement="For N parameters SGD needs N more numbers (the gradient), momentum 2 N, Adam 3 N.",
        source="Kingma & Ba 2015, Adam (arXiv:1412.6980), algorithm 1",
        arms={"net on digits": Arm(counted)},
        comparisons=tuple(
            exact(
                name,
                f"|numbers kept for each parameter - {expected}|",
                "net on digits",
                f"{name} off",
                0.0,
                wrong=f"{name} off, state alone",
            )
            for name, (_, expected) in KINDS.items()
        ),
        why="The optimiser's state alone, without the gradient, is 0, N and 2 N.",
        trained=False,
    ),
)
