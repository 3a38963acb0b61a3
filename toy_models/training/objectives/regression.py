"""Giving numbers back: any targets, or the input itself."""

import torch
from jaxtyping import Float
from torch import Tensor

from toy_models.errors import InputError
from toy_models.training.objectives.base import Epochs, Examples, Objective, Source


class Regression(Objective):
    """Mean squared error over batch and numbers, (output - target)², with targets [n ...] in the output's shape.

    Raises `InputError` for NaN or infinite inputs or targets.
    """

    def __init__(self, train: Examples, held_out: Examples):
        for part, examples in (("training", train), ("held-out", held_out)):
            for what, tensor in (("inputs", examples.inputs), ("targets", examples.targets)):
                bad = int((~tensor.isfinite()).sum())
                if bad:
                    raise InputError(f"{bad} of {tensor.numel()} numbers of the {part} {what} are NaN or infinite")
        self.train, self.held_out = train, held_out
        self.n_train = len(train)

    def source(self, batch_size: int, seed: int, device: torch.device) -> Source:
        return Epochs(self.train.to(device), batch_size, seed)

    def loss(self, output: Float[Tensor, "batch *any"], targets: Float[Tensor, "batch *any"]) -> Float[Tensor, ""]:
        return (output - targets).square().mean()

    def scores(
        self, output: Float[Tensor, "batch *any"], targets: Float[Tensor, "batch *any"]
    ) -> dict[str, Float[Tensor, " batch"]]:
        return {"loss": (output - targets).square().flatten(1).mean(1)}

    def chance(self) -> dict[str, float]:
        """Of the training targets' mean."""
        mean = self.train.targets.double().mean(0)
        return {"loss": (self.held_out.targets.double() - mean).square().mean().item()}

    def examples(self, part: str) -> Examples:
        return self.train if part == "training" else super().examples(part)


class Reconstruction(Regression):
    """Giving back the input [n ...] itself, flattened to [n numbers]: what autoencoders are trained to do."""

    def __init__(self, train: Float[Tensor, "n *any"], held_out: Float[Tensor, "m *any"]):
        super().__init__(Examples(train, train.flatten(1)), Examples(held_out, held_out.flatten(1)))
