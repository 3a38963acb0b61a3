"""`record` and `intervene` on TransformerLens: a bridge over its own model, and its hooked modules."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from interp.errors import InputError
from interp.hooks import ablate, intervene, record


@pytest.fixture(scope="module")
def lens():
    """TransformerLens, imported once: it takes seconds."""
    from transformer_lens import HookedRootModule
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.hook_points import HookPoint
    from transformer_lens.model_bridge import TransformerBridge

    return SimpleNamespace(
        Config=TransformerBridgeConfig, Bridge=TransformerBridge, HookPoint=HookPoint, Root=HookedRootModule
    )


@pytest.fixture(params=["standard", "rotary"])
def positions(request):
    return request.param


def make_bridge(lens, **options):
    config = {
        "d_model": 12, "d_head": 4, "n_layers": 2, "n_ctx": 10, "n_heads": 3, "d_vocab": 11, "d_mlp": 7,
        "act_fn": "gelu", "normalization_type": "LN", "seed": 0, "initializer_range": 0.5,
    }  # fmt: skip
    bridge = lens.Bridge.boot_native(lens.Config(**(config | options)))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in bridge.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return bridge.eval()


@pytest.fixture
def bridge(lens, positions):
    return make_bridge(lens, positional_embedding_type=positions)


@pytest.fixture
def tokens(generator):
    return torch.randint(0, 11, (2, 9), generator=generator)


def assert_no_hooks(bridge):
    assert not any(point.fwd_hooks or point._forward_hooks for point in bridge.hook_dict.values())
    assert not bridge._forward_hooks
    assert not bridge._forward_pre_hooks


def test_everything_recorded_equals_the_cache(bridge, tokens):
    logits, cache = bridge.run_with_cache(tokens)
    activations = record(bridge, tokens)
    assert set(activations) == set(cache)
    for name, value in cache.items():
        if not name.endswith("hook_attn_scores"):
            assert torch.equal(activations[name], value), name
    torch.testing.assert_close(activations.output, logits)
    assert "blocks.0.attn.hook_result" in activations.silent  # TransformerLens never fires it here
    assert_no_hooks(bridge)


def test_everything_recorded_equals_the_cache_in_compatibility_mode(lens, tokens):
    bridge = make_bridge(lens)
    bridge.enable_compatibility_mode()
    _, cache = bridge.run_with_cache(tokens)
    activations = record(bridge, tokens, names=["*hook_resid_*", "*hook_scale", "*hook_z"])
    assert len(activations) == 6 + 5 + 2
    assert all(torch.equal(value, cache[name]) for name, value in activations.items())


def test_documented_names_come_in_documented_shapes_with_named_axes(bridge, tokens):
    activations = record(bridge, tokens, names=["*hook_z", "*hook_pattern", "blocks.0.attn.q.hook_out"], positions=[4])
    assert activations["blocks.1.attn.hook_z"].shape == (2, 1, 3, 4)
    assert activations["blocks.1.attn.hook_pattern"].shape == (2, 3, 1, 9)
    assert activations.axes["blocks.1.attn.hook_pattern"] == ("batch", "head", "dest", "src")
    assert activations.axes["blocks.0.attn.q.hook_out"] == ("batch", "pos", "head", "d_head")


def test_scores_are_recomputed_from_queries_and_keys(bridge, tokens):
    activations = record(bridge, tokens)
    _, cache = bridge.run_with_cache(tokens)
    assert torch.equal(cache["blocks.1.attn.hook_attn_scores"], cache["blocks.1.attn.hook_pattern"])  # the trap
    for layer in range(2):
        scores = activations[f"blocks.{layer}.attn.hook_attn_scores"]
        torch.testing.assert_close(scores.softmax(-1), activations[f"blocks.{layer}.attn.hook_pattern"])
        assert bool((scores[:, :, torch.ones(9, 9, dtype=torch.bool).triu(1)] == -math.inf).all())


def test_recomputed_scores_of_standard_positions_are_the_formula(lens, tokens):
    bridge = make_bridge(lens)
    activations = record(bridge, tokens, names=["*hook_q", "*hook_k", "*hook_attn_scores"])
    q, k = activations["blocks.1.attn.hook_q"], activations["blocks.1.attn.hook_k"]
    scores = activations["blocks.1.attn.hook_attn_scores"]
    assert float(scores[1, 2, 5, 3]) == pytest.approx(float(q[1, 5, 2] @ k[1, 3, 2]) / 2, rel=1e-5)  # sqrt(4)
    assert list(record(bridge, tokens, names="*hook_attn_scores")) == [
        "blocks.0.attn.hook_attn_scores",
        "blocks.1.attn.hook_attn_scores",
    ]


@pytest.mark.parametrize("options", [{"n_key_value_heads": 1}, {"attn_scores_soft_cap": 2.0}], ids=str)
def test_recomputed_scores_know_grouped_queries_and_soft_caps(lens, tokens, options):
    activations = record(make_bridge(lens, **options), tokens)
    scores = activations["blocks.1.attn.hook_attn_scores"]
    torch.testing.assert_close(scores.softmax(-1), activations["blocks.1.attn.hook_pattern"])


def test_recomputed_scores_see_interventions_on_queries(lens, tokens):
    bridge = make_bridge(lens)
    with intervene(bridge, {"blocks.0.attn.hook_q": torch.zeros_like}):
        scores = record(bridge, tokens, names="*hook_attn_scores")["blocks.0.attn.hook_attn_scores"]
    assert bool((scores[scores > -math.inf] == 0).all())


def test_edits_of_scores_are_refused_because_they_would_do_nothing(bridge):
    with (
        pytest.raises(InputError, match="hook_attn_scores cannot be edited: TransformerLens fires it after"),
        intervene(bridge, {"blocks.0.attn.hook_attn_scores": torch.zeros_like}),
    ):
        pass


def test_interventions_in_documented_shapes_equal_run_with_hooks(bridge, tokens):
    def zero_head(value, hook=None):
        value = value.clone()
        value[:, :, 1] = 0.0
        return value

    for name in ("blocks.0.attn.hook_z", "blocks.1.attn.hook_v", "blocks.1.attn.v.hook_out"):
        expected = bridge.run_with_hooks(tokens, fwd_hooks=[(name, zero_head)])
        with intervene(bridge, {name: zero_head}):
            torch.testing.assert_close(bridge(tokens), expected)
        with intervene(bridge, {name: ablate(1)}):
            torch.testing.assert_close(bridge(tokens), expected)
    assert float((bridge(tokens) - expected).detach().abs().max()) > 1e-2
    assert_no_hooks(bridge)


def test_a_pattern_put_in_reweights_the_values(bridge, tokens):
    with intervene(bridge, {"blocks.0.attn.hook_pattern": torch.eye(9)}):
        activations = record(bridge, tokens, names=["blocks.0.attn.hook_v", "blocks.0.attn.hook_z"])
    torch.testing.assert_close(activations["blocks.0.attn.hook_z"], activations["blocks.0.attn.hook_v"])


def test_an_edited_scale_takes_effect(lens, tokens):
    for bridge in (make_bridge(lens), make_bridge(lens, normalization_type="LNPre")):
        with intervene(bridge, {"ln_final.hook_scale": lambda scale: scale * 2}):
            halved = record(bridge, tokens, names=["ln_final.hook_normalized"])["ln_final.hook_normalized"]
        torch.testing.assert_close(halved * 2, record(bridge, tokens)["ln_final.hook_normalized"])


def test_a_point_that_never_fires_is_an_error(bridge, tokens):
    with pytest.raises(InputError, match=r"nothing was recorded at 'blocks\.0\.attn\.hook_result'"):
        record(bridge, tokens, names="blocks.0.attn.hook_result")
    with (
        pytest.raises(InputError, match=r"no value passed 'blocks\.0\.attn\.hook_result'"),
        intervene(bridge, {"blocks.0.attn.hook_result": torch.zeros_like}),
    ):
        bridge(tokens)


def test_unknown_names_list_the_nearest(bridge, tokens):
    with pytest.raises(InputError, match=r"did you mean .*blocks\.1\.attn\.hook_z"):
        record(bridge, tokens, names="blocks.1.attn.hook_zz")


def test_hooks_go_away_after_an_exception_and_leave_those_of_the_caller(bridge, tokens):
    bridge.add_hook("hook_embed", lambda value, hook: value)
    with pytest.raises(ValueError, match="exceeds n_ctx"):
        record(bridge, torch.zeros(1, 20, dtype=torch.long))
    assert len(bridge.hook_dict["hook_embed"].fwd_hooks) == 1
    bridge.reset_hooks()
    assert_no_hooks(bridge)


def test_gradients_reach_recorded_values(bridge, tokens):
    activations = record(bridge, tokens, grad=True, names=["blocks.0.attn.hook_z", "blocks.1.hook_resid_pre"])
    gradients = torch.autograd.grad(activations.output[:, -1].sum(), list(activations.values()))
    assert all(float(gradient.abs().sum()) > 0 for gradient in gradients)


def test_a_foreign_pattern_in_the_place_of_scores_is_refused(lens, tokens):
    bridge = make_bridge(lens)
    for block in bridge.blocks:  # as if it were a model of somebody else
        block.attn.original_component.__class__ = type("TheirAttention", (type(block.attn.original_component),), {})
    with pytest.raises(InputError, match="holds the pattern after softmax, not the scores"):
        record(bridge, tokens, names="blocks.0.attn.hook_attn_scores")
    assert "blocks.0.attn.hook_attn_scores" in record(bridge, tokens).silent


def test_hooked_modules_of_transformer_lens_are_read_by_their_hook_points(lens):
    class Hooked(lens.Root):  # type: ignore[name-defined]
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 2)
            self.hook_mid = lens.HookPoint()
            self.setup()

        def forward(self, x):
            return self.hook_mid(self.linear(x)).relu()

    model, x = Hooked(), torch.ones(1, 2)
    assert list(record(model, x)) == ["hook_mid"]
    with intervene(model, {"hook_mid": torch.zeros_like}):
        assert not model(x).any()
