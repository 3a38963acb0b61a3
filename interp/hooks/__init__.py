"""The one way to touch a running model: `record` reads values inside it, `intervene` replaces them."""

from interp.hooks.activations import Activations
from interp.hooks.interventions import Ablation, ablate
from interp.hooks.running import intervene, record

__all__ = [
    "Ablation",
    "Activations",
    "ablate",
    "intervene",
    "record",
]
