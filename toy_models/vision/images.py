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


def check_labelled(images: Tensor, labels: Tensor, classes: tuple[str, ...], part: str, any_range: bool) -> None:
    """`InputError` unless the images, called the `part` images, can be told apart by a classifier.

    They must be floating-point [n channel y x] without NaN, in [0, 1] unless `any_range`, with a label each that is
    the number of a class.
    """
    if images.ndim != 4 or not len(images):
        raise InputError(f"{part} images must be [n channel y x], at least one of them, got {list(images.shape)}")
    if not images.is_floating_point():
        raise InputError(
            f"{part} images must be floating-point numbers, got {images.dtype}: divide by the largest value"
        )
    bad = int((~images.isfinite()).sum())
    if bad:
        raise InputError(f"{bad} of {images.numel()} pixels of the {part} images are NaN or infinite")
    low, high = images.min().item(), images.max().item()
    if not any_range and (low < 0 or high > 1):
        raise InputError(
            f"pixels must lie in [0, 1], those of the {part} images lie in [{low:g}, {high:g}]; rescale them"
        )
    if labels.shape != images.shape[:1]:
        raise InputError(f"{len(images)} {part} images need a label each, got {list(labels.shape)}")
    if int(labels.min()) < 0 or int(labels.max()) >= len(classes):
        raise InputError(f"labels must be 0 to {len(classes) - 1}, got {int(labels.min())} to {int(labels.max())}")
