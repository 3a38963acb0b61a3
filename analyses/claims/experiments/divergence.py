"""Kullback-Leibler divergence and cross-entropy: identities, each with the wrong way beside it."""

import math

import torch

from analyses.claims.claim import Arm, Claim, Row
from analyses.claims.experiments.distributions import drawn_distributions
from analyses.claims.experiments.identities import exact
from interp.stats import divergence, gaussian_kl

TRIPLES = 2000


def distance_axioms(seed: int, device: str, budget: float) -> Row:
    """How far KL, and the root of Jensen-Shannon, are from being a distance, over random triples of distributions."""
    generator = torch.Generator().manual_seed(seed)
    p, q, r = drawn_distributions(generator, 3, TRIPLES, 6)
    kl = divergence(p, q)
    nudged = (q + 1e-3 * p) / (1 + 1e-3)
    root = {
        name: divergence(*pair, "jensen-shannon").sqrt()
        for name, pair in {"pq": (p, q), "qr": (q, r), "pr": (p, r)}.items()
    }
    return {
        "kl below 0": float((-kl).clamp_min(0).max()),
        "single event below 0": float((q / p).log().max()),
        "kl to itself": float(divergence(q, q).abs().max()),
        "kl to a neighbour": float(divergence(q, nudged).min()),
        "jensen-shannon reversed": float((root["pq"] - divergence(q, p, "jensen-shannon").sqrt()).abs().max()),
        "kl reversed": float((kl - divergence(q, p)).abs().mean()),
        "jensen-shannon detour": float((root["pr"] - root["pq"] - root["qr"]).clamp_min(0).max()),
        "kl detour": float((divergence(p, r) - kl - divergence(q, r)).clamp_min(0).max()),
    }


def gaussian_integral(seed: int, device: str, budget: float) -> Row:
    """The closed form of the KL between two normals against the integral, and against the integral reversed."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(4, generator=generator, dtype=torch.float64)
    mean, other_mean, std, other_std = (drawn + torch.tensor([-0.5, -0.5, 0.5, 0.8])).split(1)
    x = torch.linspace(-20, 20, 20001, dtype=torch.float64)
    log_p = -((x - mean) / std).square() / 2 - std.log() - math.log(2 * math.pi) / 2
    log_q = -((x - other_mean) / other_std).square() / 2 - other_std.log() - math.log(2 * math.pi) / 2
    closed = gaussian_kl(mean, std, other_mean, other_std)
    return {
        "error": float((closed - torch.trapezoid(log_p.exp() * (log_p - log_q), x)).abs()),
        "reversed": float((closed - torch.trapezoid(log_q.exp() * (log_q - log_p), x)).abs()),
    }


def cross_entropy_gradient(seed: int, device: str, budget: float) -> Row:
    """Largest difference of the gradients of KL(P || Q) and of the cross-entropy by Q's logits; beside it KL(Q | P)."""
    generator = torch.Generator().manual_seed(seed)
    p = drawn_distributions(generator, 64, 10)
    logits = torch.randn(64, 10, generator=generator, dtype=torch.float64).requires_grad_()
    log_q = logits.log_softmax(-1)
    forward = (p * (p.log() - log_q)).sum()
    crossed = -(p * log_q).sum()
    reverse = (log_q.exp() * (log_q - p.log())).sum()
    gradients = [torch.autograd.grad(x, logits, retain_graph=True)[0] for x in (forward, crossed, reverse)]
    entropy = -(p * p.log()).sum()
    return {
        "error": float((gradients[0] - gradients[1]).abs().max()),
        "wrong way": float((gradients[2] - gradients[1]).abs().max()),
        "value error": abs(float(crossed.detach() - forward.detach() - entropy)),
        "value without the entropy": abs(float(crossed.detach() - forward.detach())),
    }


CLAIMS = (
    Claim(
        name="kl-is-no-distance",
        numbers=(6,),
        statement="KL measures how far distributions are apart: never negative, 0 only for equal ones, but asymmetric.",
        source="Cover & Thomas, Elements of Information Theory, ch. 2; Endres & Schindelin 2003",
        arms={"random": Arm(distance_axioms), "normal": Arm(gaussian_integral)},
        comparisons=(
            exact(
                "never negative", "how far KL is below 0", "random", "kl below 0", 1e-12, wrong="single event below 0"
            ),
            exact(
                "zero only for equal",
                "KL to itself; to a neighbour",
                "random",
                "kl to itself",
                1e-12,
                wrong="kl to a neighbour",
            ),
            exact(
                "Jensen-Shannon symmetric, KL not",
                "change when reversed",
                "random",
                "jensen-shannon reversed",
                1e-12,
                wrong="kl reversed",
            ),
            exact(
                "root of Jensen-Shannon a metric, KL not",
                "how much a detour saves",
                "random",
                "jensen-shannon detour",
                1e-12,
                wrong="kl detour",
            ),
            exact("normals in closed form", "|closed form - integral|", "normal", "error", 1e-9, wrong="reversed"),
        ),
        why="The log ratio of a single event has either sign; a neighbour is not at 0; KL itself fails what a metric "
        "keeps; the integral with the arguments reversed is another number.",
        slip="'Distance' is a manner of speaking: KL is asymmetric and a detour can make it shorter.",
        trained=False,
    ),
    Claim(
        name="cross-entropy-is-kl-plus-entropy",
        numbers=(9,),
        statement="Cross-entropy is KL plus the entropy of the labels; only the KL depends on the parameters.",
        source="Cover & Thomas, Elements of Information Theory, ch. 2",
        arms={"random": Arm(cross_entropy_gradient)},
        comparisons=(
            exact("gradients", "largest difference of the two gradients", "random", "error", 1e-7, wrong="wrong way"),
            exact("values", "|CE - KL - H|", "random", "value error", 1e-9, wrong="value without the entropy"),
        ),
        why="The reversed divergence KL(Q || P) has another gradient, and leaving the entropy out another value.",
        trained=False,
    ),
)
