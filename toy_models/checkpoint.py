"""Models on disk: a folder with config.json and model.safetensors, as on the Hugging Face Hub.

The names of the tensors are the model's own, which are those of TransformerLens' state dicts before 4.0. Nothing is
pickled. A checkpoint that training can go on from also holds state.safetensors and state.json. A run folder holds the
final model at its top, and its checkpoints in checkpoints/step-00000000.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from toy_models import atomic
from toy_models.checkpoint_files import (
    CHECKPOINTS,
    CONFIG,
    FORMAT_VERSIONS,
    RUN,
    STATE_TENSORS,
    STATE_VALUES,
    TRANSFORMER_FORMAT,
    WEIGHTS,
    CheckpointError,
    checkpoint_folder,
    find_checkpoint,
    list_checkpoints,
    load_state,
    named,
    read_file,
    read_header,
    write_checkpoint,
)
from toy_models.config import TransformerConfig, from_dict, to_dict
from toy_models.device import find_device
from toy_models.errors import InputError
from toy_models.task_config import TaskConfig, task_config_from_dict
from toy_models.transformer import Transformer
from toy_models.vocabulary import Vocabulary
from toy_models.weights_file import check_finite, check_tensors, dtype_name, model_hash, read_tensors, tensor_bytes

__all__ = [
    "CHECKPOINTS",
    "CONFIG",
    "RUN",
    "STATE_TENSORS",
    "STATE_VALUES",
    "WEIGHTS",
    "Checkpoint",
    "CheckpointError",
    "checkpoint_folder",
    "find_checkpoint",
    "list_checkpoints",
    "load_checkpoint",
    "load_state",
    "model_files",
    "read_config",
    "save_checkpoint",
]

FORMAT, FORMAT_VERSION = TRANSFORMER_FORMAT, FORMAT_VERSIONS[TRANSFORMER_FORMAT]
DTYPES = {dtype_name(t): t for t in (torch.float32, torch.float64, torch.float16, torch.bfloat16)}


@dataclass(frozen=True)
class Checkpoint:
    """A model read from disk, with what was written beside it.

    `metadata` of a checkpoint that training wrote has step, task and vocabulary; `path` is the folder it was
    read from (for a run folder without a final model, that of its newest checkpoint).
    """

    model: Transformer
    config: TransformerConfig
    metadata: dict[str, Any]
    path: Path
    model_hash: str

    @property
    def vocabulary(self) -> Vocabulary | None:
        """Names of the tokens, if the checkpoint says them."""
        saved = self.metadata.get("vocabulary")
        return None if saved is None else Vocabulary.from_dict(saved)

    @property
    def task(self) -> TaskConfig | None:
        """What the model was trained on, if the checkpoint says it."""
        saved = self.metadata.get("task")
        return None if saved is None else task_config_from_dict(saved)


def save_checkpoint(
    folder: str | Path,
    model: Transformer,
    metadata: dict[str, Any] | None = None,
    state: dict[str, Any] | None = None,
) -> None:
    """Writes a checkpoint folder, whole or not at all; one that is there already is replaced (see `atomic`).

    `metadata` is any JSON; `state` is whatever training needs to go on: tensors by name, anything else as JSON.
    Raises `InputError` for NaN or infinite weights, for values without a JSON form, for a folder that holds
    other files, and (as `OutputError`) when the folder cannot be written.
    """
    write_checkpoint(Path(folder), model_files(model, metadata), state)


def model_files(model: Transformer, metadata: dict[str, Any] | None = None) -> dict[str, bytes]:
    """Contents of model.safetensors and config.json, in the order in which they should be written."""
    tensors = model.state_dict()
    check_finite(tensors)
    dtypes = {tensor.dtype for tensor in tensors.values()}
    if len(dtypes) > 1:
        raise InputError(f"the model mixes {' and '.join(sorted(map(dtype_name, dtypes)))}; convert it with model.to")
    config = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "dtype": dtype_name(dtypes.pop()),
        **to_dict(model.config),
        "metadata": metadata or {},
    }
    return {WEIGHTS: tensor_bytes(tensors), CONFIG: atomic.json_bytes(config)}


def load_checkpoint(path: str | Path, device: str | torch.device = "cpu") -> Checkpoint:
    """The model of a checkpoint folder, or of a run folder: its final model, else its newest checkpoint.

    Raises `CheckpointError` naming the file and the reason when the folder is missing, empty or something else,
    when a file is truncated or of a newer format, and when a tensor is missing, too many, of another shape or type,
    NaN or infinite; `InputError` for an unknown device.
    """
    on = find_device(str(device))
    folder = find_checkpoint(Path(path))
    config, metadata, dtype = read_config(folder / CONFIG)
    with named(folder / WEIGHTS):
        tensors = read_tensors(read_file(folder / WEIGHTS))
        check_tensors(tensors, _expected(config, tensors), dtype)
        model = _build(config).to(dtype)
        model.load_state_dict(tensors)
    return Checkpoint(model.to(on).eval(), config, metadata, folder, model_hash(model))


def read_config(path: Path) -> tuple[TransformerConfig, dict[str, Any], torch.dtype]:
    """Config, metadata and number type of a config.json; `CheckpointError` if it is not as `save_checkpoint` writes."""
    with named(path):
        values, metadata = read_header(path, TRANSFORMER_FORMAT)
        dtype = values.pop("dtype", "float32")
        if dtype not in DTYPES:
            raise InputError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
        return from_dict(TransformerConfig, values), metadata, DTYPES[dtype]


def _expected(config: TransformerConfig, found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names and shapes of the model's tensors, without memory for them; checks the number of layers first."""
    layers = {name.split(".")[1] for name in found if name.startswith("blocks.")}
    if len(layers) != config.n_layers:
        raise InputError(f"holds {len(layers)} layers, {CONFIG} says n_layers {config.n_layers}")
    with torch.device("meta"):
        return _build(config).state_dict()


def _build(config: TransformerConfig) -> Transformer:
    """A model with any weights; draws nothing from torch's default generator."""
    try:
        return Transformer(config, torch.Generator())
    except (RuntimeError, TypeError, MemoryError, OverflowError) as error:
        raise InputError(f"the model of {CONFIG} cannot be built: {str(error).splitlines()[0]}") from error
