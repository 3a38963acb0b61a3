"""What an optimiser does at each step, as data: gradient, momentum, and by how much each parameter really moves."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toy_models.errors import InputError

MOMENTUM = ("momentum_buffer", "exp_avg")
SQUARES = ("exp_avg_sq",)


@dataclass(frozen=True)
class UpdateTrace:
    """The updates of named parameters, one entry a recorded step, on the CPU, each in the parameter's shape.

    `gradient` is what the optimiser was given (after clipping, without weight decay); `momentum` SGD's velocity or
    Adam's running mean m, before bias correction; `squares` Adam's running mean square v; `effective` the weights
    after the step minus those before it, everything included: rate, momentum, weight decay. Of an optimiser without
    momentum or squares those are empty. `steps` counts the optimiser's steps from 1, `learning_rate` is that of the
    parameter's group.
    """

    names: tuple[str, ...]
    steps: list[int] = field(default_factory=list)
    learning_rate: dict[str, list[float]] = field(default_factory=dict)
    gradient: dict[str, list[Tensor]] = field(default_factory=dict)
    momentum: dict[str, list[Tensor]] = field(default_factory=dict)
    squares: dict[str, list[Tensor]] = field(default_factory=dict)
    effective: dict[str, list[Tensor]] = field(default_factory=dict)

    def stacked(self, kind: str, name: str) -> Float[Tensor, "step *shape"]:
        """All recorded steps of "gradient", "momentum", "squares" or "effective" of one parameter, in one tensor."""
        if kind not in KINDS:
            raise InputError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        if name not in self.names:
            raise InputError(f"{name!r} was not traced; traced: {', '.join(self.names)}")
        found: list[Tensor] = getattr(self, kind).get(name, [])
        if not found:
            raise InputError(f"there is no {kind} of {name}: the optimiser keeps none, or no step was recorded")
        return torch.stack(found)


KINDS = ("gradient", "momentum", "squares", "effective")


@contextmanager
def trace_updates(
    model: nn.Module, optimizer: torch.optim.Optimizer, names: str | Sequence[str] = "*", every: int = 1
) -> Iterator[UpdateTrace]:
    """Inside, every `every`-th step of any PyTorch optimiser is recorded for the parameters that `names` match.

    A name may be a glob, as "blocks.*.weight". Raises `InputError` for a name that matches no parameter which the
    optimiser trains. The optimiser's numbers are unchanged; its hooks are removed when the block ends.
    """
    if every < 1:
        raise InputError(f"every must be at least 1, got {every}")
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    parameters = {name: p for name, p in model.named_parameters() if id(p) in groups}
    chosen = chosen_names(list(parameters), [names] if isinstance(names, str) else names)
    trace, before = UpdateTrace(tuple(chosen)), {}
    done = 0

    def note_before(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if done % every == 0:
            for name in chosen:
                p = parameters[name]
                before[name] = p.detach().clone()
                gradient = torch.zeros_like(p) if p.grad is None else p.grad
                trace.gradient.setdefault(name, []).append(_kept(gradient))
                trace.learning_rate.setdefault(name, []).append(float(groups[id(p)]["lr"]))

    def note_after(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        nonlocal done
        if done % every == 0:
            trace.steps.append(done + 1)
            for name in chosen:
                p = parameters[name]
                trace.effective.setdefault(name, []).append(_kept(p.detach() - before[name]))
                for keys, kept in ((MOMENTUM, trace.momentum), (SQUARES, trace.squares)):
                    for key in keys:
                        if optimizer.state[p].get(key) is not None:
                            kept.setdefault(name, []).append(_kept(optimizer.state[p][key]))
        done += 1

    hooks = (optimizer.register_step_pre_hook(note_before), optimizer.register_step_post_hook(note_after))
    try:
        yield trace
    finally:
        for hook in hooks:
            hook.remove()


def chosen_names(known: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Those that a pattern matches, in their own order; `InputError` for a pattern that matches none."""
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            some = ", ".join(known[:5]) + (" ..." if len(known) > 5 else "")
            raise InputError(f"no trained parameter is called {pattern!r}; there are {some}")
    return [name for name in known if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _kept(value: Tensor) -> Tensor:
    return value.detach().to("cpu", copy=True)
