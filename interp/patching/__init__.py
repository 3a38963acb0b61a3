"""Values of one run put into another: activation, path and attribution patching, with controls and intervals."""

from interp.patching.activations import activation_patches
from interp.patching.attribution import AttributionMap, attribution_patches
from interp.patching.metrics import Metric, kl_from, logit_difference, loss
from interp.patching.patch_map import PatchMap
from interp.patching.path_edits import patch_paths
from interp.patching.paths import PathMap, path_patches

__all__ = [
    "AttributionMap",
    "Metric",
    "PatchMap",
    "PathMap",
    "activation_patches",
    "attribution_patches",
    "kl_from",
    "logit_difference",
    "loss",
    "patch_paths",
    "path_patches",
]
