"""Attribution patching: exact where the model is linear, the derivative everywhere, and honest where it fails."""

import json

import numpy as np
import pytest
import torch

from interp.errors import InputError
from interp.hooks import intervene, record
from interp.patching import activation_patches, attribution_patches, kl_from, logit_difference, loss
from interp.patching.attribution import approximation_error
from tests.interp.patch_pairs import CLEAN, COPY, EVEN, QUERY, pair
from tests.reference_transformer import random_model, random_tokens
from toy_models.bridge import to_bridge
from toy_models.config import TransformerConfig

Z = "blocks.*.attn.hook_z"


def random_pair(seed=0, batch=4, **options):
    config = TransformerConfig(**({"d_model": 10, "n_heads": 3, "d_head": 4, "d_vocab": 9, "n_ctx": 8} | options))
    model, clean = random_model(config, seed), random_tokens(config, batch, 7, seed=1)
    corrupted = (clean + torch.tensor([0, 0, 3, 0, 1, 0, 2])) % 9
    right = clean[:, -1]
    return model, clean, corrupted, logit_difference(right, (right + 1) % 9)


@pytest.mark.parametrize("direction", ["denoising", "noising"])
@pytest.mark.parametrize(
    "names, by",
    [
        ("blocks.1.attn.hook_z", ("head", "pos")),
        ("blocks.1.hook_resid_post", ("pos",)),
        ("blocks.1.hook_v_input", ("head",)),
    ],
)
def test_where_logits_are_linear_in_the_value_the_approximation_is_exact(generator, names, by, direction):
    """Without normalisation the last layer's z, values and stream reach a logit difference linearly."""
    model, clean, corrupted, metric = random_pair()
    found = attribution_patches(model, clean, corrupted, metric, generator, names=names, by=by, direction=direction)
    exact = activation_patches(model, clean, corrupted, metric, generator, names=names, by=by, direction=direction)
    assert torch.allclose(found.approximate.effect.samples, exact.effect.samples, atol=1e-10)
    assert found.approximate.control is not None
    assert float(exact.effect.samples.abs().max()) > 0.1
    error = found.error
    assert error.correlation is not None
    assert (error.correlation.mean, error.correlation.low) == (pytest.approx(1), pytest.approx(1))
    assert abs(error.worst.mean) < 1e-10
    assert error.same_sign is None or error.same_sign.mean == 1
    assert error.largest == pytest.approx(float(exact.effect.raw.mean.abs().max()))


@pytest.mark.parametrize("metric_name", ["logit difference", "loss", "KL"])
@pytest.mark.parametrize(
    "options", [{"normalization": "LN", "d_mlp": 7}, {"positions": "rotary", "normalization": "RMS"}]
)
def test_it_is_the_derivative_along_the_way_from_base_to_other(generator, options, metric_name):
    """(metric(a + t (other - a)) - metric(a)) / t for a small t, patch by patch."""
    model, clean, corrupted, difference = random_pair(**options)
    with torch.no_grad():
        reference = kl_from(model(clean))
    scored = (torch.arange(7) > 2).repeat(4, 1)
    metric = {"logit difference": difference, "loss": loss(clean, scored), "KL": reference}[metric_name]
    names = ["blocks.0.attn.hook_z", "blocks.1.hook_k_input", "blocks.1.attn.hook_q"]
    found = attribution_patches(model, clean, corrupted, metric, generator, names=names, by="head", check=1)
    here, there = (record(model, tokens, names=names) for tokens in (corrupted, clean))
    step = 1e-5
    with torch.no_grad():
        for i, point in enumerate(found.approximate.labels["point"]):
            for head in range(3):

                def moved(size, point=point, head=head):
                    def edit(value):
                        value[:, :, head] += size * (there[point] - here[point])[:, :, head]
                        return value

                    with intervene(model, {point: edit}):
                        return metric(model(corrupted))

                slope = (moved(step) - moved(-step)) / (2 * step)
                samples = found.approximate.effect.samples[:, i, head]
                assert samples.tolist() == pytest.approx(slope.tolist(), rel=1e-4, abs=1e-7)


def test_the_control_is_the_attribution_of_another_sequences_values():
    model, clean, corrupted, metric = random_pair(normalization="LN")
    generator = torch.Generator().manual_seed(4)
    found = attribution_patches(model, clean, corrupted, metric, generator, names="blocks.1.hook_resid_post")
    exact = activation_patches(
        model, clean, corrupted, metric, torch.Generator().manual_seed(4), names="blocks.1.hook_resid_post"
    )
    assert found.approximate.control is not None
    assert exact.control is not None
    source = [
        next(
            k
            for k in range(4)
            if torch.allclose(exact.control.samples[b, 0], swapped(model, clean, corrupted, metric)[b, k])
        )
        for b in range(4)
    ]
    assert sorted(source) == [0, 1, 2, 3]
    assert all(k != b for b, k in enumerate(source))
    again = attribution_patches(
        model, clean[source], corrupted, metric, generator, names="blocks.1.hook_resid_post", control=False
    )
    expected = again.approximate.effect.samples[:, 0].tolist()
    assert found.approximate.control.samples[:, 0].tolist() == pytest.approx(expected)


def swapped(model, clean, corrupted, metric):
    """Patched minus base [b, k] where sequence b gets the whole stream of clean sequence k."""
    with torch.no_grad():
        logits, base = model(clean), metric(model(corrupted))
        return torch.stack([metric(logits[k].expand_as(logits)) - base for k in range(4)], dim=1)


def test_saturated_attention_hides_a_head_from_the_gradient_and_the_error_says_so(generator):
    """With exact attention nothing near the base moves the pattern: noising the previous-token head looks harmless."""
    of = pair("induction_k", COPY)
    found = attribution_patches(
        of.model, of.clean, of.corrupted, of.metric, generator, names=Z, by="head", direction="noising"
    )
    assert float(found.approximate.effect.raw.mean[0, 0].abs()) < 1e-6
    assert found.error.exact.mean(0).tolist() == pytest.approx([EVEN - CLEAN] * 2)
    assert found.error.worst.mean == pytest.approx(CLEAN - EVEN, abs=1e-6)
    assert found.error.worst_at == ("blocks.0.attn.hook_z", "0")
    assert found.error.largest == pytest.approx(CLEAN - EVEN)
    assert found.error.same_sign is not None
    assert (found.error.same_sign.mean, found.error.same_sign.n) == (0.5, 2)
    assert found.error.correlation is None  # of two cells
    assert found.error.text == "exact effects of all 2 cells"


def test_the_error_is_measured_on_a_stated_sample_where_there_are_many_cells(generator):
    model, clean, corrupted, metric = random_pair(normalization="LN")
    options = {"names": Z, "by": ("head", "pos")}
    exact = activation_patches(model, clean, corrupted, metric, generator, **options)
    found = attribution_patches(model, clean, corrupted, metric, generator, check=10, **options)
    error = found.error
    assert error.text == "exact effects of 10 of 42 cells at random"
    assert len(set(error.cells)) == 10
    at = [exact.index(*labels) for labels in error.cells]
    assert at == sorted(at)
    for i, cell in enumerate(at):
        assert error.exact[:, i].tolist() == pytest.approx(
            exact.effect.samples[(slice(None), *cell)].tolist(), abs=1e-12
        )
        approximate = found.approximate.effect.samples[(slice(None), *cell)]
        assert error.approximate[:, i].tolist() == approximate.tolist()
    other = attribution_patches(model, clean, corrupted, metric, torch.Generator().manual_seed(9), check=10, **options)
    assert other.error.cells != error.cells


def test_the_error_is_that_of_means_over_sequences(generator):
    exact = torch.randn(20, 30, generator=generator).double() + torch.randn(30, generator=generator).double()
    approximate = exact + 0.3 * torch.randn(20, 30, generator=generator).double()
    approximate[:, 7] -= 4
    cells = tuple((f"c{i}",) for i in range(30))
    found = approximation_error(cells, exact, approximate, generator, text="")
    x, y = exact.mean(0).numpy(), approximate.mean(0).numpy()
    assert found.correlation is not None
    assert found.correlation.mean == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-12)
    assert found.correlation.low < found.correlation.mean < found.correlation.high < 1
    assert approximation_error(cells[:2], exact[:, :2], approximate[:, :2], generator, text="").correlation is None
    assert found.worst_at == ("c7",)
    assert found.worst.mean == pytest.approx(y[7] - x[7])
    assert found.worst.low < -4 < found.worst.high + 0.2
    told = np.abs(x) > 2.2 * exact.numpy().std(0, ddof=1) / np.sqrt(20)
    assert found.same_sign is not None
    assert found.same_sign.n == pytest.approx(told.sum(), abs=3)
    assert found.same_sign.mean == pytest.approx(1 - (7 in np.flatnonzero(told) and x[7] > 0) / found.same_sign.n)


def test_cells_without_any_effect_have_no_correlation_and_no_sign(generator):
    cells = tuple((str(i),) for i in range(4))
    found = approximation_error(cells, torch.zeros(5, 4).double(), torch.zeros(5, 4).double(), generator, text="")
    assert (found.correlation, found.same_sign) == (None, None)
    assert (found.worst.mean, found.largest) == (0, 0)


def test_masked_scores_which_are_infinite_in_both_runs_count_for_nothing(generator):
    model, clean, corrupted, metric = random_pair()
    found = attribution_patches(
        model, clean, corrupted, metric, generator, names="*.hook_attn_scores", by=("head", "dest", "src")
    )
    future = torch.ones(7, 7).triu(1).bool()
    assert float(found.approximate.effect.samples[..., future].abs().max()) == 0
    assert float(found.approximate.effect.samples[..., ~future].abs().max()) > 0.01


def test_axes_come_in_the_order_that_was_asked_for(generator):
    model, clean, corrupted, metric = random_pair(normalization="LN")
    one, two = (
        attribution_patches(model, clean, corrupted, metric, generator, names=Z, by=by, check=1).approximate
        for by in (("head", "pos"), ("pos", "head"))
    )
    assert torch.equal(one.effect.samples, two.effect.samples.transpose(2, 3))
    whole = attribution_patches(model, clean, corrupted, metric, generator, names=Z).approximate
    assert torch.allclose(whole.effect.samples, one.effect.samples.sum((2, 3)), atol=1e-12)


def test_it_works_on_frozen_parameters_and_on_a_bridge_and_leaves_no_gradients():
    model, clean, corrupted, metric = random_pair(normalization="LN")

    def samples(of):
        found = attribution_patches(
            of, clean, corrupted, metric, torch.Generator().manual_seed(0), names=Z, by="head", batch_size=3
        )
        assert all(parameter.grad is None for parameter in of.parameters())
        return found.approximate.effect.samples

    expected = samples(model)
    assert torch.allclose(samples(to_bridge(model)), expected, atol=1e-9)
    model.requires_grad_(False)
    with torch.no_grad():
        assert torch.equal(samples(model), expected)
    assert not any(module._forward_hooks for module in model.modules())


def test_a_divergence_is_refused_from_the_base_run_and_taken_from_the_other(generator):
    model, clean, corrupted, _ = random_pair()
    with torch.no_grad():
        metric = kl_from(model(clean))
    with pytest.raises(InputError, match=r"from the run that is patched, and its gradient there is 0"):
        attribution_patches(model, clean, corrupted, metric, generator, names=Z, direction="noising")
    found = attribution_patches(model, clean, corrupted, metric, generator, names=Z, direction="denoising")
    assert float(found.approximate.effect.raw.mean.abs().max()) > 0.01


def test_what_cannot_be_meant_is_refused(generator):
    model, clean, corrupted, metric = random_pair()
    with pytest.raises(InputError, match="at least one cell, got check=0"):
        attribution_patches(model, clean, corrupted, metric, generator, names=Z, check=0)
    with torch.inference_mode(), pytest.raises(InputError, match=r"leave torch\.inference_mode\(\) first"):
        attribution_patches(model, clean, corrupted, metric, generator, names=Z)


def test_all_goes_to_json(generator):
    of = pair("induction_k", QUERY)
    found = attribution_patches(
        of.model, of.clean, of.corrupted, of.metric, generator, names=Z, by=["head", "pos"], check=5
    )
    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert written["error"]["text"] == "exact effects of 5 of 42 cells at random"
    assert written["error"]["n_cells"] == 5
    assert "to first order" in written["approximate"]["text"]
    assert written["approximate"]["effect"]["raw"]["mean"][1][0][QUERY] == pytest.approx(CLEAN - EVEN, abs=1e-6)
