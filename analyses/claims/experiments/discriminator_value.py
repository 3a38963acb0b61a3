"""What a discriminator estimates: the Jensen-Shannon divergence of data and fakes, if it is the best there is."""

import math

import torch
from torch import Tensor

from analyses.claims.claim import Arm, Claim, Row
from analyses.claims.experiments.distributions import drawn_distributions
from analyses.claims.experiments.identities import exact
from interp.stats import discriminator_value, divergence, optimal_discriminator

OUTCOMES = 6
STEPS, RATE = 3000, 4.0


def best_discriminator(seed: int, device: str, budget: float) -> Row:
    """V(G, D*) against 2 JS - log 4, the slope of V there, and where a trained table of logits ends."""
    generator = torch.Generator().manual_seed(seed)
    data, fake = drawn_distributions(generator, 2, OUTCOMES)
    best = optimal_discriminator(data, fake)
    value = discriminator_value(data, fake, best)
    others = torch.rand(5000, OUTCOMES, generator=generator, dtype=torch.float64)
    most = float(discriminator_value(data, fake, others).max())
    half = torch.full_like(data, 0.5)
    steps = max(1, round(STEPS * budget))
    return {
        "jensen-shannon": float((value - (2 * divergence(data, fake, "jensen-shannon") - math.log(4))).abs()),
        "kl": float((value - (2 * divergence(data, fake) - math.log(4))).abs()),
        "above the best": max(0.0, most - float(value)),
        "above a half": max(0.0, most - float(discriminator_value(data, fake, half))),
        "trained": float((trained_discriminator(data, fake, steps) - best).abs().max()),
        "trained on twice the fakes": float((trained_discriminator(data, 2 * fake, steps) - best).abs().max()),
    }


def trained_discriminator(data: Tensor, fake: Tensor, steps: int) -> Tensor:
    """sigmoid(logits) after gradient ascent on sum data log D + fake log(1 - D) from D = 1/2."""
    logits = torch.zeros_like(data)
    for _ in range(steps):
        judged = logits.sigmoid()
        logits = logits + RATE * (data * (1 - judged) - fake * judged)
    return logits.sigmoid()


CLAIMS = (
    Claim(
        name="discriminator-estimates-jensen-shannon",
        numbers=(99,),
        statement="The best discriminator is data / (data + fakes), and its value is 2 JS(data, fakes) - log 4.",
        source="Goodfellow et al. 2014, Generative Adversarial Nets, proposition 1 and theorem 1 (arXiv:1406.2661)",
        arms={"six outcomes": Arm(best_discriminator)},
        comparisons=(
            exact("value", "|V(G, D*) - 2 JS + log 4|", "six outcomes", "jensen-shannon", 1e-12, wrong="kl"),
            exact(
                "no discriminator reaches more",
                "most that 5,000 random ones are above V(G, D*)",
                "six outcomes",
                "above the best",
                1e-12,
                wrong="above a half",
            ),
            exact(
                "a trained one ends there",
                "largest |D - D*|",
                "six outcomes",
                "trained",
                1e-4,
                wrong="trained on twice the fakes",
            ),
        ),
        why="KL in place of Jensen-Shannon gives another number; a discriminator that always says 1/2 is beaten; one "
        "that sees two fakes for every datum ends elsewhere.",
        trained=False,
    ),
)
