"""The models that read vectors, against their formulas written out."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F

from interp import intervene, record
from toy_models.autoencoder import DropoutAutoencoder
from toy_models.errors import InputError
from toy_models.layers import ACTIVATIONS
from toy_models.mlp import MLP, check_vectors
from toy_models.superposition import Superposition
from toy_models.vector_config import DropoutAutoencoderConfig, MLPConfig, SuperpositionConfig


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn_model(kind, config):
    model = kind(config, seeded()).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=seeded(1), dtype=torch.float64))
    return model.eval()


def vectors(n=4, size=6):
    return torch.randn(n, size, generator=seeded(2), dtype=torch.float64)


@pytest.mark.parametrize(("norm", "activation"), list(product(("none", "batch", "layer"), ACTIVATIONS)))
def test_an_mlp_computes_what_its_formula_says(norm, activation):
    model = drawn_model(MLP, MLPConfig(d_in=6, widths=(5, 4), d_out=3, norm=norm, activation=activation))
    x = vectors()
    for block in model.blocks:
        x = x @ block.linear.weight.T + block.linear.bias
        if norm == "batch":
            x = (x - block.norm.running_mean) / (block.norm.running_var + 1e-5).sqrt()
            x = x * block.norm.weight + block.norm.bias
        if norm == "layer":
            x = F.layer_norm(x, x.shape[1:], block.norm.weight, block.norm.bias)
        x = getattr(F, activation)(x) if activation != "identity" else x
    expected = x @ model.classify.weight.T + model.classify.bias
    assert torch.allclose(model(vectors()), expected, atol=1e-12)


def test_an_mlp_without_hidden_layers_is_linear():
    model = drawn_model(MLP, MLPConfig(d_in=6, widths=(), d_out=3))
    assert torch.equal(model(vectors()), F.linear(vectors(), model.classify.weight, model.classify.bias))


def test_an_mlp_reads_images_as_their_pixels():
    model = drawn_model(MLP, MLPConfig(d_in=6, widths=(5,)))
    assert torch.equal(model(vectors().view(4, 1, 2, 3)), model(vectors()))


def test_dropout_of_input_and_hidden_units_multiplies_by_its_masks():
    model = drawn_model(MLP, MLPConfig(d_in=6, widths=(5,), dropout=0.5, input_dropout=0.2)).train()
    run = record(model, vectors(), names="*")
    assert set(run["dropout.hook_mask"].unique().tolist()) <= {0.0, 1.25}
    before = vectors() * run["dropout.hook_mask"]
    assert torch.allclose(run["blocks.0.hook_pre"], F.linear(before, *model.blocks[0].linear.parameters()))
    after = run["blocks.0.hook_post"] * run["blocks.0.dropout.hook_mask"]
    assert torch.allclose(run["hook_logits"], F.linear(after, *model.classify.parameters()))


def test_an_autoencoder_computes_what_its_formula_says_and_masks_its_hidden_units():
    model = drawn_model(DropoutAutoencoder, DropoutAutoencoderConfig(d_in=6, d_hidden=9))
    hidden = F.linear(vectors(), *model.encode.parameters()).relu()
    assert torch.allclose(model(vectors()), F.linear(hidden, *model.decode.parameters()), atol=1e-12)
    run = record(model.train(), vectors(), names=["hook_post", "dropout.hook_mask", "hook_out"])
    assert torch.equal(run["hook_post"], hidden)
    masked = hidden * run["dropout.hook_mask"]
    assert torch.allclose(run["hook_out"], F.linear(masked, *model.decode.parameters()), atol=1e-12)


def test_superposition_reads_each_feature_along_the_direction_that_it_was_written_to():
    model = drawn_model(Superposition, SuperpositionConfig(n_features=6, d_hidden=2))
    W, b = model.W.detach(), model.b.detach()
    expected = torch.zeros(4, 6, dtype=torch.float64)
    for sample, x in enumerate(vectors()):
        for i in range(6):
            expected[sample, i] = max(0.0, float(sum(x[j] * (W[j] @ W[i]) for j in range(6)) + b[i]))
    assert torch.allclose(model(vectors()), expected, atol=1e-12)


def test_an_orthonormal_superposition_gives_positive_features_back():
    model = Superposition(SuperpositionConfig(n_features=4, d_hidden=4), seeded())
    with torch.no_grad():
        model.W.copy_(torch.linalg.qr(torch.randn(4, 4, generator=seeded(3))).Q)
    x = torch.rand(5, 4, generator=seeded())
    assert torch.allclose(model(x), x, atol=1e-6)
    with intervene(model, {"hook_hidden": lambda hidden: torch.zeros_like(hidden)}):
        assert torch.equal(model(x), torch.zeros(5, 4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLPConfig(d_in=0), "d_in must be at least 1, got 0"),
        (lambda: MLPConfig(widths=(4, 0)), r"widths must each be at least 1, got \(4, 0\)"),
        (lambda: MLPConfig(dropout=1.0), "dropout must be 0 or above and below 1, got 1.0"),
        (lambda: MLPConfig(input_dropout=-0.1), "input_dropout must be 0 or above"),
        (lambda: MLPConfig(init_scale=float("nan")), "init_scale must be 0 or above, got nan"),
        (lambda: DropoutAutoencoderConfig(d_hidden=0), "d_hidden must be at least 1, got 0"),
        (lambda: SuperpositionConfig(n_features=0), "n_features must be at least 1, got 0"),
    ],
)
def test_configs_that_cannot_work_say_why(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_input_that_does_not_fit_is_one_clear_line():
    with pytest.raises(InputError, match=r"input must be \[batch 6\], or flatten to it, got \[4, 7\]"):
        check_vectors(torch.zeros(4, 7), 6)
    with pytest.raises(InputError, match=r"input must be floating-point numbers, got torch\.int64"):
        check_vectors(torch.zeros(4, 6, dtype=torch.long), 6)
    with pytest.raises(InputError, match="4 of 24 numbers of the input are NaN"):
        check_vectors(torch.zeros(4, 6).index_fill(1, torch.tensor([2]), float("nan"))[:1].expand(4, 6), 6)
