"""How much of what a stretch of layers computes an affine map computes too, on inputs it was not fitted to."""

from collections.abc import Mapping
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

    def to_dict(self) -> dict[str, Any]:
        return vars(self) | {"r2": self.r2.to_dict(), "shuffled": self.shuffled.to_dict()}


def effective_linearity(
    model: nn.Module,
    inputs: Float[Tensor, "n *rest"],
    source: str,
    target: str,
    generator: torch.Generator,
    *,
    ridge: float = 0.0,
    shuffles: int = 20,
    batch_size: int = 256,
    axes: Mapping[str, str] | None = None,
    level: float = 0.95,
) -> Linearity:
    """R² = 1 - sum ||y - (x A + b)||² / sum ||y - mean(y)||² over a held-out half of the inputs.

    x and y are all values at two points (pixels and units flattened); A and b minimise the squared error plus `ridge`
    times ||A||² (x centred) on the other half, whose mean is mean(y). Halves, shuffling and the bootstrap over
    held-out inputs are drawn from `generator`. Raises `InputError` for a model in training mode, points that are
    unknown or mean several places, values that do not vary or are not finite, and without `ridge` for no more fitted
    inputs than x has numbers, which any map would fit.
    """
    check_inputs(model, inputs, least=4)
    names = [_single(model, name, axes) for name in (source, target)]
    x, y = _values(model, inputs, names, batch_size, axes)
    order = torch.randperm(len(x), generator=generator)
    fit, held = order[: len(order) // 2], order[len(order) // 2 :]
    if ridge == 0 and len(fit) <= x.shape[1] + 1:
        raise InputError(
            f"{source} has {x.shape[1]} numbers, more than the {len(fit)} inputs to fit to determine: "
            "give more inputs, or ridge="
        )
    solve = _solver(x[fit] - x[fit].mean(0), ridge)
    left, whole = _errors(x, y, solve, fit, held)
    if float(whole.sum()) == 0:
        raise InputError("the values at the target are the same for all inputs: there is nothing to explain")
    ratio = resample(len(held), generator, level).ratio(left[:, None], whole)[0]
    r2 = Estimate(1 - ratio.mean, 1 - ratio.high, 1 - ratio.low, ratio.n, ratio.level, ratio.method)
    chance = []
    for _ in range(shuffles):
        left, whole = _errors(x, y[torch.randperm(len(y), generator=generator)], solve, fit, held)
        chance.append(1 - left.sum() / whole.sum())
    null = null_summary(torch.stack(chance), f"each input with the target of another, {shuffles} times")
    return Linearity(source, target, r2, null, len(fit), x.shape[1], y.shape[1])


def _single(model: nn.Module, name: str, axes: Mapping[str, str] | None) -> str:
    found = [target.name for target in find_targets(model, name, axes)[name]]
    if len(found) != 1:
        raise InputError(f"{name!r} means {len(found)} points ({', '.join(found[:3])} ...): name one")
    return found[0]


def _values(
    model: nn.Module, inputs: Tensor, names: list[str], batch_size: int, axes: Mapping[str, str] | None
) -> list[Float[Tensor, "n d"]]:
    device = next((p.device for p in model.parameters()), inputs.device)
    parts: list[list[Tensor]] = [[], []]
    for batch in inputs.split(batch_size):
        run = record(model, batch.to(device), names=list(dict.fromkeys(names)), axes=axes)
        for kept, name in zip(parts, names, strict=True):
            kept.append(run[name].flatten(1).double().cpu())
    values = [torch.cat(kept) for kept in parts]
    for name, value in zip(names, values, strict=True):
        if not bool(value.isfinite().all()):
            raise InputError(f"values at {name} are NaN or infinite")
    return values


def _errors(x: Tensor, y: Tensor, solve: Tensor, fit: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
    """Squared error of each held-out input: of the map, and of the mean of what it was fitted to."""
    A = solve @ (y[fit] - y[fit].mean(0))
    left = (y[held] - y[fit].mean(0) - (x[held] - x[fit].mean(0)) @ A).square().sum(1)
    return left, (y[held] - y[fit].mean(0)).square().sum(1)


def _solver(x: Tensor, ridge: float) -> Float[Tensor, "d n"]:
    """S with S y = argmin_A ||x A - y||² + ridge ||A||²; the smallest such A where x does not determine it."""
    if ridge > 0:
        return torch.linalg.solve(x.T @ x + ridge * torch.eye(x.shape[1], dtype=x.dtype), x.T)
    return torch.linalg.pinv(x, rtol=1e-10)
