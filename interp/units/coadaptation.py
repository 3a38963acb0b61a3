"""Whether units stand on their own or only work together: what dropout is said to change (Srivastava et al. 2014)."""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from interp.errors import InputError
from interp.hooks import intervene, record
from interp.hooks.interventions import find_axis
from interp.hooks.targets import find_targets
from interp.stats import Null, null_summary
from interp.units.gradients import Loss
from interp.units.watched import check_inputs


@dataclass(frozen=True)
class Cancelled:
    """Share of what units write that others undo, and what that share is if the signs are drawn at random."""

    share: float
    random: Null

    @property
    def excess(self) -> float:
        """Above 0: units undo each other more than by chance; below 0: they agree more."""
        return self.share - self.random.mean


def cancelled_share(
    values: Float[Tensor, "n unit"],
    weights: Float[Tensor, "d_out unit"],
    generator: torch.Generator,
    *,
    draws: int = 20,
) -> Cancelled:
    """1 - sum |sum_u c_u| / sum sum_u |c_u|, where unit u contributes c_u = values_u weights_u to an output.

    The outer sums are over inputs and outputs: 0 if all contributions to an output agree in sign, 1 if they cancel.
    `weights` are those of the linear map that reads the units, as torch.nn.Linear stores them. Wide layers cancel by
    chance (1 - 1/sqrt(units) for normal contributions), hence `random`: every weight's sign drawn from `generator`,
    sizes as they are. Raises `InputError` where nothing is written.
    """
    values, weights = values.detach().double(), weights.detach().double()
    whole = float((values.abs() @ weights.abs().T).sum())
    if whole == 0:
        raise InputError("these units write nothing, so that nothing can cancel")

    def share(signed: Tensor) -> float:
        return 1 - float((values @ signed.T).abs().sum()) / whole

    signs = torch.randint(0, 2, (draws, *weights.shape), generator=generator) * 2 - 1
    chance = torch.tensor([share(weights * each.to(weights)) for each in signs], dtype=torch.float64)
    return Cancelled(share(weights), null_summary(chance, f"signs of the weights drawn at random, {draws} times"))


@dataclass(frozen=True)
class Deletion:
    """Loss with random units set to 0."""

    intact: float
    deleted: Null
    """Over draws of the units."""

    @property
    def damage(self) -> float:
        """Mean loss with units deleted, minus the loss of the intact model."""
        return self.deleted.mean - self.intact


def deletion_damage(
    model: nn.Module,
    inputs: Float[Tensor, "n *rest"],
    targets: Tensor,
    loss: Loss,
    name: str,
    generator: torch.Generator,
    *,
    share: float = 0.25,
    draws: int = 20,
) -> Deletion:
    """The loss after a random `share` of the units at point `name` is set to 0, `draws` times, the same for all inputs.

    Units are drawn from `generator`, and nothing is scaled to make up for them. Dropout trains a net for just this: a
    small damage there shows that the training worked, not how. Raises `InputError` for a model in training mode, a
    share that is not in (0, 1) or deletes no unit, fewer than two draws, and a name of several points.
    """
    check_inputs(model, inputs, least=1)
    if not 0 < share < 1 or draws < 2:
        raise InputError(f"share must lie between 0 and 1 and draws be 2 or more, got {share} and {draws}")
    target, *more = find_targets(model, name)[name]
    if more:
        raise InputError(f"{name!r} means {len(more) + 1} points: name one")
    axis = find_axis(None, target.name, target.axes)
    with torch.no_grad():
        run = record(model, inputs, names=name)
        intact, value = float(loss(run.output, targets)), run[target.name]
        units = value.shape[axis]
        if not (gone := round(share * units)):
            raise InputError(f"a share of {share} of {units} units is none")
        losses = []
        for _ in range(draws):
            kept = _all_but(torch.randperm(units, generator=generator)[:gone], units)
            mask = kept.to(value).view([-1 if a == axis else 1 for a in range(value.ndim)])
            with intervene(model, {name: partial(torch.mul, mask)}):
                losses.append(loss(model(inputs), targets).double().cpu())
    return Deletion(intact, null_summary(torch.stack(losses), f"{gone} of {units} units at {name} set to 0"))


def _all_but(gone: Tensor, units: int) -> Bool[Tensor, " unit"]:
    kept = torch.ones(units, dtype=torch.bool)
    kept[gone] = False
    return kept
