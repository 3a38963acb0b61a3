"""Whether a class can be read off values by one linear map, beside what shuffled labels and an untrained model give."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.errors import InputError
from interp.stats import Estimate, Null, bootstrap_interval, clopper_pearson, null_summary


@dataclass(frozen=True, eq=False)
class Probe:
    """Held-out accuracy of a linear classifier of values, and what it is when there is nothing to read.

    A probe shows that something can be read, not that the model reads it; values of an untrained model can be read
    well too, so that `gain` (accuracy minus the untrained model's, on the same inputs) is what training made.
    """

    accuracy: Estimate
    shuffled: Null
    """The same with the training labels shuffled, `shuffled.n` times."""
    majority: float
    """Share of the held-out inputs that the training set's most frequent class gets right."""
    untrained: Estimate | None
    gain: Estimate | None
    fitted: int

    def to_dict(self) -> dict[str, Any]:
        parts = {name: getattr(self, name) for name in ("accuracy", "shuffled", "untrained", "gain")}
        made = {name: None if part is None else part.to_dict() for name, part in parts.items()}
        return made | {"majority": self.majority, "fitted": self.fitted}


def linear_probe(
    values: Float[Tensor, "n d"],
    labels: Int[Tensor, " m"],
    generator: torch.Generator,
    *,
    untrained: Float[Tensor, "k e"] | None = None,
    held_out: float = 0.3,
    shuffles: int = 20,
    strength: float = 1.0,
    level: float = 0.95,
) -> Probe:
    """Logistic regression (scikit-learn; inverse ridge `strength`, values standardised) on a part of the inputs.

    Accuracy is measured on the `held_out` share, drawn by `generator`, with a Clopper-Pearson interval; `gain` has a
    BCa bootstrap over the same inputs. `untrained` are the values of the same inputs in a model that was not trained.
    Raises `InputError` for numbers that do not match, values that are not finite, a single class, and a training or
    held-out part with fewer than two inputs or a training part without some class.
    """
    _check(values, labels, untrained)
    order = torch.randperm(len(labels), generator=generator)
    n_held = round(held_out * len(labels))
    held, fit = order[:n_held], order[n_held:]
    if min(len(held), len(fit)) < 2 or len(labels[fit].unique()) < 2:
        raise InputError(f"{len(fit)} inputs to fit and {len(held)} held out are too few: give more inputs")
    right = _right(values, labels, fit, labels[fit], held, strength)
    chance = []
    for _ in range(shuffles):
        shuffled = labels[fit][torch.randperm(len(fit), generator=generator)]
        chance.append(_right(values, labels, fit, shuffled, held, strength).double().mean())
    majority = labels[fit].mode().values
    probe = _accuracy(right, level)
    other = None if untrained is None else _right(untrained, labels, fit, labels[fit], held, strength)
    return Probe(
        probe,
        null_summary(torch.stack(chance), f"accuracy with shuffled training labels, {shuffles} times"),
        float((labels[held] == majority).double().mean()),
        None if other is None else _accuracy(other, level),
        None if other is None else bootstrap_interval(right.double() - other.double(), generator, level),
        len(fit),
    )


def _check(values: Tensor, labels: Tensor, untrained: Tensor | None) -> None:
    for name, each in {"values": values, "untrained": untrained}.items():
        if each is None:
            continue
        if len(each) != len(labels):
            raise InputError(f"{name} and labels must be as many, got {len(each)} and {len(labels)}")
        if not bool(each.isfinite().all()):
            raise InputError(f"{int((~each.isfinite()).sum())} of {each.numel()} {name} are NaN or infinite")
    if len(labels.unique()) < 2:
        raise InputError("all labels are the same: a probe needs two classes or more")


def _right(values: Tensor, labels: Tensor, fit: Tensor, answers: Tensor, held: Tensor, strength: float) -> Tensor:
    """Whether each held-out input is classified right by a map fitted to `answers`."""
    from sklearn.linear_model import LogisticRegression

    x = values.detach().double().cpu()
    mean, std = x[fit].mean(0), x[fit].std(0)
    x = (x - mean) / torch.where(std > 0, std, 1.0)
    model = LogisticRegression(C=strength, max_iter=2000)
    model.fit(x[fit].numpy(), answers.cpu().numpy())
    return torch.from_numpy(model.predict(x[held].numpy())) == labels[held].cpu()


def _accuracy(right: Tensor, level: float) -> Estimate:
    return clopper_pearson(int(right.sum()), len(right), level)
