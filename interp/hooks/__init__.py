"""The one way to touch a running model: `record` reads values inside it, `intervene` replaces them."""

from interp.hooks.activations import Activations
from interp.hooks.interventions import Ablation, ablate
from interp.hooks.running import intervene, record
from interp.hooks.unseen import Unseen, unseen_operations

__all__ = [
    "Ablation",
    "Activations",
    "Unseen",
    "ablate",
    "intervene",
    "record",
    "unseen_operations",
]
