"""A variational autoencoder of vectors, read top to bottom (Kingma and Welling 2014, arXiv:1312.6114).

Names are those of the shelf, `encoder.{l}.hook_pre`, `decoder.{l}.hook_post` and so on; beside them `hook_mean`,
`hook_log_var`, `hook_noise` and `hook_latent`, and `hook_out`: the logits of the pixels.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from toy_models.errors import InputError
from toy_models.hook_point import HookPoint
from toy_models.layers import initialise
from toy_models.mlp import VECTOR, Block, check_vectors
from toy_models.vae_config import VAEConfig
from toy_models.vector_config import MLPConfig


class VAE(nn.Module):
    """x -> N(mean, exp(log_var)) -> latent = mean + exp(log_var / 2) noise -> logits of x [batch d_in].

    In training mode the noise is standard normal, drawn from torch's default generator on the CPU and moved, so that it
    is the same on every device; in evaluation mode, and in a plain autoencoder, the latent is the mean. Weights come
    from `generator`. Raises `InputError` for input of another size, NaN, or whole numbers.
    """

    def __init__(self, config: VAEConfig, generator: torch.Generator | None = None):
        super().__init__()
        self.config = config
        layers = MLPConfig(activation=config.activation)
        down, up = (config.d_in, *config.widths), (config.d_latent, *reversed(config.widths))
        self.encoder = nn.ModuleList(Block(layers, *shape) for shape in pairwise(down))
        self.to_mean = nn.Linear(down[-1], config.d_latent)
        self.hook_mean = HookPoint(VECTOR)
        if config.variational:
            self.to_log_var = nn.Linear(down[-1], config.d_latent)
            self.hook_log_var, self.hook_noise = HookPoint(VECTOR), HookPoint(VECTOR)
        self.hook_latent = HookPoint(VECTOR)
        self.decoder = nn.ModuleList(Block(layers, *shape) for shape in pairwise(up))
        self.to_out = nn.Linear(up[-1], config.d_in)
        self.hook_out = HookPoint("batch feature")
        initialise(self, config.activation, config.init_scale, generator, last=self.to_out)

    def forward(self, x: Float[Tensor, "batch *any"]) -> Float[Tensor, "batch d_in"]:
        return self.decode(self.sample(*self.encode(x)))

    def encode(
        self, x: Float[Tensor, "batch *any"]
    ) -> tuple[Float[Tensor, "batch d_latent"], Float[Tensor, "batch d_latent"] | None]:
        """(mean, log_var) of the latent units; no variance in a plain autoencoder."""
        x = check_vectors(x, self.config.d_in)
        for block in self.encoder:
            x = block(x)
        mean = self.hook_mean(self.to_mean(x))
        return mean, self.hook_log_var(self.to_log_var(x)) if self.config.variational else None

    def sample(
        self, mean: Float[Tensor, "batch d_latent"], log_var: Float[Tensor, "batch d_latent"] | None
    ) -> Float[Tensor, "batch d_latent"]:
        """The latent: drawn in training mode, else the mean."""
        if log_var is not None and self.training:
            noise = self.hook_noise(torch.randn(mean.shape, dtype=mean.dtype).to(mean.device))
            mean = mean + (log_var / 2).exp() * noise
        return self.hook_latent(mean)

    def decode(self, latent: Float[Tensor, "batch d_latent"]) -> Float[Tensor, "batch d_in"]:
        """Logits of the pixels; their sigmoid is the image."""
        x = latent
        for block in self.decoder:
            x = block(x)
        return self.hook_out(self.to_out(x))

    def terms(self, x: Float[Tensor, "batch *any"]) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """(- log p(x | latent), KL(N(mean, exp(log_var)) || N(0, 1))) of each x, in nats; their sum bounds - log p(x).

        Pixels are taken for probabilities of a Bernoulli variable each. The KL is 0 in a plain autoencoder. Raises
        `InputError` for pixels outside [0, 1].
        """
        pixels = check_vectors(x, self.config.d_in)
        if x.device.type == "cpu" and not bool(((pixels >= 0) & (pixels <= 1)).all()):
            raise InputError(f"pixels must lie in [0, 1], got {float(pixels.min()):g} to {float(pixels.max()):g}")
        mean, log_var = self.encode(x)
        logits = self.decode(self.sample(mean, log_var))
        missed = F.binary_cross_entropy_with_logits(logits, pixels, reduction="none").sum(1)
        if log_var is None:
            return missed, torch.zeros_like(missed)
        return missed, (log_var.exp() + mean.square() - 1 - log_var).sum(1) / 2
