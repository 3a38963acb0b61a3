"""Inputs of single heads behind bridges: against transformers' own attention, and against models that split inputs."""

import dataclasses

import pytest
import torch

from interp.ablation.head_inputs import (
    chained,
    check_computed_anew,
    has_split_inputs,
    head_input_edits,
    head_pattern,
    window_of,
)
from interp.errors import InputError
from interp.hooks import intervene, record
from interp.names import Head, k_name, pattern_name, q_name, resid_pre_name, v_name, z_name
from interp.weights import weights_of
from tests.hugging_face import MODELS, hugging_face, tokens_for, wrapped
from tests.input_twin import run_changed, ungrouped
from tests.reference_transformer import random_model, random_tokens
from toy_models.bridge import to_bridge
from toy_models.config import TransformerConfig

BATCH, POS, HEAD = 3, 30, Head(1, 2)
"""Longer than the sliding window of the Mistral here."""


@pytest.fixture(scope="module")
def models():
    made = {name: hugging_face(name) for name in MODELS}
    return {name: (ungrouped(model), wrapped(model)) for name, model in made.items()}


def close(a, b, tolerance=3e-6):
    return float((a - b).detach().abs().max()) <= tolerance * float(b.detach().abs().max())


def drawn(channels, d_model=32, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return {c: torch.randn(BATCH, POS, d_model, generator=generator, dtype=torch.float64) for c in channels}


def changed_run(bridge, w, tokens, changes):
    """Logits with the changes [batch pos d_model] of inputs by head and channel."""
    edits = {at: [(slice(None), lambda value=value: value)] for at, value in changes.items()}
    with torch.no_grad(), intervene(bridge, head_input_edits(bridge, w, edits)):
        return bridge(tokens)


@pytest.mark.parametrize("channels", ["Q", "K", "V", "QK", "QKV"])
@pytest.mark.parametrize("name", MODELS)
def test_changed_inputs_of_a_head_give_the_logits_of_transformers_own_attention(models, name, channels):
    (twin, bridge), tokens, changes = models[name], tokens_for(BATCH, POS), drawn(channels)
    w = weights_of(bridge, fold=False)
    found = changed_run(bridge, w, tokens, {(HEAD, c): value for c, value in changes.items()})
    asked = {f"{HEAD}.{c}": lambda written, c=c: changes[c] for c in channels}
    expected, _ = run_changed(twin, tokens, asked)
    assert close(found, expected, 1e-12 if name == "GPT-2" else 3e-6)  # the others turn and normalise in float32
    assert not close(found, run_changed(twin, tokens, {})[0], 1e-2)


def test_a_sliding_window_hides_what_is_too_far_back(models):
    _, bridge = models["Mistral"]
    assert [window_of(bridge, layer) for layer in range(2)] == [20, 20]
    seen = record(bridge, tokens_for(BATCH, POS), names=[resid_pre_name(1), pattern_name(1)])
    x = seen[resid_pre_name(1)]
    w = weights_of(bridge, fold=False)
    found = head_pattern(w, HEAD, x, x, 20)
    assert float(found[:, 25, :6].max()) == 0.0 < float(found[:, 25, 6].min())
    assert close(found, seen[pattern_name(1)][:, HEAD.index], 1e-5)
    assert not close(head_pattern(w, HEAD, x, x), found, 1e-2)
    assert window_of(models["Llama"][1], 0) is None
    assert window_of(models["Qwen2"][1], 0) is None


def test_other_heads_keep_the_keys_and_values_that_they_share(models):
    """L1H2 and L1H3 have the same keys and values: changing the first one's leaves the second one's pattern and z."""
    _, bridge = models["Llama"]
    tokens, w = tokens_for(BATCH, POS), weights_of(bridge, fold=False)
    changes = {(HEAD, c): [(slice(None), lambda value=value: value)] for c, value in drawn("KV").items()}
    names = [q_name(1), k_name(1), v_name(1), pattern_name(1), z_name(1)]
    before = record(bridge, tokens, names=names)
    with intervene(bridge, head_input_edits(bridge, w, changes)):
        after = record(bridge, tokens, names=names)
    assert all(torch.equal(after[point(1)], before[point(1)]) for point in (q_name, k_name, v_name))
    others = [0, 1, 3]
    assert torch.equal(after[pattern_name(1)][:, others], before[pattern_name(1)][:, others])
    assert torch.equal(after[z_name(1)][:, :, others], before[z_name(1)][:, :, others])
    assert not close(after[pattern_name(1)][:, 2], before[pattern_name(1)][:, 2], 1e-2)
    assert not close(after[z_name(1)][:, :, 2], before[z_name(1)][:, :, 2], 1e-2)


def test_sequences_are_changed_one_by_one_and_changes_of_one_input_add_up(models):
    _, bridge = models["Llama"]
    tokens, w, delta = tokens_for(BATCH, POS), weights_of(bridge, fold=False), drawn("QKV")
    parts = {
        (HEAD, "Q"): [(slice(0, 1), lambda: delta["Q"][:1])],
        (HEAD, "K"): [(slice(1, 2), lambda: delta["K"][1:2] / 4), (slice(0, 2), lambda: delta["K"][:2])],
        (HEAD, "V"): [(slice(2, 3), lambda: delta["V"][2:])],
    }
    with torch.no_grad(), intervene(bridge, head_input_edits(bridge, w, parts)):
        found = bridge(tokens)
    alone = [
        {(HEAD, "Q"): delta["Q"], (HEAD, "K"): delta["K"]},
        {(HEAD, "K"): delta["K"] * 1.25},
        {(HEAD, "V"): delta["V"]},
    ]
    expected = torch.cat([changed_run(bridge, w, tokens, each)[i : i + 1] for i, each in enumerate(alone)])
    assert close(found, expected, 1e-12)


CONFIGS = [
    {"normalization": "LN", "d_mlp": 7},
    {"positions": "rotary", "normalization": "RMS"},
    {"normalization": "none", "biases": False},
    {"normalization": "LNPre"},
]


@pytest.mark.parametrize("options", CONFIGS)
def test_a_bridge_gives_what_the_same_model_gives_with_its_inputs_split(options):
    config = TransformerConfig(**({"d_model": 8, "n_heads": 3, "d_head": 4, "d_vocab": 9, "n_ctx": POS} | options))
    model = random_model(config)
    bridge, tokens, w = to_bridge(model), random_tokens(config, BATCH, POS), weights_of(model, fold=False)
    assert (has_split_inputs(model), has_split_inputs(bridge)) == (True, False)
    changes = {(HEAD, c): value for c, value in drawn("QKV", 8).items()} | {(Head(0, 1), "K"): drawn("K", 8, 5)["K"]}
    found, expected = (changed_run(each, w, tokens, changes) for each in (bridge, model))
    assert close(found, expected, 1e-5)
    assert not close(found, model(tokens), 1e-2)


def test_in_half_precision_a_change_adds_no_more_error_than_the_run_itself_has():
    exact, half = hugging_face("Llama", torch.float32), hugging_face("Llama", torch.bfloat16)
    half.load_state_dict(exact.state_dict())
    plain, changed = [], []
    tokens, deltas = tokens_for(BATCH, POS), {(HEAD, c): value.bfloat16() for c, value in drawn("QKV").items()}
    for model in (exact, half):
        bridge = wrapped(model)
        w = weights_of(bridge, fold=False)
        check_computed_anew(bridge, w, tokens)
        plain.append(bridge(tokens).detach().float())
        changed.append(changed_run(bridge, w, tokens, {at: x.to(w.dtype) for at, x in deltas.items()}).float())
    error, alone = (float((half - exact).norm()) for exact, half in (changed, plain))
    assert 0 < error < 1.5 * alone
    assert float((changed[0] - plain[0]).norm()) > 3 * alone


def test_gradients_flow_through_a_changed_input(models):
    """The derivative along a change of K is the slope of the logits."""
    _, bridge = models["Llama"]
    tokens, w, delta = tokens_for(BATCH, POS), weights_of(bridge, fold=False), drawn("KV")
    size = torch.zeros((), dtype=torch.float64, requires_grad=True)
    edits = {(HEAD, c): [(slice(None), lambda c=c: size * delta[c])] for c in "KV"}
    with intervene(bridge, head_input_edits(bridge, w, edits)):
        (slope,) = torch.autograd.grad(bridge(tokens)[0, -1, 7], size)
    step = 1e-3
    low, high = (
        changed_run(bridge, w, tokens, {(HEAD, c): sign * step * delta[c] for c in "KV"})[0, -1, 7] for sign in (-1, 1)
    )
    assert float(slope) == pytest.approx(float(high - low) / (2 * step), rel=1e-2)
    assert abs(float(slope)) > 1e-3


def test_a_head_that_writes_nothing_is_no_reason_to_refuse():
    model = hugging_face("Qwen2")
    with torch.no_grad():
        for parameter in model.model.layers[1].self_attn.v_proj.parameters():
            parameter.zero_()
    bridge = wrapped(model)
    check_computed_anew(bridge, weights_of(bridge, fold=False), tokens_for())


def test_edits_of_one_point_follow_each_other():
    added = chained({"a": lambda x: x + 1, "b": lambda x: x}, {"a": lambda x: 2 * x}, {"a": lambda x: x - 3})
    assert (added["a"](torch.tensor(5)), added["b"](torch.tensor(5))) == (9, 5)


@pytest.mark.parametrize("change", [{"attn_scale": 1.0}, {"rotary_pairs": "adjacent"}, {"b_V": 1.0}])
def test_attention_that_the_weights_do_not_show_is_refused_in_one_line(models, change):
    _, bridge = models["Llama"]
    tokens, w = tokens_for(), weights_of(bridge, fold=False)
    change = {name: w.b_V + value if name == "b_V" else value for name, value in change.items()}
    check_computed_anew(bridge, w, tokens)
    with pytest.raises(InputError, match=r"for this TransformerBridge that is [\d.]+ off in layer 0 \(at most 0.005\)"):
        check_computed_anew(bridge, dataclasses.replace(w, **change), tokens)
    check_computed_anew(bridge, dataclasses.replace(w, **change), tokens, layers=[])
    assert not any(m._forward_hooks for m in bridge.modules() if type(m).__name__ == "HookPoint" and m.fwd_hooks)
