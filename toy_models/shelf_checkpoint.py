"""Models of the shelf on disk: the same folder of config.json and model.safetensors as a transformer's."""

from typing import Any

from torch import nn

from toy_models import atomic
from toy_models.checkpoint import CONFIG, WEIGHTS
from toy_models.config import to_dict
from toy_models.weights_file import check_finite, tensor_bytes

SHELF_FORMAT, SHELF_FORMAT_VERSION = "interp-shelf", 1


def shelf_model_files(kind: str, model: nn.Module, metadata: dict[str, Any]) -> dict[str, bytes]:
    """Contents of model.safetensors and config.json, in the order in which they should be written.

    Raises `InputError` for NaN or infinite weights.
    """
    tensors = model.state_dict()
    check_finite(tensors)
    config = {
        "format": SHELF_FORMAT,
        "format_version": SHELF_FORMAT_VERSION,
        "kind": kind,
        "model": to_dict(model.config),
        "metadata": metadata,
    }
    return {WEIGHTS: tensor_bytes(tensors), CONFIG: atomic.json_bytes(config)}
