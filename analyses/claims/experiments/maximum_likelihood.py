"""Cross-entropy with one-hot labels is the negative log-likelihood, and training on it is maximum likelihood."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from analyses.claims.claim import Arm, Claim, Row
from analyses.claims.experiments.identities import exact
from interp.stats import cross_entropy, divergence, entropy

CONTEXTS, CLASSES, EXAMPLES = 8, 5, 4000
STEPS, RATE = 3000, 1.0
SMOOTHING = 0.1


def one_hot_identity(seed: int, device: str, budget: float) -> Row:
    """|CE - KL| and |CE + log q(y)| for one-hot labels, and for labels smoothed by 0.1."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(256, 10, generator=generator, dtype=torch.float64)
    labels = torch.randint(10, (256,), generator=generator)
    q, hard = logits.softmax(-1), F.one_hot(labels, 10).double()
    smooth = hard * (1 - SMOOTHING) + SMOOTHING / 10
    likelihood = -logits.log_softmax(-1)[torch.arange(256), labels]
    torchs = F.cross_entropy(logits, labels, label_smoothing=SMOOTHING, reduction="none")
    return {
        "one-hot, KL": float((cross_entropy(hard, q) - divergence(hard, q)).abs().max()),
        "smoothed, KL": float((cross_entropy(smooth, q) - divergence(smooth, q)).abs().min()),
        "one-hot, likelihood": float((cross_entropy(hard, q) - likelihood).abs().max()),
        "smoothed, likelihood": float((cross_entropy(smooth, q) - likelihood).abs().max()),
        "smoothed, KL + H": float((torchs - divergence(smooth, q) - entropy(smooth)).abs().max()),
    }


def tabular(seed: int, device: str, budget: float) -> Row:
    """Largest distance of a trained table of softmaxes from the frequencies in its data, by loss."""
    generator = torch.Generator().manual_seed(seed)
    contexts = torch.randint(CONTEXTS, (EXAMPLES,), generator=generator)
    truth = torch.randn(CONTEXTS, CLASSES, generator=generator, dtype=torch.float64).softmax(-1)
    labels = torch.multinomial(truth[contexts], 1, generator=generator).flatten()
    counts = torch.zeros(CONTEXTS, CLASSES, dtype=torch.float64)
    counts.index_put_((contexts, labels), torch.ones(EXAMPLES, dtype=torch.float64), accumulate=True)
    frequencies = counts / counts.sum(1, keepdim=True)
    steps = max(1, round(STEPS * budget))
    crossed, squared = (
        trained_table(frequencies, slope, steps).softmax(-1) for slope in (cross_entropy_slope, squared_error_slope)
    )
    return {
        "cross-entropy": float((crossed - frequencies).abs().max()),
        "squared error": float((squared - frequencies).abs().max()),
        "truth": float((frequencies - truth).abs().max()),
    }


def trained_table(frequencies: Tensor, slope: Callable[[Tensor, Tensor], Tensor], steps: int) -> Tensor:
    """Logits after gradient descent from 0, the gradient of each context's mean loss over its examples."""
    logits = torch.zeros_like(frequencies)
    for _ in range(steps):
        logits = logits - RATE * slope(logits, frequencies)
    return logits


def cross_entropy_slope(logits: Tensor, frequencies: Tensor) -> Tensor:
    """d/d logits of the mean of - log softmax(logits)[label]."""
    return logits.softmax(-1) - frequencies


def squared_error_slope(logits: Tensor, frequencies: Tensor) -> Tensor:
    """d/d logits of the mean of |logits - one-hot label|² / 2."""
    return logits - frequencies


CLAIMS = (
    Claim(
        name="cross-entropy-is-maximum-likelihood",
        numbers=(10,),
        statement="With one-hot labels cross-entropy is the negative log-likelihood, so training on it is maximum "
        "likelihood.",
        source="Cover & Thomas, Elements of Information Theory, ch. 2; Bishop, Pattern Recognition, section 4.3",
        arms={"random": Arm(one_hot_identity), "table": Arm(tabular)},
        comparisons=(
            exact("one-hot: CE = KL", "|CE - KL|", "random", "one-hot, KL", 1e-12, wrong="smoothed, KL"),
            exact(
                "one-hot: CE = - log q(label)",
                "|CE + log q(label)|",
                "random",
                "one-hot, likelihood",
                1e-12,
                wrong="smoothed, likelihood",
            ),
            exact(
                "smoothed: CE = KL + H",
                "|CE - KL - H|, CE as torch computes it",
                "random",
                "smoothed, KL + H",
                1e-9,
                wrong="smoothed, KL",
            ),
            exact("estimator", "largest |softmax - frequency|", "table", "cross-entropy", 1e-4, wrong="squared error"),
        ),
        why="Smoothed labels have entropy, by which CE and KL differ; the same table trained by squared error on its "
        "logits does not end at the frequencies.",
        trained=False,
    ),
)
