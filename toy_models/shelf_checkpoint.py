"""Models of the shelf on disk: the same folder of config.json and model.safetensors as a transformer's."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from toy_models import atomic
from toy_models.checkpoint_files import (
    CONFIG,
    FORMAT_VERSIONS,
    SHELF_FORMAT,
    WEIGHTS,
    find_checkpoint,
    named,
    read_file,
    read_header,
)
from toy_models.config import to_dict
from toy_models.device import find_device
from toy_models.errors import InputError
from toy_models.shelf_config import ShelfRunConfig, shelf_run_config_from_dict
from toy_models.shelf_models import ShelfModel, make_shelf_model
from toy_models.weights_file import check_finite, check_tensors, dtype_name, model_hash, read_tensors, tensor_bytes


@dataclass(frozen=True)
class ShelfCheckpoint:
    """A model read from disk, in evaluation mode, and the config of the run that trained it, for `step` updates."""

    model: ShelfModel
    config: ShelfRunConfig
    step: int
    path: Path
    model_hash: str


def shelf_model_files(config: ShelfRunConfig, model: torch.nn.Module, metadata: dict[str, Any]) -> dict[str, bytes]:
    """Contents of model.safetensors and config.json, in the order in which they should be written.

    Raises `InputError` for NaN or infinite weights.
    """
    tensors = model.state_dict()
    check_finite(tensors)
    values = {
        "format": SHELF_FORMAT,
        "format_version": FORMAT_VERSIONS[SHELF_FORMAT],
        **to_dict(config),
        "metadata": metadata,
    }
    return {WEIGHTS: tensor_bytes(tensors), CONFIG: atomic.json_bytes(values)}


def load_shelf_checkpoint(path: str | Path, device: str | torch.device = "cpu") -> ShelfCheckpoint:
    """The model of a checkpoint folder, or of a run folder: its final model, else its newest checkpoint.

    Raises `CheckpointError` naming the file and the reason when the folder is missing, empty, that of a transformer or
    something else, when a file is truncated or of a newer format, and when a tensor is missing, too many, of another
    shape or type, NaN or infinite; `InputError` for an unknown device.
    """
    on = find_device(str(device))
    folder = find_checkpoint(Path(path))
    with named(folder / CONFIG):
        values, metadata = read_header(folder / CONFIG, SHELF_FORMAT)
        config, step = shelf_run_config_from_dict(values), metadata.get("step")
        if type(step) is not int or step < 0:
            raise InputError(f"metadata: step must be a whole number of 0 or above, got {step!r}")
        model = make_shelf_model(config.model, torch.Generator())
    with named(folder / WEIGHTS):
        tensors = read_tensors(read_file(folder / WEIGHTS))
        check_shelf_tensors(tensors, model.state_dict())
        model.load_state_dict(tensors)
    model = model.to(on).eval()
    return ShelfCheckpoint(model, config, step, folder, model_hash(model))


def check_shelf_tensors(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """`check_tensors`, where counts (of batches that a BatchNorm saw) are whole numbers."""
    counts = {name for name, tensor in expected.items() if not tensor.is_floating_point()}
    floats, wanted = ({name: of[name] for name in of if name not in counts} for of in (found, expected))
    check_tensors(floats, wanted, torch.float32)
    for name in sorted(counts):
        if name not in found:
            raise InputError(f"tensor {name} is missing")
        if found[name].dtype != expected[name].dtype or found[name].shape != expected[name].shape:
            raise InputError(
                f"{name} is {dtype_name(found[name].dtype)}, expected one {dtype_name(expected[name].dtype)}"
            )
