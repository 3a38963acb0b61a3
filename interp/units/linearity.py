"""How much of what a stretch of layers computes an affine map computes too, on inputs it was not fitted to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.errors import InputError
from interp.hooks import record
from interp.hooks.targets import find_targets
from interp.stats import Estimate, Null, null_summary
from interp.stats.ratios import resample
from interp.units.watched import check_inputs

RIDGES = tuple(10.0**power for power in range(-8, 3))
"""What is tried where no ridge is given."""


@dataclass(frozen=True, eq=False)
class Linearity:
    """R² of the best affine map from the values at `source` to those at `target`, on held-out inputs.

    1 for a layer that is affine on these inputs. `shuffled` is the same where each input has the target of another one,
    in fitting and afterwards: what R² is, 0 or below, when there is nothing to find.
    """

    source: str
    target: str
    r2: Estimate
    shuffled: Null
    fitted: int
    """Inputs that the map was fitted to."""
    d_source: int
    d_target: int
    ridge: float

    def to_dict(self) -> dict[str, Any]:
        return vars(self) | {"r2": self.r2.to_dict(), "shuffled": self.shuffled.to_dict()}


def effective_linearity(
    model: nn.Module,
    inputs: Float[Tensor, "n *rest"],
    source: str | None,
    target: str,
    generator: torch.Generator,
    *,
    ridge: float | None = 0.0,
    shuffles: int = 20,
    batch_size: int = 256,
    axes: Mapping[str, str] | None = None,
    level: float = 0.95,
) -> Linearity:
    """R² = 1 - sum ||y - (x A + b)||² / sum ||y - mean(y)||² over a held-out half of the inputs.

    x and y are all values at two points (pixels and units flattened; `source` None: the inputs themselves); A and b
    minimise the squared error plus `ridge` times ||A||² (x centred) on the other half, whose mean is mean(y). With
    `ridge` None it is the one of `RIDGES` times the mean square of x's principal coordinates that predicts each fitted
    input best from the others (leave-one-out, Allen 1974, "PRESS"). With few inputs even an affine layer falls short of
    1: R² from the same source to something that is affine in it (a convolution before its activation) says how far.
    Halves, shuffling and the bootstrap over held-out inputs are drawn from `generator`. Raises `InputError` for a model
    in training mode, points that are unknown or mean several places, values that do not vary or are not finite, and
    with a `ridge` of 0 for no more fitted inputs than x has numbers, which any map would fit.
    """
    check_inputs(model, inputs, least=4)
    names = [None if name is None else _single(model, name, axes) for name in (source, target)]
    x, y = _values(model, inputs, names, batch_size, axes)
    order = torch.randperm(len(x), generator=generator)
    fit, held = order[: len(order) // 2], order[len(order) // 2 :]
    if ridge == 0 and len(fit) <= x.shape[1] + 1:
        raise InputError(
            f"{source or 'the input'} has {x.shape[1]} numbers, more than the {len(fit)} inputs to fit to determine: "
            "give more inputs, or ridge="
        )
    fitted = x[fit] - x[fit].mean(0)
    chosen = _leave_one_out(fitted, y[fit] - y[fit].mean(0)) if ridge is None else ridge
    predict = _predictor(fitted, x[held] - x[fit].mean(0), chosen)
    left, whole = _errors(predict, y[fit], y[held])
    if float(whole.sum()) == 0:
        raise InputError("the values at the target are the same for all inputs: there is nothing to explain")
    ratio = resample(len(held), generator, level).ratio(left[:, None], whole)[0]
    r2 = Estimate(1 - ratio.mean, 1 - ratio.high, 1 - ratio.low, ratio.n, ratio.level, ratio.method)
    chance = []
    for _ in range(shuffles):
        dealt = y[torch.randperm(len(y), generator=generator)]
        left, whole = _errors(predict, dealt[fit], dealt[held])
        chance.append(1 - left.sum() / whole.sum())
    null = null_summary(torch.stack(chance), f"each input with the target of another, {shuffles} times")
    return Linearity(source or "input", target, r2, null, len(fit), x.shape[1], y.shape[1], chosen)


def _single(model: nn.Module, name: str, axes: Mapping[str, str] | None) -> str:
    found = [target.name for target in find_targets(model, name, axes)[name]]
    if len(found) != 1:
        raise InputError(f"{name!r} means {len(found)} points ({', '.join(found[:3])} ...): name one")
    return found[0]


def _values(
    model: nn.Module, inputs: Tensor, names: list[str | None], batch_size: int, axes: Mapping[str, str] | None
) -> list[Float[Tensor, "n d"]]:
    device = next((p.device for p in model.parameters()), inputs.device)
    parts: list[list[Tensor]] = [[], []]
    wanted = list(dict.fromkeys(name for name in names if name is not None))
    for batch in inputs.split(batch_size):
        run = record(model, batch.to(device), names=wanted, axes=axes)
        for kept, name in zip(parts, names, strict=True):
            kept.append((batch if name is None else run[name]).flatten(1).double().cpu())
    values = [torch.cat(kept) for kept in parts]
    for name, value in zip(names, values, strict=True):
        if not bool(value.isfinite().all()):
            raise InputError(f"values at {name or 'the input'} are NaN or infinite")
    return values


def _errors(
    predict: Callable[[Tensor], Tensor], fitted: Float[Tensor, "fit d"], held: Float[Tensor, "held d"]
) -> tuple[Tensor, Tensor]:
    """Squared error of each held-out input: of the map, and of the mean of what it was fitted to."""
    mean = fitted.mean(0)
    return (held - mean - predict(fitted - mean)).square().sum(1), (held - mean).square().sum(1)


def _predictor(x: Float[Tensor, "n d"], held: Float[Tensor, "m d"], ridge: float) -> Callable[[Tensor], Tensor]:
    """y at the fitted inputs -> what the map fitted to it gives at the held-out ones; by the smaller matrix."""
    solve = _solver(x, ridge)
    if x.shape[1] <= len(x):
        return lambda y: held @ (solve @ y)
    smooth = held @ solve
    return lambda y: smooth @ y


def _solver(x: Float[Tensor, "n d"], ridge: float) -> Float[Tensor, "d n"]:
    """S with S y = argmin_A ||x A - y||² + ridge ||A||²; the smallest such A where x does not determine it."""
    if ridge == 0:
        return torch.linalg.pinv(x, rtol=1e-10)
    n, d = x.shape
    if d <= n:
        return torch.linalg.solve(x.T @ x + ridge * torch.eye(d, dtype=x.dtype), x.T)
    return torch.linalg.solve(x @ x.T + ridge * torch.eye(n, dtype=x.dtype), x).T


def _leave_one_out(x: Float[Tensor, "n d"], y: Float[Tensor, "n d_target"]) -> float:
    """The ridge whose errors at each input, fitted without it, are smallest: (y - H y) / (1 - diag H), H of the fit."""
    values, vectors = torch.linalg.eigh(x @ x.T)
    values = values.clamp_min(0)
    rotated, scale = vectors.T @ y, float(values.sum()) / min(x.shape)
    if scale == 0:
        return 1.0
    errors = []
    for ridge in RIDGES:
        kept = values / (values + ridge * scale)
        leverage = vectors.square() @ kept + 1 / len(x)
        missed = y - vectors @ (kept[:, None] * rotated)
        errors.append(float((missed / (1 - leverage).clamp_min(1e-12)[:, None]).square().sum()))
    return RIDGES[errors.index(min(errors))] * scale
