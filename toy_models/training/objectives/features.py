"""Sparse features, drawn anew for each batch (Elhage et al. 2022, Toy Models of Superposition)."""

import torch
from jaxtyping import Float
from torch import Tensor

from toy_models.shelf_data_config import FeaturesConfig
from toy_models.training.objectives.base import Examples, Objective, Source
from toy_models.training.seeds import generator_for


class SparseFeatures(Objective):
    """Giving back features x_i, of which few are not 0: mean over batch and features of I_i (output_i - x_i)².

    I_i = importance ** i. Held-out examples are drawn by `seed`, once.
    """

    def __init__(self, config: FeaturesConfig, seed: int = 0):
        self.config, self.n_train = config, None
        drawn = draw_features(config, config.n_held_out, generator_for(seed, "held-out"))
        self.held_out = Examples(drawn, drawn)
        self.importance = config.importance ** torch.arange(config.n_features)

    def source(self, batch_size: int, seed: int, device: torch.device) -> Source:
        return Drawn(self.config, batch_size, generator_for(seed, "data"), device)

    def loss(
        self, output: Float[Tensor, "batch feature"], targets: Float[Tensor, "batch feature"]
    ) -> Float[Tensor, ""]:
        return (self.importance.to(output.device) * (output - targets).square()).mean()

    def scores(
        self, output: Float[Tensor, "batch feature"], targets: Float[Tensor, "batch feature"]
    ) -> dict[str, Float[Tensor, " batch"]]:
        return {"loss": (self.importance.to(output.device) * (output - targets).square()).mean(1)}

    def chance(self) -> dict[str, float]:
        """Of the features' mean, (1 - sparsity) / 2 for each: nothing is known of the example."""
        targets = self.held_out.targets.double()
        error = (targets - (1 - self.config.sparsity) / 2).square()
        return {"loss": (self.importance.double() * error).mean().item()}


class Drawn:
    """Batches of features, each drawn anew."""

    def __init__(self, config: FeaturesConfig, size: int, generator: torch.Generator, device: torch.device):
        self.config, self.size, self.generator, self.device = config, size, generator, device

    def draw(self, step: int) -> Examples:
        x = draw_features(self.config, self.size, self.generator).to(self.device)
        return Examples(x, x)

    def state(self) -> dict[str, Tensor]:
        return {"data_generator": self.generator.get_state()}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.generator.set_state(state["data_generator"])


def draw_features(config: FeaturesConfig, n: int, generator: torch.Generator) -> Float[Tensor, "n feature"]:
    """n examples; each feature is 0 with probability `sparsity`, else uniform in [0, 1]."""
    values, present = torch.rand(2, n, config.n_features, generator=generator)
    return values * (present >= config.sparsity)
