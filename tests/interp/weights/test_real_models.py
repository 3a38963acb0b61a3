"""Weights of Hugging Face models behind TransformerLens bridges, against those models' own eager runs."""

import dataclasses

import pytest
import torch

from interp.circuits import copying_score
from interp.composition import composition_scores
from interp.errors import InputError
from interp.hooks import record
from interp.lens.by_depth import lens_logits, residual_points
from interp.names import Head, attn_out_name, k_name, pattern_name, q_name, resid_post_name, scores_name, v_name, z_name
from interp.weights import weights_of
from interp.weights.rotation import rotated
from tests.hugging_face import GROUPED, MODELS, hugging_face, tokens_for, wrapped
from tests.reference_transformer import logits_from, normalised

GROUPED_MODELS = [name for name, (_, sizes) in MODELS.items() if "num_key_value_heads" in sizes]


@pytest.fixture(scope="module")
def models():
    """Each model alone and its bridge, made once."""
    made = {name: hugging_face(name) for name in MODELS}
    return {name: (model, wrapped(model)) for name, model in made.items()}


def tolerance(name):
    """Hugging Face turns queries and keys in float32, and normalises in float32 in the Llama family."""
    return 1e-9 if name == "GPT-2" else 2e-5


def largest(difference):
    return float(difference.detach().abs().max())


@pytest.mark.parametrize("name", MODELS)
def test_the_view_alone_gives_the_models_own_logits(models, name):
    (model, bridge), tokens = models[name], tokens_for()
    logits = model(tokens).logits
    for fold in (True, False):
        w = weights_of(bridge, fold=fold)
        assert largest(logits_from(w, tokens) - logits) <= tolerance(name) * largest(logits)
        assert w.is_folded == fold


@pytest.mark.parametrize("name", ["GPT-2", "Llama"])
def test_the_view_in_float32_gives_the_models_own_logits(name):
    model, tokens = hugging_face(name, torch.float32), tokens_for()
    logits = model(tokens).logits
    assert largest(logits_from(weights_of(wrapped(model)), tokens) - logits) <= 1e-4 * largest(logits)


@pytest.mark.parametrize("name", MODELS)
def test_queries_keys_values_and_patterns_of_the_view_are_the_models(models, name):
    (model, bridge), tokens = models[name], tokens_for()
    points = [point(1) for point in (q_name, k_name, v_name, z_name, attn_out_name, pattern_name, scores_name)]
    run = record(bridge, tokens, names=points)
    hf = model(tokens, output_attentions=True, output_hidden_states=True)
    w = weights_of(bridge, fold=False)
    x = normalised(w, hf.hidden_states[1], w.ln1_w, w.ln1_b, 1)
    close = tolerance(name) * 10
    found = {}
    for letter, point in (("Q", q_name), ("K", k_name), ("V", v_name)):
        found[letter] = torch.einsum("bpm,hmd->bphd", x, getattr(w, f"W_{letter}")[1]) + getattr(w, f"b_{letter}")[1]
        seen = run[point(1)]
        assert largest(found[letter] - seen.repeat_interleave(4 // seen.shape[2], dim=2)) <= close
    q, k = (rotated(w, found[letter].transpose(1, 2)) for letter in ("Q", "K"))
    scores = (q @ k.mT / w.attn_scale).masked_fill(torch.ones(11, 11, dtype=torch.bool).triu(1), -torch.inf)
    seen = run[scores_name(1)]
    assert torch.equal(seen.isneginf(), scores.isneginf())
    assert largest((seen - scores)[seen.isfinite()]) <= close
    for pattern in (hf.attentions[1], run[pattern_name(1)]):
        assert largest(scores.softmax(-1) - pattern) <= close
    z = torch.einsum("bhij,bjhd->bihd", hf.attentions[1], found["V"])
    assert largest(z - run[z_name(1)]) <= close
    written = torch.einsum("bihd,hdm->bim", z, w.W_O[1]) + w.b_O[1]
    assert largest(written - run[attn_out_name(1)]) <= close


@pytest.mark.parametrize("name", ["Pythia", "Llama", "Llama 3"])
def test_rotated_scores_depend_on_the_distance_as_the_rotation_says(models, name):
    w = weights_of(models[name][1])
    q, k = torch.randn(2, 9, w.d_head, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    by_position = rotated(w, q) @ rotated(w, k).mT
    for dest, src in ((0, 0), (5, 5), (8, 1), (7, 6)):
        assert float(by_position[dest, src]) == pytest.approx(
            float(q[dest] @ w.rotation(dest - src) @ k[src]), abs=1e-9
        )
    turns = q[:1] @ w.rotation(3) - q[:1]
    assert int((turns.abs() > 1e-12).sum()) == w.rotary_dim == (4 if name == "Pythia" else 8)


@pytest.mark.parametrize("name", GROUPED_MODELS)
def test_heads_of_a_group_share_their_keys_and_values(models, name):
    bridge = models[name][1]
    w = weights_of(bridge)
    assert w.n_kv_heads == 2
    for W in (w.W_K, w.W_V, w.b_K, w.b_V):
        assert torch.equal(W[:, 0], W[:, 1])
        assert torch.equal(W[:, 2], W[:, 3])
        assert W.shape[1] == 4
    assert not torch.equal(w.W_K[:, 1], w.W_K[:, 2])
    assert record(bridge, tokens_for(), names=k_name(0))[k_name(0)].shape == (2, 11, 2, w.d_head)


def test_the_view_says_what_the_model_ties_and_where_its_context_ends(models):
    views = {name: weights_of(bridge) for name, (_, bridge) in models.items()}
    assert [name for name, w in views.items() if w.tied] == ["GPT-2", "Llama", "Gemma"]
    assert [name for name, w in views.items() if w.parallel] == ["Pythia"]
    assert [name for name, w in views.items() if w.n_ctx == 20] == ["Mistral"]
    assert all("W_U is therefore no longer W_E^T" in " ".join(views[name].folded) for name in ("GPT-2", "Llama"))
    assert "W_in, b_in, W_gate, b_gate" in " ".join(views["Llama"].folded)


def gained(model, layer):
    """The OV matrix of every head of a Llama layer, from its own state dict alone, gain before attention applied."""
    state, n = model.state_dict(), 4
    at = f"model.layers.{layer}."
    V = state[f"{at}self_attn.v_proj.weight"].unflatten(0, (2, -1)).repeat_interleave(2, dim=0)
    out = state[f"{at}self_attn.o_proj.weight"].unflatten(1, (n, -1)).transpose(0, 1)
    return torch.stack([state[f"{at}input_layernorm.weight"][:, None] * V[h].T @ out[h].T for h in range(n)])


def test_copying_scores_are_those_of_the_dense_table(models):
    model, bridge = models["Llama"]
    state = model.state_dict()
    E, gain = state["model.embed_tokens.weight"], state["model.norm.weight"]
    found = copying_score(weights_of(bridge), torch.Generator().manual_seed(0), draws=20).eigenvalue.value
    for layer in range(2):
        table = E @ gained(model, layer) @ (gain[:, None] * E.T)
        eigenvalues = torch.linalg.eigvals(table - table.mean(-1, keepdim=True))
        share = eigenvalues.sum(-1).real / eigenvalues.abs().sum(-1)
        assert torch.allclose(found[layer], share, atol=1e-7)
        assert float(share.abs().max()) > 0.05


def test_v_composition_is_that_of_the_dense_matrices(models):
    model, bridge = models["Llama"]
    early, late = gained(model, 0), gained(model, 1)
    found = composition_scores(weights_of(bridge), "V")
    for e in range(4):
        for later in range(4):
            dense = (early[e] @ late[later]).norm() / (early[e].norm() * late[later].norm())
            assert float(found[0, e, 1, later]) == pytest.approx(float(dense), abs=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_the_lens_finds_every_point_of_the_residual_stream(models, name):
    (model, bridge), tokens = models[name], tokens_for()
    w = weights_of(bridge, fold=False)
    points = residual_points(w)
    assert len(points) == 5 - w.parallel * 2 + (w.W_pos is not None)
    run = record(bridge, tokens, names=points)
    assert largest(lens_logits(w, run[points[-1]]) - model(tokens).logits) <= tolerance(name) * 100
    assert points[-1] == resid_post_name(1)


@pytest.mark.parametrize(
    "name, options, reason",
    [
        ("GPT-2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ("GPT-2", {"scale_attn_weights": False}, "scale_attn_weights"),
        ("Llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 500.0, "factor": 2.0}}, "dynamic"),
    ],
)
def test_options_that_weights_do_not_show_are_refused(name, options, reason):
    with pytest.raises(InputError, match=f"cannot be read: .*{reason}"):
        weights_of(wrapped(hugging_face(name, **options)))


def test_other_architectures_and_changed_bridges_are_refused(monkeypatch):
    monkeypatch.setitem(MODELS, "Qwen3", ("qwen3", GROUPED | {"head_dim": 8}))
    with pytest.raises(InputError, match="it wraps Qwen3ForCausalLM; those that are read wrap GPT2LMHeadModel"):
        weights_of(wrapped(hugging_face("Qwen3")))
    bridge = wrapped(hugging_face("Llama"))
    bridge.compatibility_mode = True
    with pytest.raises(InputError, match="changed by enable_compatibility_mode"):
        weights_of(bridge)


def test_weights_that_are_not_finite_are_refused_by_name():
    model = hugging_face("Llama")
    with torch.no_grad():
        model.model.layers[1].mlp.gate_proj.weight[0, 0] = float("nan")
    with pytest.raises(InputError, match=r"W_gate has 1 of 3072 values that are NaN"):
        weights_of(wrapped(model))


def test_the_view_of_a_bridge_does_not_move_when_the_model_is_trained():
    bridge = wrapped(hugging_face("Llama"))
    w = weights_of(bridge, fold=False)
    before = {name: tensor.clone() for name, tensor in w.tensors().items()}
    with torch.no_grad():
        for parameter in bridge.parameters():
            parameter.add_(1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in w.tensors().items())
    assert not any(tensor.requires_grad for tensor in w.tensors().values())
    w.check_head(Head(1, 3))
    with pytest.raises(dataclasses.FrozenInstanceError):
        w.tied = False  # type: ignore[misc]
