"""An autoencoder with dropout on its hidden units: what Srivastava et al. 2014 (section 7) look at features with."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toy_models.hook_point import HookPoint
from toy_models.layers import ACTIVATIONS, Dropout, initialise
from toy_models.mlp import VECTOR, check_vectors
from toy_models.vector_config import DropoutAutoencoderConfig


class DropoutAutoencoder(nn.Module):
    """x -> hidden = activation(x W + b) -> dropout -> hidden W' + b', in the shape of x [batch d_in].

    Weights come from `generator`. Raises `InputError` for input of another size, NaN, or whole numbers.
    """

    def __init__(self, config: DropoutAutoencoderConfig, generator: torch.Generator | None = None):
        super().__init__()
        self.config = config
        self.encode = nn.Linear(config.d_in, config.d_hidden)
        self.hook_pre = HookPoint(VECTOR)
        self.activation = ACTIVATIONS[config.activation]
        self.hook_post = HookPoint(VECTOR)
        self.dropout = Dropout(config.dropout, VECTOR)
        self.decode = nn.Linear(config.d_hidden, config.d_in)
        self.hook_out = HookPoint("batch feature")
        initialise(self, config.activation, config.init_scale, generator, last=self.decode)

    def forward(self, x: Float[Tensor, "batch *any"]) -> Float[Tensor, "batch d_in"]:
        x = self.hook_pre(self.encode(check_vectors(x, self.config.d_in)))
        return self.hook_out(self.decode(self.dropout(self.hook_post(self.activation(x)))))
