"""From the names a caller writes to the places in a model they mean."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from interp.errors import InputError
from interp.hooks.activations import Axes, UnknownName, nearest
from interp.hooks.nested import Path
from interp.hooks.sites import Site, sites_of

_NAME = re.compile(r"(?P<place>.*?)(?:#(?P<call>\d+))?(?P<path>(?:\[\w+\])*)")


@dataclass(frozen=True)
class Target:
    """One place to watch: `name` is the module's path or the point's name, without call and index."""

    name: str
    site: Site
    axes: Axes | None
    call: int | None = None
    """Which run of a module that runs several times in one forward pass; None for its only one."""
    path: Path | None = None
    """Which of the tensors of a tuple, list or dict; None for all."""
    exact: bool = True
    """Named in full, not by a glob."""


def find_targets(
    model: nn.Module, names: str | Iterable[str], axes: Mapping[str, str] | None = None
) -> dict[str, list[Target]]:
    """For each name or glob the places it means; `InputError` listing the nearest names if there are none.

    A name is a module's path, or a hook point's name on a TransformerLens model; `name#1` is the second run of a
    module that runs several times, `name[0]` the first part of a tuple. A glob (`*`, `?`) selects hook points if it
    matches any; else modules without children if it matches any; else any module. The bare `*` leaves out hook
    points that make the model do extra work.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"a model must be a torch.nn.Module, got a {type(model).__name__}")
    sites = sites_of(model)
    wanted = [names] if isinstance(names, str) else list(names)
    if not wanted or not all(isinstance(name, str) and name for name in wanted):
        raise InputError(f"names must be a name, a glob or a list of them, got {names!r}")
    given = {name: tuple(text.split()) for name, text in (axes or {}).items()}
    for pattern in given:
        if not any(fnmatchcase(name, pattern) for name in sites):
            raise UnknownName(f"axes has {pattern!r}, which is not in this model; {nearest(pattern, sites)}")
    return {name: _resolve(name, sites, model, given) for name in wanted}


def _resolve(wanted: str, sites: dict[str, Site], model: nn.Module, given: dict[str, Axes]) -> list[Target]:
    if wanted in sites:
        return [Target(wanted, sites[wanted], _axes(wanted, sites[wanted], given))]
    match = _NAME.fullmatch(wanted)
    assert match is not None  # the pattern matches every text
    place = match["place"]
    call = None if match["call"] is None else int(match["call"])
    steps = re.findall(r"\w+", match["path"])
    path = tuple(int(step) if step.isdigit() else step for step in steps) or None
    is_glob = any(c in place for c in "*?[")
    found = _select(place, sites) if is_glob else [place] if place in sites else []
    if not found and (module := _second_name(place, model)) is not None:
        sites, found = {**sites, place: Site(module)}, [place]
    if not found:
        what = "matches nothing in this model" if is_glob else "is not in this model"
        raise UnknownName(f"{wanted!r} {what}; {nearest(place, sites)}")
    return [Target(name, sites[name], _axes(name, sites[name], given), call, path, not is_glob) for name in found]


def _select(pattern: str, sites: dict[str, Site]) -> list[str]:
    if pattern == "*":
        found = [name for name, site in sites.items() if not site.on_request]
    else:
        found = [name for name in sites if fnmatchcase(name, pattern)]
    found = [name for name in found if ".parametrizations" not in name]
    return [name for name in found if sites[name].is_point] or [name for name in found if sites[name].is_leaf] or found


def _second_name(name: str, model: nn.Module) -> nn.Module | None:
    """The module at a path that `named_modules` leaves out, because it lists a shared module once."""
    return next((m for path, m in model.named_modules(remove_duplicate=False) if path == name and path), None)


def _axes(name: str, site: Site, given: dict[str, Axes]) -> Axes | None:
    for pattern, axes in given.items():
        if fnmatchcase(name, pattern):
            return axes
    return site.axes
