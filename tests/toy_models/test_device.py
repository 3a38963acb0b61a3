"""Devices by name, with and without a GPU."""

import pytest
import torch

from toy_models.device import find_device
from toy_models.errors import InputError


def with_gpus(monkeypatch, n: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n)


def test_auto_is_a_gpu_where_there_is_one(monkeypatch):
    with_gpus(monkeypatch, 0)
    assert find_device("auto") == torch.device("cpu")
    with_gpus(monkeypatch, 1)
    assert find_device("auto") == torch.device("cuda")


def test_a_gpu_that_is_there_is_found_by_number(monkeypatch):
    with_gpus(monkeypatch, 2)
    assert find_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(InputError, match="'cuda:2' was asked for, but there are 2 GPUs here"):
        find_device("cuda:2")


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    with_gpus(monkeypatch, 0)
    with pytest.raises(InputError, match="'cuda' was asked for, but PyTorch sees no GPU here; use auto or cpu"):
        find_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "meta", "cpu cuda"])
def test_other_devices_are_refused(name):
    with pytest.raises(InputError, match="use auto, cpu or cuda"):
        find_device(name)
