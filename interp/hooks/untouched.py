"""Running a model and leaving it as it was: buffers and random state are put back."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def tensors_of(model: nn.Module) -> list[tuple[nn.Module, str, Tensor]]:
    """Every parameter and buffer of the model as (module, name, tensor), in one walk."""
    return [
        (module, name, tensor)
        for module in nn.Module.modules(model)
        for held in (module._parameters, module._buffers)
        for name, tensor in held.items()
        if tensor is not None
    ]


@contextmanager
def untouched(tensors: list[tuple[nn.Module, str, Tensor]]) -> Iterator[None]:
    """Put buffers and torch's random state back at the end, also after an exception; `tensors` are the model's.

    So a BatchNorm in training mode uses the statistics of the batch, as it would, but does not learn from it, and
    dropout draws the numbers that a plain run would have drawn, but does not use them up.
    """
    buffers = [(module, name, tensor) for module, name, tensor in tensors if name in module._buffers]
    copies = {id(buffer): buffer.detach().clone() for _, _, buffer in buffers}
    gpus = {tensor.device.index for _, _, tensor in tensors if tensor.is_cuda}
    with torch.random.fork_rng(devices=sorted(gpus)):
        try:
            yield
        finally:
            for module, name, buffer in buffers:
                module._buffers[name] = buffer
                # .data: autograd may hold the buffer, and would take the copy for a change of its value
                buffer.data.copy_(copies[id(buffer)])
