"""Can blocks of layers learn to pass their input on, with a shortcut and without?"""

import math

import torch
import torch.nn.functional as F

from analyses.claims.claim import Arm, Claim, Comparison, Picture, Row
from toy_models.residual_mlp import ResidualMLP, ResidualMLPConfig

D = 32
STEPS = 300
BATCH = 128
RATES = (3e-3, 1e-2)
SCALES = (1.0, 0.5)
SHOWN = 10
"""Every so many steps the loss goes into the curve."""


def fit_identity(seed: int, device: str, budget: float, *, n_blocks: int = 1, residual: bool = True) -> Row:
    """Error of y = x on fresh inputs, and the norm of the blocks' last maps, at the best rate and initial scale."""
    steps = max(1, round(STEPS * budget))
    found = [
        trained(seed, device, steps, rate, ResidualMLPConfig(D, 2 * D, n_blocks, residual, scale))
        for rate in RATES
        for scale in SCALES
    ]
    return min(found, key=lambda row: float(row["error"]))  # type: ignore[arg-type]


def trained(seed: int, device: str, steps: int, rate: float, config: ResidualMLPConfig) -> Row:
    """By Adam, on inputs drawn anew for each step."""
    model = ResidualMLP(config, torch.Generator().manual_seed(seed)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(1000 + seed)
    losses = []
    for _ in range(steps):
        x = torch.randn(BATCH, D, generator=generator).to(device)
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), x)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    x = torch.randn(1024, D, generator=generator).to(device)
    with torch.no_grad():
        error = float(F.mse_loss(model(x), x))
    norms = [float(p.detach().norm()) for name, p in model.named_parameters() if name.endswith("write.weight")]
    return {
        "error": error,
        "rate": rate,
        "scale": config.init_scale,
        "weights": math.exp(sum(map(math.log, norms)) / len(norms)),
        "step": [float(step) for step in range(0, steps, SHOWN)],
        "loss": losses[::SHOWN],
    }


def compared(n_blocks: str, value: str, measure: str, margin: float) -> Comparison:
    return Comparison(
        f"{value} with {n_blocks}", measure, value, f"plain, {n_blocks}", f"residual, {n_blocks}", "greater", margin,
        scale="log ratio",
    )  # fmt: skip


DEPTHS = {"1 block": 1, "8 blocks": 8}

CLAIMS = (
    Claim(
        name="nonlinear-layers-are-bad-at-the-identity",
        numbers=(11,),
        statement="Non-linear layers are bad at the identity; with a shortcut their weights only need to go near zero.",
        source="He et al. 2015, arXiv:1512.03385, section 3.1",
        arms={
            f"{name}, {blocks}": Arm(fit_identity, {"n_blocks": n, "residual": residual})
            for blocks, n in DEPTHS.items()
            for name, residual in (("plain", False), ("residual", True))
        },
        comparisons=(
            *(compared(blocks, "error", "mean squared error of y = x", math.log(2)) for blocks in DEPTHS),
            *(
                compared(blocks, "weights", "norm of the last linear maps of blocks", math.log(1.25))
                for blocks in DEPTHS
            ),
        ),
        why=(
            "The same blocks without shortcuts. They have twice as many rectified units as inputs, so that each could "
            "be the identity exactly, relu(x) - relu(-x): what fails is learning it. Each arm has the best of two "
            "learning rates and two initial scales: eight residual blocks with He's weights begin at 2^8 times the "
            "variance, which is no question of shortcuts."
        ),
        picture=Picture("loss", "mean squared error", "step", "step", log_y=True),
    ),
)  # fmt: skip
