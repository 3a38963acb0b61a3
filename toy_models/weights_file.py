"""model.safetensors: named tensors to bytes and back, refusing by name what is not as it should be."""

import hashlib

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from toy_models.errors import InputError


def tensor_bytes(tensors: dict[str, Tensor]) -> bytes:
    """The tensors in the safetensors format (in CPU memory, each whole by itself)."""
    on_cpu = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(on_cpu, metadata={"format": "pt"})


def read_tensors(data: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file; `InputError` if it is truncated or something else."""
    try:
        return safetensors.torch.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise InputError(f"truncated, or not a safetensors file ({error})") from error


def check_tensors(found: dict[str, Tensor], expected: dict[str, Tensor], dtype: torch.dtype) -> None:
    """`InputError` naming the first tensor that is missing, too many, of another shape or type, NaN or infinite.

    Only the shapes of `expected` are read: they may be on torch's meta device.
    """
    missing = [name for name in expected if name not in found]
    if missing:
        raise InputError(f"tensor {missing[0]} is missing{_others(missing)}")
    extra = [name for name in found if name not in expected]
    if extra:
        raise InputError(f"tensor {extra[0]} does not belong to this model{_others(extra)}")
    for name, tensor in ((name, found[name]) for name in expected):  # files come in no fixed order
        if tensor.shape != expected[name].shape:
            raise InputError(f"{name} has shape {list(tensor.shape)}, expected {list(expected[name].shape)}")
        if tensor.dtype != dtype:
            raise InputError(f"{name} is {dtype_name(tensor.dtype)}, expected {dtype_name(dtype)}")
    check_finite(found)


def check_finite(tensors: dict[str, Tensor]) -> None:
    """`InputError` naming the first tensor with a NaN or infinite entry."""
    for name, tensor in tensors.items():
        bad = ~tensor.detach().isfinite()
        if bad.any():
            place = bad.nonzero()[0].tolist()
            raise InputError(f"{name} holds {tensor[tuple(place)].item()} at {place}, and {int(bad.sum())} such in all")


def dtype_name(dtype: torch.dtype) -> str:
    """float32 and so on."""
    return str(dtype).removeprefix("torch.")


def model_hash(model: nn.Module) -> str:
    """SHA-256, in hexadecimal, of a model's weights: of sorted names, types, shapes and bytes.

    Equal for models whose state dicts are bit-identical, on whatever device.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {dtype_name(tensor.dtype)} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _others(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
