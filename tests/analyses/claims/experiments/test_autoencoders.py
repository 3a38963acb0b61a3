"""Autoencoders and their judge: PCA is the best linear map, arms start alike, estimators agree with a closed form."""

import pytest
import torch

from analyses.claims.experiments.autoencoders import (
    LATENT,
    PCA,
    features,
    make_coder,
    pixels_of,
    trained_judge,
    trained_vae,
)
from analyses.claims.experiments.digit_classifiers import TESTED
from analyses.claims.experiments.gradient_estimators import slope_and_value, two_estimators
from analyses.claims.experiments.latent_samples import distances
from toy_models.vae import VAE
from toy_models.vae_config import VAEConfig


def test_pca_leaves_the_variance_of_the_components_that_it_drops():
    pixels = torch.rand(50, 20, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.4
    pca = PCA(pixels)
    values = torch.linalg.svdvals(pixels - pixels.mean(0))
    left = (pca.images(pca.codes(pixels)) - pixels).square().sum()
    assert float(left) == pytest.approx(float(values[LATENT:].square().sum()), rel=1e-4)


def test_arms_of_a_seed_read_the_same_halves_and_start_from_the_same_encoder():
    assert len(pixels_of(3, "training")) == 1797 - TESTED
    assert len(pixels_of(3, "held-out")) == TESTED
    assert not torch.equal(pixels_of(3, "training"), pixels_of(4, "training"))
    one, other = (trained_vae(variational, 3, "cpu", 1e-9) for variational in (True, False))
    apart = (one.encoder[0].linear.weight - other.encoder[0].linear.weight).detach().abs().max()
    assert 0 < float(apart) < 0.01  # one update of Adam with rate .003


def test_a_strong_pull_to_the_prior_makes_codes_of_its_size():
    pixels, spread = pixels_of(0, "training"), {}
    for beta in (0.0, 3.0):
        spread[beta] = float(trained_vae(True, 0, "cpu", 0.2, beta).encode(pixels)[0].detach().std())
    assert spread[3.0] < 1.1 < 1.5 < spread[0.0]


def test_the_judge_reads_its_last_hidden_layer_and_real_digits_are_nearest_to_real_digits():
    judge, pixels = trained_judge(0, "cpu", 0.1), pixels_of(0, "held-out")
    found = features(judge, pixels)
    assert torch.allclose(found @ judge.classify.weight.T + judge.classify.bias, judge(pixels), atol=1e-4)
    row = distances(0, "cpu", 0.05, kind="pca")
    assert row["real"] < row["rebuilt"] < row["prior"]
    pca = make_coder("pca", 0, "cpu", 1.0)
    assert row["pixel error"] == pytest.approx(float((pca.images(pca.codes(pixels)) - pixels).square().mean()))


def test_slope_and_value_are_those_of_independent_pixels():
    model = VAE(VAEConfig(d_in=5, widths=(), d_latent=2), torch.Generator().manual_seed(0)).double().eval()
    x, latent = (
        torch.rand(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)),
        torch.zeros(4, 3, 2).double(),
    )
    slope, value = slope_and_value(model, x, latent)
    expected = (x - model.decode(latent[0]).sigmoid()) @ model.to_out.weight  # d/dz of the Bernoulli likelihood
    assert torch.allclose(slope, expected.expand(4, 3, 2))
    logits = model.decode(latent[0])
    assert torch.allclose(value[0], (x * logits - torch.nn.functional.softplus(logits)).sum(1))


def test_the_score_function_varies_more_and_less_so_with_a_baseline():
    row = two_estimators(0, "cpu", 0.1)
    assert row["reparameterised"] < row["score function with baseline"] < row["score function"]
    assert row["off"] < 4 < row["off, at the mean"]
