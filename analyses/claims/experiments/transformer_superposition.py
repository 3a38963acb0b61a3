"""Superposition: five sparse features in two dimensions (Elhage et al. 2022, Toy Models of Superposition)."""

import torch
from jaxtyping import Float
from torch import Tensor

from analyses.claims.claim import Arm, Claim, Comparison, Picture, Row
from toy_models.shelf_data_config import FeaturesConfig
from toy_models.superposition import Superposition
from toy_models.training.objectives.features import draw_features
from toy_models.training.seeds import generator_for
from toy_models.vector_config import SuperpositionConfig

FEATURES, HIDDEN, STEPS, BATCH, RATE = 5, 2, 2000, 512, 3e-3
STARTS = 4
"""Models trained side by side; the one with the lowest loss is looked at, since some stop in a worse optimum."""


def train_superposition(seed: int, device: str, budget: float, *, sparsity: float, trained: bool = True) -> Row:
    """Dimensionalities D_i = |W_i|² / sum_j (W_i/|W_i| · W_j)² of the best of `STARTS` models; all features alike."""
    config = FeaturesConfig(n_features=FEATURES, sparsity=sparsity)
    data = generator_for(seed, "data")
    models = [
        Superposition(SuperpositionConfig(FEATURES, HIDDEN), torch.Generator().manual_seed(STARTS * seed + start))
        for start in range(STARTS)
    ]
    for model in models:
        model.to(device)
    parameters = [parameter for model in models for parameter in model.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=RATE)
    for _ in range(max(1, round(STEPS * budget)) if trained else 0):
        x = draw_features(config, BATCH, data).to(device)
        loss = torch.stack([(model(x) - x).square().mean() for model in models]).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    x = draw_features(config, 8 * BATCH, generator_for(seed, "held-out")).to(device)
    with torch.no_grad():
        losses = [float((model(x) - x).square().mean()) for model in models]
    D = dimensionalities(models[losses.index(min(losses))].W.detach())
    return {
        "loss": min(losses),
        "distance from 2/5": float((D - HIDDEN / FEATURES).abs().max()),
        "sum less 2": float((D.sum() - HIDDEN).abs()),
        "given back": 1 - min(losses) / float(x.var(0).mean()),
        "dimensionality": sorted(D.tolist()),
        "feature": [float(i) for i in range(FEATURES)],
    }


def dimensionalities(W: Float[Tensor, "feature hidden"]) -> Float[Tensor, " feature"]:
    """|W_i|² / sum_j (W_i/|W_i| · W_j)²: the share of a dimension that a feature has to itself; 0 where W_i is."""
    overlaps = (W @ W.T).square().sum(1)
    norms = W.square().sum(1)
    return torch.where(overlaps > 0, norms.square() / overlaps.clamp_min(1e-30), 0.0)


CLAIMS = (
    Claim(
        name="transformer-superposition",
        numbers=(89,),
        statement="Sparse features are stored in superposition: more of them than there are dimensions, each with a "
        "fraction of one.",
        source="Elhage et al. 2022, Toy Models of Superposition",
        arms={
            "sparse (.95)": Arm(train_superposition, {"sparsity": 0.95}),
            "dense": Arm(train_superposition, {"sparsity": 0.0}),
            "untrained": Arm(train_superposition, {"sparsity": 0.95, "trained": False}),
        },
        comparisons=(
            Comparison(
                "more than two dimensions could hold", "share of the features' variance that is given back",
                "given back", "sparse (.95)", "dense", "greater", 0.1,
            ),
            Comparison(
                "equal shares of 2/5", "largest |D_i - 2/5|", "distance from 2/5", "sparse (.95)", "dense", "exact",
                0.03,
            ),
            Comparison(
                "dense features fill both dimensions", "|sum of D_i - 2|", "sum less 2", "dense", "untrained", "exact",
                0.03,
            ),
        ),
        why="Dense features, of whose variance two dimensions can give back 2/5; and the model before training.",
        picture=Picture("dimensionality", "dimensionality", x="feature", x_label="feature, by dimensionality"),
    ),
)  # fmt: skip
