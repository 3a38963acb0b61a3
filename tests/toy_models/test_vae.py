"""The variational autoencoder against its formulas written out, and against torch's distributions."""

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Bernoulli, Normal, kl_divergence

from interp import intervene, record
from interp.stats import gaussian_kl
from toy_models.errors import InputError
from toy_models.vae import VAE
from toy_models.vae_config import VAEConfig


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn_model(**config):
    model = VAE(VAEConfig(d_in=6, widths=(5, 4), d_latent=3, **config), seeded()).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=seeded(1), dtype=torch.float64))
    return model


def pixels(n=4):
    return torch.rand(n, 6, generator=seeded(2), dtype=torch.float64)


def linear(x, layer):
    return F.linear(x, layer.weight, layer.bias)


def hidden(x, blocks):
    for block in blocks:
        x = linear(x, block.linear).relu()
    return x


def test_in_evaluation_mode_the_mean_is_decoded():
    model = drawn_model().eval()
    mean = linear(hidden(pixels(), model.encoder), model.to_mean)
    expected = linear(hidden(mean, model.decoder), model.to_out)
    assert [block.linear.out_features for block in model.decoder] == [4, 5]
    assert torch.allclose(model(pixels()), expected, atol=1e-12)


def test_in_training_mode_the_latent_is_mean_plus_standard_deviation_times_noise_of_the_default_generator():
    model = drawn_model().train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        expected = torch.randn(4, 3, dtype=torch.float64)
        torch.manual_seed(3)
        run = record(model, pixels(), names="hook_*")
    assert torch.equal(run["hook_noise"], expected)
    assert torch.allclose(run["hook_latent"], run["hook_mean"] + (run["hook_log_var"] / 2).exp() * expected)
    assert torch.allclose(run["hook_out"], model.decode(run["hook_latent"]), atol=1e-12)


def test_terms_are_the_likelihood_of_the_pixels_and_the_kl_to_the_prior():
    model = drawn_model().eval()
    missed, kl = model.terms(pixels())
    mean, log_var = model.encode(pixels())
    likelihood = Bernoulli(logits=model(pixels()), validate_args=False).log_prob(pixels()).sum(1)
    std, zero, one = (log_var / 2).exp(), torch.zeros_like(mean), torch.ones_like(mean)
    assert torch.allclose(missed, -likelihood, atol=1e-12)
    assert torch.allclose(kl, kl_divergence(Normal(mean, std), Normal(0.0, 1.0)).sum(1), atol=1e-12)
    assert torch.allclose(kl, gaussian_kl(mean, std, zero, one), atol=1e-12)


def test_a_plain_autoencoder_draws_nothing_and_pays_nothing():
    model = drawn_model(variational=False).train()
    state = torch.get_rng_state()
    missed, kl = model.terms(pixels())
    assert torch.equal(torch.get_rng_state(), state)
    assert kl.tolist() == [0] * 4
    assert torch.equal(missed, F.binary_cross_entropy_with_logits(model(pixels()), pixels(), reduction="none").sum(1))
    assert "to_log_var.weight" not in dict(model.named_parameters())


def test_the_gradient_reaches_the_variance_through_the_noise():
    model = drawn_model().train()
    missed, _ = model.terms(pixels())
    missed.sum().backward()
    assert model.to_log_var.weight.grad.abs().sum() > 0
    still = drawn_model().train()
    with intervene(still, {"hook_noise": torch.zeros_like}):
        still.terms(pixels())[0].sum().backward()
    assert still.to_log_var.weight.grad.abs().sum() == 0


def test_without_hidden_layers_it_is_linear():
    model = VAE(VAEConfig(d_in=6, widths=(), d_latent=2), seeded()).double().eval()
    expected = linear(linear(pixels(), model.to_mean), model.to_out)
    assert torch.equal(model(pixels().view(4, 1, 2, 3)), expected)


def test_what_cannot_be_built_or_read_is_refused():
    with pytest.raises(InputError, match="d_latent must be at least 1, got 0"):
        VAEConfig(d_latent=0)
    with pytest.raises(InputError, match="widths must each be at least 1"):
        VAEConfig(widths=(0,))
    with pytest.raises(InputError, match=r"pixels must lie in \[0, 1\], got 0 to 2"):
        drawn_model().terms(torch.tensor([[0.0, 2.0, 0.5, 0.5, 0.5, 0.5]], dtype=torch.float64))
    with pytest.raises(InputError, match=r"\[batch 6\]"):
        drawn_model()(torch.zeros(2, 5))
