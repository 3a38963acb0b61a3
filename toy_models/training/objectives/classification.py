"""Telling classes of images apart."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from toy_models.errors import InputError
from toy_models.training.objectives.base import Epochs, Examples, Objective, Source
from toy_models.vision.data import LabelledImages
from toy_models.vision.images import check_labelled


class Classification(Objective):
    """Cross-entropy in nats, and accuracy, of logits [batch class] for labelled images.

    Raises `InputError` for NaN pixels, pixels outside [0, 1] (unless `any_range`: images that were whitened, say),
    labels that are no class, and training images of a single class.
    """

    def __init__(self, train: LabelledImages, held_out: LabelledImages, any_range: bool = False):
        for part, images in (("training", train), ("held-out", held_out)):
            check_labelled(images.images, images.labels, images.classes, part, any_range)
        present = train.labels.unique()
        if len(present) < 2:
            raise InputError(
                f"a classifier needs training images of at least 2 classes, but all {len(train)} are "
                f"{train.classes[int(present[0])]!r}"
            )
        self.classes = train.classes
        self.train, self.held_out = Examples(train.images, train.labels), Examples(held_out.images, held_out.labels)
        self.n_train = len(train)

    def source(self, batch_size: int, seed: int, device: torch.device) -> Source:
        return Epochs(self.train.to(device), batch_size, seed)

    def loss(self, output: Float[Tensor, "batch class"], targets: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        return F.cross_entropy(output, targets)

    def scores(
        self, output: Float[Tensor, "batch class"], targets: Int[Tensor, " batch"]
    ) -> dict[str, Float[Tensor, " batch"]]:
        right = (output.argmax(1) == targets).to(output.dtype)
        return {"loss": F.cross_entropy(output, targets, reduction="none"), "accuracy": right}

    def chance(self) -> dict[str, float]:
        """Of the classes' shares among training images, and of the commonest class."""
        counts = self.train.targets.bincount(minlength=len(self.classes)).double()
        loss = F.nll_loss((counts / counts.sum()).log()[None].expand(len(self.held_out), -1), self.held_out.targets)
        return {
            "loss": loss.item(),
            "accuracy": (self.held_out.targets == counts.argmax()).double().mean().item(),
        }

    def examples(self, part: str) -> Examples:
        return self.train if part == "training" else super().examples(part)
