"""Images with labels: handwritten digits that come with scikit-learn, and folders of one's own."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from toy_models.errors import InputError

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images with pixels in [0, 1], and the number of each one's class."""

    images: Float[Tensor, "n channel y x"]
    labels: Int[Tensor, " n"]
    classes: tuple[str, ...]
    source: str

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> "LabelledImages":
        """Some of them, by number."""
        return replace(self, images=self.images[index], labels=self.labels[index])

    def upscaled(self, size: int) -> "LabelledImages":
        """The same images of size x size pixels, interpolated bilinearly."""
        if size < 1:
            raise InputError(f"images must have at least 1 pixel, got size {size}")
        images = F.interpolate(self.images, size=(size, size), mode="bilinear", align_corners=False)
        return replace(self, images=images)

    def split(self, share: float, generator: torch.Generator) -> tuple["LabelledImages", "LabelledImages"]:
        """(training, test) images: of each class `share`, at least one, for the test, drawn by `generator`.

        Raises `InputError` for a share outside (0, 1), or a class with a single image.
        """
        if not 0 < share < 1:
            raise InputError(f"the share of test images must lie between 0 and 1, got {share}")
        test = torch.zeros(len(self), dtype=torch.bool)
        for number, name in enumerate(self.classes):
            members = (self.labels == number).nonzero().flatten()
            if len(members) < 2:
                raise InputError(f"class {name!r} has {len(members)} images; a test needs at least 2 in every class")
            n = min(max(1, round(share * len(members))), len(members) - 1)
            test[members[torch.randperm(len(members), generator=generator)[:n]]] = True
        return self.take((~test).nonzero().flatten()), self.take(test.nonzero().flatten())

    def folds(self, k: int, generator: torch.Generator) -> Iterator[tuple["LabelledImages", "LabelledImages"]]:
        """k pairs (training, test) whose tests share no image and together are all, drawn by `generator`."""
        if not 2 <= k <= len(self):
            raise InputError(f"folds must number 2 to {len(self)}, one image each at least, got {k}")
        order = torch.randperm(len(self), generator=generator)
        for part in order.chunk(k):
            rest = torch.ones(len(self), dtype=torch.bool)
            rest[part] = False
            yield self.take(rest.nonzero().flatten()), self.take(part.sort().values)


def digits(size: int = 8) -> LabelledImages:
    """The 1,797 handwritten digits that come with scikit-learn (Alpaydin and Kaynak 1998), 8 x 8 grey pixels.

    With another size they are interpolated.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    images = torch.from_numpy(found.images / 16).float()[:, None]
    names = tuple(str(name) for name in found.target_names)
    made = LabelledImages(images, torch.from_numpy(found.target).long(), names, "scikit-learn's digits")
    return made if size == 8 else made.upscaled(size)


def image_folder(path: str | Path, size: int, channels: int = 1) -> LabelledImages:
    """Images of a folder with one sub-folder for each class, in grey (channels 1) or colour (3), size x size pixels.

    Raises `InputError` for a folder that is not there, fewer than two classes, a class without images, and a file that
    cannot be read, naming it.
    """
    path = Path(path)
    if channels not in (1, 3):
        raise InputError(f"channels must be 1 for grey images or 3 for colour, got {channels}")
    if size < 1:
        raise InputError(f"images must have at least 1 pixel, got size {size}")
    if not path.is_dir():
        raise InputError(f"{path} is no folder; give one with a sub-folder of images for each class")
    folders = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(folders) < 2:
        raise InputError(f"{path} has {len(folders)} sub-folders; one is needed for each of two classes or more")
    images, labels = [], []
    for number, folder in enumerate(folders):
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in ENDINGS)
        if not files:
            raise InputError(f"{folder} holds no images ({', '.join(ENDINGS)})")
        images += [_read(file, size, channels) for file in files]
        labels += [number] * len(files)
    return LabelledImages(torch.stack(images), torch.tensor(labels), tuple(f.name for f in folders), str(path))


def _read(file: Path, size: int, channels: int) -> Float[Tensor, "channel size size"]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            resized = image.convert("L" if channels == 1 else "RGB").resize((size, size), Image.Resampling.BILINEAR)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(f"{file} cannot be read as an image: {error}") from error
    pixels = torch.from_numpy(np.asarray(resized, dtype=np.float32) / 255)
    return pixels[None] if channels == 1 else pixels.permute(2, 0, 1)
