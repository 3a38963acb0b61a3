"""Kullback-Leibler divergence and cross-entropy: identities, each with the wrong way beside it."""

import torch

from analyses.claims.claim import Arm, Claim, Comparison, Row


def cross_entropy_gradient(seed: int, device: str, budget: float) -> Row:
    """Largest difference of the gradients of KL(P || Q) and of the cross-entropy by Q's logits; beside it KL(Q | P)."""
    generator = torch.Generator().manual_seed(seed)
    p = torch.randn(64, 10, generator=generator, dtype=torch.float64).softmax(-1)
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
        "value error": float((crossed - forward - entropy).abs()),
        "value without the entropy": float((crossed - forward).abs()),
    }


CLAIMS = (
    Claim(
        name="cross-entropy-is-kl-plus-entropy",
        numbers=(9,),
        statement="Cross-entropy is KL plus the entropy of the labels; only the KL depends on the parameters.",
        source="Cover & Thomas, Elements of Information Theory, ch. 2",
        arms={"random": Arm(cross_entropy_gradient)},
        comparisons=(
            Comparison(
                "gradients", "largest difference of the two gradients", "error", "random", "random", "exact", 1e-7,
                control_value="wrong way",
            ),
            Comparison(
                "values", "|CE - KL - H|", "value error", "random", "random", "exact", 1e-9,
                control_value="value without the entropy",
            ),
        ),
        why="The reversed divergence KL(Q || P) has another gradient, and leaving the entropy out another value.",
        trained=False,
    ),
)  # fmt: skip
