"""Variational and plain autoencoders of digits, PCA beside them, and a judge of what they make."""

from typing import Literal

import torch
from torch import Tensor

from analyses.claims.experiments.digit_classifiers import fit, halves, new_mlp
from interp import record
from toy_models.mlp import MLP
from toy_models.shelf_config import ShelfTrainConfig
from toy_models.training.seeds import generator_for
from toy_models.vae import VAE
from toy_models.vae_config import VAEConfig

LATENT = 8
EPOCHS, BATCH, RATE = 60, 64, 3e-3
JUDGE_STEPS = 600
FEATURES = "blocks.1.hook_post"

Coder = Literal["vae", "autoencoder", "pca"]


class PCA:
    """The first principal components, spoken to like an autoencoder: a linear map to codes, and back to pixels."""

    def __init__(self, pixels: Tensor):
        self.centre = pixels.mean(0)
        self.axes = torch.linalg.svd(pixels - self.centre, full_matrices=False).Vh[:LATENT].T

    def codes(self, pixels: Tensor) -> Tensor:
        return (pixels - self.centre) @ self.axes

    def images(self, codes: Tensor) -> Tensor:
        return (codes @ self.axes.T + self.centre).clamp(0, 1)


class Trained:
    """An autoencoder in evaluation mode: pixels to the means of codes, and codes to pixels."""

    def __init__(self, model: VAE):
        self.model = model.eval()

    @torch.no_grad()
    def codes(self, pixels: Tensor) -> Tensor:
        return self.model.encode(pixels)[0]

    @torch.no_grad()
    def images(self, codes: Tensor) -> Tensor:
        return self.model.decode(codes).sigmoid()


def make_coder(kind: Coder, seed: int, device: str, budget: float, beta: float = 1.0) -> PCA | Trained:
    """Fitted to the training half of the digits."""
    pixels = pixels_of(seed, "training")
    return PCA(pixels) if kind == "pca" else Trained(trained_vae(kind == "vae", seed, device, budget, beta))


def trained_vae(variational: bool, seed: int, device: str, budget: float, beta: float = 1.0) -> VAE:
    """Adam on - log p(x | latent) + beta KL, all with the same weights at first and the same order of the data."""
    config = VAEConfig(d_latent=LATENT, variational=variational)
    model = VAE(config, generator_for(seed, "weights")).to(device).train()
    pixels = pixels_of(seed, "training").to(device)
    optimizer, order = torch.optim.Adam(model.parameters(), lr=RATE), generator_for(seed, "order")
    steps = max(1, round(EPOCHS * budget * len(pixels) / BATCH))
    for _ in range(steps):
        index = torch.randint(len(pixels), (BATCH,), generator=order).to(device)
        missed, kl = model.terms(pixels[index])
        optimizer.zero_grad()
        (missed + beta * kl).mean().backward()
        optimizer.step()
    return model.cpu()


def pixels_of(seed: int, part: str) -> Tensor:
    """[n 64]: of the "training" or the "held-out" half of the digits."""
    return halves(seed).examples(part).inputs.flatten(1)


def trained_judge(seed: int, device: str, budget: float) -> MLP:
    """A classifier of the training half, whose last hidden layer tells how digits are alike."""
    judge = new_mlp(seed, widths=(64, 32))
    fit(judge, halves(seed), seed, device, ShelfTrainConfig(steps=max(1, round(JUDGE_STEPS * budget))))
    return judge.cpu()


def features(judge: MLP, pixels: Tensor) -> Tensor:
    """[n 32]: the judge's last hidden layer."""
    return record(judge, pixels, names=FEATURES)[FEATURES]
