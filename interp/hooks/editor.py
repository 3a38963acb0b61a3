"""Replacing the values that pass while an `intervene` block is open."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from interp.errors import InputError
from interp.hooks.interventions import Ablation, Edit
from interp.hooks.nested import Path, replaced, spell, tensors_in
from interp.hooks.sites import Hook
from interp.hooks.targets import Target

Replacement = Callable[[Tensor], Tensor] | Tensor | Ablation


@dataclass
class TargetEdit:
    target: Target
    function: Edit
    fired: bool = False


class Editor:
    """Applies edits to what passes their targets in this thread, and follows when the model runs."""

    def __init__(
        self,
        model: nn.Module,
        replacements: Mapping[str, Any],
        wanted: Mapping[str, list[Target]],
        allow_batchnorm_training: bool,
    ):
        self.model = model
        self.edits = [
            TargetEdit(target, edit_function(target, replacements[name]))
            for name, targets in wanted.items()
            for target in targets
        ]
        checked = not allow_batchnorm_training
        self.batch_norms = {n: m for n, m in model.named_modules() if checked and isinstance(m, _BatchNorm)}
        self.check_batch_norms()
        self.thread = threading.get_ident()
        self.runs, self.inside = 0, False
        self.calls: dict[int, int] = {}
        """How often each module ran in the forward pass under way, by its id."""

    @contextmanager
    def following_the_model(self) -> Iterator[None]:
        """Notice when the whole model starts and ends a forward pass."""

        def starts(*_: Any) -> None:
            if threading.get_ident() == self.thread:
                self.check_batch_norms()
                self.calls.clear()
                self.runs, self.inside = self.runs + 1, True

        def ends(*_: Any) -> None:
            if threading.get_ident() == self.thread:
                self.inside = False

        before = self.model.register_forward_pre_hook(starts)
        after = self.model.register_forward_hook(ends, always_call=True)
        try:
            yield
        finally:
            before.remove()
            after.remove()

    def hook(self, edits: list[TargetEdit]) -> Hook:
        """What to put at the one place that these edits share."""
        place = id(edits[0].target.site.module)

        def on_value(value: Any) -> Any:
            if threading.get_ident() != self.thread:
                return None
            call = self.calls.get(place, 0)
            if self.inside:
                self.calls[place] = call + 1
            for edit in edits:
                if edit.target.call is None and call > 0:
                    name = edit.target.name
                    raise InputError(f"{name} runs several times in one forward pass: name one run, {name}#0")
                if edit.target.call in (None, call):
                    value = replaced(value, tensor_path(edit.target, value), partial(new_value, edit))
            return value

        return on_value

    def check_batch_norms(self) -> None:
        for name, module in self.batch_norms.items():
            if module.training or module.running_mean is None:
                raise InputError(
                    f"BatchNorm {name!r} uses the statistics of the batch, so an edit to one sample would change the "
                    "others: call model.eval(), or pass allow_batchnorm_training=True"
                )

    def check_all_fired(self) -> None:
        """`InputError` if the model ran in the block and some edit never saw a value."""
        silent = [edit.target.name for edit in self.edits if not edit.fired]
        if silent and (self.runs or len(silent) < len(self.edits)):
            raise InputError(
                f"the model ran, but no value passed {silent[0]!r}, so nothing was replaced there"
                + (f" (nor at {len(silent) - 1} more places)" if len(silent) > 1 else "")
            )


def edit_function(target: Target, replacement: Any) -> Edit:
    """The function of a value that a replacement stands for at this target."""
    if target.site.refuses_edits:
        raise InputError(f"{target.name} cannot be edited: {target.site.refuses_edits}")
    if isinstance(replacement, Tensor):
        return lambda value: constant(target.name, replacement, value)
    if hasattr(replacement, "at"):
        return replacement.at(target.name, target.axes)
    if not callable(replacement):
        raise InputError(f"the edit of {target.name} must be a function or a tensor, got {replacement!r}")
    return replacement


def constant(name: str, tensor: Tensor, value: Tensor) -> Tensor:
    try:
        return tensor.expand_as(value).clone()
    except RuntimeError:
        raise InputError(
            f"the tensor for {name} is {list(tensor.shape)} and does not broadcast to the value's {list(value.shape)}"
        ) from None


def tensor_path(target: Target, value: Any) -> Path:
    """Where in the value the tensor to replace is."""
    name, path = target.name, target.path
    there = [p for p, _ in tensors_in(value)]
    if path is None and there != [()]:
        options = ", ".join(name + spell(p) for p in there) or "but there is none"
        raise InputError(f"{name} returns a {type(value).__name__}: name one tensor of it, {options}")
    if path is not None and path not in there:
        raise InputError(f"{name}{spell(path)} is no tensor; {name} has {', '.join(map(spell, there)) or 'no index'}")
    return path or ()


def new_value(edit: TargetEdit, old: Tensor) -> Tensor:
    """What the edit makes of a value, checked to be of its kind."""
    name = edit.target.name
    own = old.clone()
    try:
        new = edit.function(own)
    except Exception as error:
        error.add_note(f"(in the intervention on {name})")
        raise
    if new is None:
        raise InputError(f"the intervention on {name} returned nothing: did you forget to return the new value?")
    if not isinstance(new, Tensor):
        raise InputError(f"the intervention on {name} must return a tensor, got {type(new).__name__}")
    if (new.shape, new.dtype, new.device) != (old.shape, old.dtype, old.device):
        raise InputError(f"the intervention on {name} must return {_kind(old)}, got {_kind(new)}")
    edit.fired = True
    return new if new is own or edit.target.site.keeps_still else new.clone()


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)} on {tensor.device}"
