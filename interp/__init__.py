"""Measure a transformer: its circuits, its heads, what they do, and what breaks without them.

Public names are imported from their modules on first use, so that `import interp` loads neither torch nor
anything else that is slow.
"""

from importlib import import_module
from typing import Any

_MODULE_OF = {
    "Activations": "hooks",
    "Estimate": "stats",
    "Factored": "circuits",
    "Head": "names",
    "HeadScores": "heads",
    "InputError": "errors",
    "TransformerWeights": "weights",
    "intervene": "hooks",
    "record": "hooks",
    "weights_of": "weights",
}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    """Import a public name from its module, once."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
