"""The one way to touch a running model: `record` reads values inside it, `intervene` replaces them.

Both work on any `nn.Module` by the names of its modules, on our transformer and TransformerLens' by the names of
their hook points, and take globs: `record(model, tokens, names="blocks.*.attn.hook_pattern")`. Hooks act only in the
thread that set them, are removed at the end whatever happens, and see what earlier interventions made of a value.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from interp.errors import InputError
from interp.hooks.activations import Activations
from interp.hooks.editor import Editor, Replacement
from interp.hooks.nested import tensors_in
from interp.hooks.recorder import Keeping, Recorder, Reduce, Sink, check_reductions
from interp.hooks.sites import Hook, Remove, Site
from interp.hooks.targets import find_targets
from interp.hooks.untouched import tensors_of, untouched

Item = TypeVar("Item")


def record(
    model: nn.Module,
    *inputs: Any,
    names: str | Iterable[str] = "*",
    positions: int | slice | Iterable[int] | Tensor | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    reduce: Reduce | Mapping[str, Reduce] | None = None,
    sink: Sink | None = None,
    grad: bool = False,
    axes: Mapping[str, str] | None = None,
    **kwargs: Any,
) -> Activations:
    """Run `model(*inputs, **kwargs)` once and return the values at the named places, by name, with `.output`.

    names: module paths, hook point names, or globs. "*" is every hook point, or every module without children in a
        model that has no hook points; points that cost extra work when watched (the inputs split by head) are left
        out unless a name or another glob asks for them. A module that runs several times gives `name#0`, `name#1`;
        one that returns several tensors `name[0]`, `name[1]`. A name at which nothing passes is an error; of what a
        glob selects, such points are listed in `.silent`.
    positions: an int (the axis stays, with length 1), a slice, or a list or tensor of ints; they select from the axis
        called `pos`, or `dest` of patterns and scores; from axis 1 where axes have no names.
    reduce: a function (or one per name or glob) applied as values pass, so that whole tensors are never kept.
    dtype, device: what floating-point values are cast to, and where values go; from a GPU to the CPU by pinned,
        asynchronous copies that are complete on return.
    sink: called with (name, value) as values pass, instead of storing them.
    grad: False runs without gradients; True keeps the graph, so that gradients reach the recorded values.
    axes: names of axes for modules that have none, as {"features.3": "batch unit y x"}.

    The model is left as it was: no hooks, same mode, same buffers (a BatchNorm in training mode learns nothing from
    the run) and torch's random state put back. Values are copied where the model or the caller could later write to
    their memory; those of hook points with named axes are not, because nothing in such models is done in place.
    Raises `InputError` for names, positions, devices or options that cannot be, naming the nearest names.
    """
    wanted = find_targets(model, names, axes)
    targets = list({(t.name, t.call, t.path): t for each in wanted.values() for t in each}.values())
    check_reductions(reduce, targets)
    _check_options(dtype, reduce, sink, grad)
    keeping = Keeping(_positions(positions), reduce, dtype, _device(device), sink, grad)
    held = tensors_of(model)
    if any(nn.parameter.is_lazy(tensor) for _, _, tensor in held):
        raise InputError("the model has lazy parameters, without a shape yet: run it once before recording")
    recorder = Recorder([t for _, _, t in held] + [t for _, t in tensors_in((inputs, kwargs))], keeping)
    places = _by_place(targets, lambda target: target.site)
    with torch.set_grad_enabled(grad), untouched(held), _attached(places, recorder.hook):
        output = model(*inputs, **kwargs)
    return recorder.finish(wanted, output)


@contextmanager
def intervene(
    model: nn.Module,
    edits: Mapping[str, Replacement],
    *,
    axes: Mapping[str, str] | None = None,
    allow_batchnorm_training: bool = False,
) -> Iterator[None]:
    """While the block runs, values at the named places are replaced: `{name_or_glob: fn}`, fn(value) -> new value.

    fn gets a copy of its own, may write to it, and must return a tensor of the same shape, dtype and device. A tensor
    in place of fn is put in as it is (broadcast to the value's shape). An object with a method `at(name, axes)`, such
    as `ablate([3])` makes, is asked for its function at each point. Names are those of `record`; a module that runs
    several times in one forward pass needs `name#0`. Blocks nest: the inner block's function gets what the outer's
    returned, and `record` inside sees the result. Gradients flow through.

    Raises `InputError` if a name is unknown, if an edit could have no effect, if fn returns something else than
    asked, at the end if the model ran and some named point never saw a value, and if a BatchNorm uses the statistics
    of the batch (an edit to one sample would change the others), unless `allow_batchnorm_training`.
    """
    if not isinstance(edits, Mapping):
        raise InputError(f"intervene needs a dict of functions by name, got {type(edits).__name__}")
    if not edits:
        raise InputError("intervene needs at least one edit, as {name: function}, got {}: without any, run the model")
    editor = Editor(model, edits, find_targets(model, edits, axes), allow_batchnorm_training)
    places = _by_place(editor.edits, lambda edit: edit.target.site)
    with editor.following_the_model(), _attached(places, editor.hook):
        yield
    editor.check_all_fired()


def _by_place(items: Iterable[Item], site_of: Callable[[Item], Site]) -> list[tuple[Site, list[Item]]]:
    places: dict[int, tuple[Site, list[Item]]] = {}
    for item in items:
        site = site_of(item)
        places.setdefault(id(site.module), (site, []))[1].append(item)
    return list(places.values())


@contextmanager
def _attached(places: Iterable[tuple[Site, list[Item]]], make_hook: Callable[[list[Item]], Hook]) -> Iterator[None]:
    """One hook at each place, for as long as the block runs."""
    removers: list[Remove] = []
    try:
        for site, items in places:
            removers.append(site.attach(make_hook(items)))
        yield
    finally:
        for remove in removers:
            remove()


def _check_options(dtype: object, reduce: object, sink: object, grad: bool) -> None:
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise InputError(f"dtype must be a floating-point torch.dtype such as torch.float16, got {dtype!r}")
    for function in reduce.values() if isinstance(reduce, Mapping) else [reduce]:
        if function is not None and not callable(function):
            raise InputError(f"reduce must be a function, or functions by name, got {function!r}")
    if sink is not None and not callable(sink):
        raise InputError(f"sink must be a function of (name, value), got {sink!r}")
    if grad and torch.is_inference_mode_enabled():
        raise InputError("grad=True cannot work inside torch.inference_mode(): leave that block first")


def _positions(positions: int | slice | Iterable[int] | Tensor | None) -> slice | list[int] | None:
    if positions is None or isinstance(positions, slice):
        return positions
    if isinstance(positions, Tensor):
        positions = positions.flatten().tolist()
    chosen = [positions] if isinstance(positions, int) else list(positions)
    if not all(isinstance(p, int) and not isinstance(p, bool) for p in chosen):
        raise InputError(f"positions must be whole numbers, a list of them or a slice, got {chosen!r}")
    return chosen


def _device(device: str | torch.device | None) -> torch.device | None:
    """With its index, as tensors report it; `InputError` if this machine does not have it."""
    try:
        return None if device is None else torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"no device {str(device)!r} here: {str(error).splitlines()[0]}") from None
