"""Two ways to a gradient through a random latent: by the noise (reparameterised), and by the score function."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from analyses.claims.claim import Arm, Claim, Comparison, Row
from analyses.claims.experiments.autoencoders import pixels_of, trained_vae
from analyses.claims.experiments.identities import exact
from interp.units import gradient_noise
from toy_models.training.seeds import generator_for
from toy_models.vae import VAE

IMAGES, DRAWS = 16, 4000
Z = 4.0
"""Standard deviations that |mean difference|² may be off: more happens by chance 6 times in 100,000."""
MATTERS = math.log(3)
"""Three times the variance needs three times the samples."""


def two_estimators(seed: int, device: str, budget: float) -> Row:
    """d E[log p(x | z)] / d mean of 16 images by both, one noise a draw: variances, and whether their means agree."""
    model = trained_vae(True, seed, "cpu", budget).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    x = pixels_of(seed, "held-out")[:IMAGES]
    mean, log_var = model.encode(x)
    assert log_var is not None
    generator, draws = generator_for(seed, "noise"), max(50, round(DRAWS * budget))
    one, other = (torch.randn(draws, *mean.shape, generator=generator) for _ in range(2))
    std = (log_var / 2).exp()
    through_noise, _ = slope_and_value(model, x, mean + std * one)
    _, value = slope_and_value(model, x, mean + std * other)
    by_score = value[..., None] * other / std
    by_score_with_baseline = (value - value.mean(0))[..., None] * (draws / (draws - 1)) * other / std
    at_mean, _ = slope_and_value(model, x, mean.expand(draws, *mean.shape))
    nothing = torch.zeros(mean.numel())
    return {
        "off": abs(gradient_noise((by_score_with_baseline - through_noise).flatten(1), nothing).bias_z),
        "off, at the mean": abs(gradient_noise((at_mean - through_noise).flatten(1), nothing).bias_z),
        "reparameterised": float(through_noise.double().var(0).sum()),
        "score function": float(by_score.double().var(0).sum()),
        "score function with baseline": float(by_score_with_baseline.double().var(0).sum()),
    }


def slope_and_value(model: VAE, x: Tensor, latent: Tensor) -> tuple[Tensor, Tensor]:
    """(d log p(x | z) / dz [draw image unit], log p(x | z) [draw image]) at latents [draw image unit]."""
    z = latent.detach().flatten(0, 1).requires_grad_()
    pixels = x.expand(len(latent), *x.shape).flatten(0, 1)
    value = -F.binary_cross_entropy_with_logits(model.decode(z), pixels, reduction="none").sum(1)
    (slope,) = torch.autograd.grad(value.sum(), z)
    return slope.view_as(latent), value.detach().view(latent.shape[:2])


def noisier(condition: str, value: str) -> Comparison:
    return Comparison(
        condition,
        "variance, over that of the reparameterised gradient",
        value,
        "vae",
        "vae",
        "greater",
        MATTERS,
        control_value="reparameterised",
        scale="log ratio",
    )


CLAIMS = (
    Claim(
        name="reparameterised-gradient-is-less-noisy",
        numbers=(95,),
        statement="A VAE's gradient through its noise varies far less than the score function's, of the same mean.",
        source="Kingma & Welling 2014 (arXiv:1312.6114), section 2.2; Mohamed et al. 2020 (arXiv:1906.10652)",
        arms={"vae": Arm(two_estimators)},
        comparisons=(
            exact(
                "the same mean",
                "| |mean difference|² - expected | in standard deviations",
                "vae",
                "off",
                Z,
                wrong="off, at the mean",
            ),
            noisier("score function", "score function"),
            noisier("score function less its mean value", "score function with baseline"),
        ),
        why="The score function gets the mean value of log p as a baseline too, which costs nothing and is the usual "
        "remedy; the gradient at the mean, without noise, is another gradient.",
    ),
)
