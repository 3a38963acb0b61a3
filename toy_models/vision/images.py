"""What an image model may be given."""

from torch import Tensor

from toy_models.errors import InputError


def check_images(images: Tensor, channels: int, size: int) -> None:
    """`InputError` unless they are floating-point [batch channels size size] (NaN is looked for on the CPU only)."""
    wanted = f"[batch {channels} {size} {size}]"
    if images.ndim != 4 or tuple(images.shape[1:]) != (channels, size, size):
        raise InputError(f"images must be {wanted}, got {list(images.shape)}")
    if not images.is_floating_point():
        raise InputError(f"images must be floating-point numbers, got {images.dtype}: divide by the largest value")
    if images.device.type == "cpu" and bool(images.isnan().any()):
        raise InputError(f"{int(images.isnan().sum())} of {images.numel()} pixels are NaN")
