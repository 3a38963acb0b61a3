"""One affine translator, fitted to the model's final prediction, with early stop on sequences of their own."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.lens.by_depth import lens_logits
from interp.weights import TransformerWeights

ITERATIONS, HISTORY = 5, 20
"""L-BFGS iterations at a time (torch's gets stuck with 1), and the steps that it remembers."""
EXACT = 1e-6
"""KL, nats, below which there is nothing to fit: what float32 rounds."""
IMPROVED = 1e-3
"""Share by which the validation KL has to fall for a look to count as better."""


PENALTIES = (3e-2, 1e-2, 3e-3, 1e-3, 0.0)
"""Nats for each unit of |A - I|^2 (Frobenius) that are tried; the validation part chooses."""


@dataclass(frozen=True, eq=False)
class Part:
    """Predictions to fit or to validate on, all sequences in one row."""

    residual: Float[Tensor, "n d_model"]
    final: Float[Tensor, "n d_vocab"]
    weight: Float[Tensor, " n"]
    """Adds up to 1."""


@dataclass(frozen=True, eq=False)
class Translator:
    """x -> x A + b, and how well it did."""

    A: Float[Tensor, "d_model d_model"]
    b: Float[Tensor, " d_model"]
    training_kl: float
    validation_kl: float
    """Mean KL(final || lens) of the kept translator, nats."""
    identity_kl: float
    """The same on the validation part without a translator."""
    penalty: float
    """On |A - I|^2, of those tried."""
    looks: int
    """Looks at the validation part until it was kept; 0 is where it started."""


def translate(
    w: TransformerWeights, x: Float[Tensor, "*rest d_model"], A: Float[Tensor, "d_model d_model"], b: Tensor
) -> Float[Tensor, "*rest d_vocab"]:
    """LogitLens(x A + b)."""
    return lens_logits(w, x @ A + b)


def kl_to_final(w: TransformerWeights, part: Part, A: Tensor, b: Tensor) -> Float[Tensor, ""]:
    """Mean of sum_v p_v (ln p_v - ln q_v), p the model's final prediction and q the lens'."""
    log_q = translate(w, part.residual, A, b).log_softmax(-1)
    return ((part.final.exp() * (part.final - log_q)).sum(-1) * part.weight).sum()


def fit_all(
    w: TransformerWeights, training: Part, validation: Part, most_looks: int, patience: int
) -> tuple[Translator, Translator]:
    """The full translator, of the penalty with the lowest validation KL, and the bias-only control it started from."""
    control = fit(w, training, validation, None, 0.0, most_looks, patience)
    tried = (fit(w, training, validation, control.b, penalty, most_looks, patience) for penalty in PENALTIES)
    return min(tried, key=lambda each: each.validation_kl), control


class Looks:
    """What was seen on the way, a look at the validation part for each evaluation of the gradient."""

    def __init__(self, first: Translator) -> None:
        self.best, self.reached = first, first.validation_kl
        self.count = self.stale = 0

    def add(self, found: Translator) -> None:
        """Keeps it if it is the best so far."""
        kl = found.validation_kl
        self.count += 1
        self.stale = 0 if kl < self.reached * (1 - IMPROVED) else self.stale + 1
        self.reached = min(self.reached, kl)
        self.best = found if kl < self.best.validation_kl else self.best


def fit(
    w: TransformerWeights,
    training: Part,
    validation: Part,
    start: Float[Tensor, " d_model"] | None,
    penalty: float,
    most_looks: int,
    patience: int,
) -> Translator:
    """The translator with the lowest validation KL on the way of L-BFGS from A = I and b = `start`.

    What is minimised is KL + penalty |A - I|^2. It ends after `most_looks`, or `patience` looks without a fall of a
    thousandth; where it started is a candidate. Without `start`, b starts at 0 and A stays the identity: the bias-only
    control, on the validation part never worse than the logit lens. Started from the control's bias, the full
    translator is never worse there than the control.
    """
    identity = torch.eye(w.d_model, dtype=training.residual.dtype, device=training.residual.device)
    zero = torch.zeros_like(identity[0])
    A, b = identity.clone(), zero.clone() if start is None else start.clone()
    moving = [b] if start is None else [A, b]
    for parameter in moving:
        parameter.requires_grad_()
    optimizer = torch.optim.LBFGS(moving, max_iter=ITERATIONS, history_size=HISTORY, line_search_fn="strong_wolfe")

    with torch.no_grad():
        unchanged = float(kl_to_final(w, validation, identity, zero))

    def look(count: int) -> Translator:
        with torch.no_grad():
            kl = [float(kl_to_final(w, part, A, b)) for part in (training, validation)]
        return Translator(A.detach().clone(), b.detach().clone(), kl[0], kl[1], unchanged, penalty, count)

    looks = Looks(look(0))

    def closure() -> float:
        optimizer.zero_grad()
        loss = kl_to_final(w, training, A, b) + penalty * (A - identity).square().sum()
        loss.backward()
        looks.add(look(looks.count + 1))
        return float(loss.detach())

    exact = looks.best.training_kl < EXACT
    while not exact and looks.count < most_looks and looks.stale < patience:
        before = looks.count
        with torch.enable_grad():
            optimizer.step(closure)
        if looks.count == before + 1:  # it has converged: only the gradient was looked at
            break
    return looks.best
