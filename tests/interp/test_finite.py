"""A model whose weights are finite and whose numbers are not: every measurement says so, none gives a number."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from interp.ablation import head_effects, set_effect
from interp.edges import edge_problem
from interp.errors import NotFinite
from interp.finite import require_finite
from interp.heads import measure_heads, next_token_push, score_heads
from interp.lens import logit_lens
from interp.names import Head
from interp.patching import activation_patches, logit_difference
from interp.paths import freeze
from interp.stats import bootstrap_interval, monte_carlo_p_value, null_summary, sign_flip_p_values, student_t_interval
from interp.weights import weights_of
from tests.overflowing import overflowing
from toy_models import handmade
from toy_models.transformer import Transformer


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


TOKENS = torch.tensor([[0, 1, 2, 3, 1, 2, 3], [0, 4, 5, 6, 4, 5, 6], [0, 7, 8, 9, 7, 8, 9]])
SCORED = torch.zeros_like(TOKENS, dtype=torch.bool).index_fill(1, torch.tensor([5, 6]), True)
METRIC = logit_difference(TOKENS[:, 2], TOKENS[:, 3], 4)
MEASURES: dict[str, Callable[[Transformer, Tensor], object]] = {
    "measure_heads": lambda m, t: measure_heads(m, seeded(), bos=0),
    "head_effects": lambda m, t: head_effects(m, t, SCORED, seeded()),
    "set_effect": lambda m, t: set_effect(m, [Head(1, 0)], t, SCORED, seeded()),
    "push": lambda m, t: next_token_push(m, weights_of(m), t, SCORED, seeded(), protocol="three sequences"),
    "freeze": freeze,
    "logit_lens": lambda m, t: logit_lens(m, t, seeded()),
    "edge_problem": lambda m, t: edge_problem(weights_of(m, fold=False), t, SCORED, corrupted=t.flip(1)),
    "activation_patches": lambda m, t: activation_patches(
        m, t, t.flip(1), METRIC, seeded(), names="blocks.*.attn.hook_z"
    ),
}


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("point", ["pattern", "logits"])
def test_a_measurement_of_a_model_that_overflows_says_that_its_numbers_are_not_finite(name, point):
    with pytest.raises(NotFinite, match=r"^not finite: \d+ of \d+ values of .* run it in a wider type"):
        MEASURES[name](overflowing(point), TOKENS)


def test_scores_name_the_layer_whose_pattern_is_not_finite():
    with pytest.raises(NotFinite, match=r"blocks\.1\.attn\.hook_pattern"):
        score_heads(overflowing("pattern"), TOKENS, seeded(), ["previous_token"])


def test_the_same_weights_in_a_wider_type_are_measured():
    model = overflowing("pattern").double()
    assert float(score_heads(model, TOKENS, seeded(), ["previous_token"])["previous_token"].score[0, 0]) > 0.9


def test_half_precision_overflows_at_65504_and_says_so():
    model = handmade.make("induction_k").model.half()
    with torch.no_grad():
        model.unembed.W_U.mul_(60000)
    with pytest.raises(NotFinite, match=r"float16 holds numbers up to 6\.55e\+04"):
        head_effects(model, TOKENS, SCORED, seeded())


def test_finite_numbers_pass_and_the_count_is_right():
    require_finite("x", torch.zeros(3))
    with pytest.raises(NotFinite, match="2 of 4 values of x"):
        require_finite("x", torch.tensor([1.0, float("nan"), float("-inf"), 0.0]))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_intervals_p_values_and_nulls_refuse_samples_that_are_not_finite(bad):
    samples = torch.tensor([0.0, 1.0, bad, 2.0])
    refused = (
        lambda: bootstrap_interval(samples, seeded()),
        lambda: student_t_interval(samples),
        lambda: null_summary(samples, "draws"),
        lambda: monte_carlo_p_value(0.5, samples),
        lambda: monte_carlo_p_value(bad, torch.zeros(3)),
        lambda: sign_flip_p_values(samples, seeded()),
    )
    for attempt in refused:
        with pytest.raises(ValueError, match="finite"):
            attempt()
