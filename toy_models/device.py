"""Which device a model runs on."""

import torch

from toy_models.errors import InputError


def find_device(name: str) -> torch.device:
    """The device called `name`: cpu, cuda, cuda:1 and so on, or auto for a GPU where there is one.

    Raises `InputError` if there is no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"there is no device {name!r}; use auto, cpu or cuda") from error
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device {name!r} is not supported; use auto, cpu or cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {name!r} was asked for, but PyTorch sees no GPU here; use auto or cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device {name!r} was asked for, but there are {torch.cuda.device_count()} GPUs here")
    return device
