"""The transformer against its formulas, written out in plain loops over numpy arrays in float64."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from toy_models.config import TransformerConfig
from toy_models.errors import InputError
from toy_models.hook_point import HookPoint
from toy_models.transformer import Transformer

POSITIONS = ("shortformer", "standard", "rotary", "none")
NORMALIZATIONS = ("none", "LN", "LNPre", "RMS", "RMSPre")
KINDS = list(itertools.product(POSITIONS, NORMALIZATIONS, (False, True)))
SMALL: dict[str, Any] = {
    "n_layers": 2,
    "n_heads": 3,
    "d_model": 8,
    "d_head": 4,
    "d_vocab": 11,
    "n_ctx": 7,
    "normalization": "LN",
}


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def random_model(generator, **options):
    """Every parameter drawn at random, so that none hides behind its initial value."""
    model = Transformer(TransformerConfig(**(SMALL | options)), generator)
    with torch.no_grad():
        for tensor in model.trained_tensors().values():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.7)
    return model


def some_tokens(generator, batch=2, pos=7):
    return torch.randint(0, SMALL["d_vocab"], (batch, pos), generator=generator)


def watch(model, *endings):
    """Put hooks that do nothing on the points with these endings (all, if none); returns what removes them."""
    handles = [
        module.register_forward_hook(lambda *_: None)
        for name, module in model.named_modules()
        if isinstance(module, HookPoint) and name.endswith(endings or ("",))
    ]

    def stop():
        for handle in handles:
            handle.remove()

    return stop


def seen_at(model, tokens, *names):
    values = {}
    handles = [
        model.get_submodule(name).register_forward_hook(lambda m, a, value, name=name: values.update({name: value}))
        for name in names
    ]
    model(tokens)
    for handle in handles:
        handle.remove()
    return [values[name] for name in names]


# --- the slow twin ---------------------------------------------------------------------------------------------------


def slow_logits(model, tokens):
    config = model.config
    weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    return np.stack([slow_sequence(config, weights, [int(t) for t in sequence]) for sequence in tokens])


def slow_sequence(config, weights, tokens):
    table = weights.get("pos_embed.W_pos")
    x = [weights["embed.W_E"][t].copy() for t in tokens]
    if config.positions == "standard":
        x = [row + table[i] for i, row in enumerate(x)]
    for layer in range(config.n_layers):
        x = slow_layer(config, weights, f"blocks.{layer}", x, table)
    W_U = weights["embed.W_E"].T if config.tied_embeddings else weights["unembed.W_U"]
    logits = [slow_norm(config, weights, "ln_final", row) @ W_U for row in x]
    return np.stack([row + weights.get("unembed.b_U", 0.0) for row in logits])


def slow_layer(config, weights, block, x, table):
    attn = f"{block}.attn"
    normed = [slow_norm(config, weights, f"{block}.ln1", row) for row in x]
    placed = [row + table[i] for i, row in enumerate(normed)] if config.positions == "shortformer" else normed
    after = [row + weights.get(f"{attn}.b_O", 0.0) for row in x]
    for h in range(config.n_heads):

        def read(rows, letter, h=h):
            bias = weights[f"{attn}.b_{letter}"][h] if config.biases else 0.0
            return [row @ weights[f"{attn}.W_{letter}"][h] + bias for row in rows]

        q, k, v = read(placed, "Q"), read(placed, "K"), read(normed, "V")
        if config.smeared_keys:
            share = 1 / (1 + math.exp(-weights[f"{attn}.smear"][h]))
            k = [k[0]] + [share * k[j] + (1 - share) * k[j - 1] for j in range(1, len(k))]
        if config.positions == "rotary":
            q, k = ([slow_turn(row, i, config.rotary_base) for i, row in enumerate(rows)] for rows in (q, k))
        for i in range(len(x)):
            seen = range(i + 1 if config.attention_dir == "causal" else len(x))
            powers = [math.exp(float(q[i] @ k[j]) / math.sqrt(config.d_head)) for j in seen]
            z = sum(power / sum(powers) * v[j] for j, power in enumerate(powers))
            after[i] = after[i] + z @ weights[f"{attn}.W_O"][h]
    return after if not config.d_mlp else [slow_mlp(config, weights, block, row) for row in after]


def slow_turn(row, position, base):
    out = np.zeros_like(row)
    for pair in range(len(row) // 2):
        turned = complex(row[2 * pair], row[2 * pair + 1]) * np.exp(1j * position * base ** (-2 * pair / len(row)))
        out[2 * pair], out[2 * pair + 1] = turned.real, turned.imag
    return out


def slow_norm(config, weights, name, row):
    kind = config.normalization
    if kind == "none":
        return row
    if kind.startswith("LN"):
        row = row - sum(row) / len(row)
    row = row / math.sqrt(sum(value**2 for value in row) / len(row) + config.norm_eps)
    return row * weights.get(f"{name}.w", 1.0) + weights.get(f"{name}.b", 0.0)


def slow_mlp(config, weights, block, row):
    pre = slow_norm(config, weights, f"{block}.ln2", row) @ weights[f"{block}.mlp.W_in"]
    pre = pre + weights.get(f"{block}.mlp.b_in", 0.0)
    gelu = [p / 2 * (1 + math.erf(p / math.sqrt(2))) for p in pre]
    post = np.array(gelu if config.activation == "gelu" else [max(p, 0.0) for p in pre])
    return row + post @ weights[f"{block}.mlp.W_out"] + weights.get(f"{block}.mlp.b_out", 0.0)


OPTIONS = {
    "no biases": {"biases": False},
    "tied": {"tied_embeddings": True},
    "tied, no biases": {"tied_embeddings": True, "biases": False},
    "sinusoidal": {"learned_positions": False},
    "sinusoidal shortformer": {"learned_positions": False, "positions": "shortformer"},
    "gelu": {"d_mlp": 9},
    "relu, no biases": {"d_mlp": 9, "activation": "relu", "biases": False},
    "one head of one number": {"n_heads": 1, "d_head": 1},
    "no layers": {"n_layers": 0},
    "bidirectional": {"attention_dir": "bidirectional"},
    "bidirectional, rotary, smeared": {"attention_dir": "bidirectional", "positions": "rotary", "smeared_keys": True},
    "other base and eps": {"positions": "rotary", "rotary_base": 50.0, "norm_eps": 0.1},
}


@pytest.mark.parametrize("positions, normalization, smeared", KINDS)
def test_logits_are_those_of_the_formulas(float64, generator, positions, normalization, smeared):
    model = random_model(generator, positions=positions, normalization=normalization, smeared_keys=smeared)
    tokens = some_tokens(generator)
    np.testing.assert_allclose(model(tokens).detach().numpy(), slow_logits(model, tokens), rtol=0, atol=1e-11)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_logits_are_those_of_the_formulas_with_other_options(float64, generator, options):
    model, tokens = random_model(generator, **options), some_tokens(generator)
    np.testing.assert_allclose(model(tokens).detach().numpy(), slow_logits(model, tokens), rtol=0, atol=1e-11)


# --- fused and explicit ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("positions, normalization, smeared", KINDS)
def test_fused_and_explicit_passes_agree_with_their_gradients(float64, generator, positions, normalization, smeared):
    model = random_model(generator, positions=positions, normalization=normalization, smeared_keys=smeared, d_mlp=5)
    tokens = some_tokens(generator)

    def logits_and_gradients():
        logits = model(tokens)
        return logits, torch.autograd.grad(logits.log_softmax(-1)[..., 0].mean(), list(model.parameters()))

    fused = logits_and_gradients()
    for endings in [("hook_pattern",), ("hook_attn_scores",), ("hook_scale",), ("_input",), ()]:
        stop = watch(model, *endings)
        explicit = logits_and_gradients()
        stop()
        torch.testing.assert_close(explicit, fused, rtol=1e-9, atol=1e-9)


def test_a_residual_stream_of_zeros_has_finite_gradients_when_watched(generator):
    model = random_model(generator, normalization="RMS")
    with torch.no_grad():
        model.embed.W_E[0], model.pos_embed.W_pos[:] = 0.0, 0.0
    stop = watch(model)
    gradients = torch.autograd.grad(model(torch.zeros(1, 3, dtype=torch.long)).sum(), list(model.parameters()))
    stop()
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_scores_are_minus_infinity_where_masked_and_pattern_rows_sum_to_one(generator):
    model, tokens = random_model(generator), some_tokens(generator)
    scores, pattern = seen_at(model, tokens, "blocks.1.attn.hook_attn_scores", "blocks.1.attn.hook_pattern")
    future = torch.ones(7, 7, dtype=torch.bool).triu(1)
    assert bool((scores[:, :, future] == -math.inf).all())
    assert bool(scores[:, :, ~future].isfinite().all())
    torch.testing.assert_close(pattern, scores.softmax(-1))
    torch.testing.assert_close(pattern.sum(-1), torch.ones(2, 3, 7))


# --- positions -------------------------------------------------------------------------------------------------------


def test_shortformer_positions_reach_queries_and_keys_but_never_values_or_the_residual_stream(generator):
    model, tokens = random_model(generator, positions="shortformer"), some_tokens(generator)
    uniform = torch.ones(7, 7).tril() / torch.arange(1, 8)[:, None]
    for block in model.blocks:  # patterns are where positions may act
        block.attn.hook_pattern.register_forward_hook(lambda m, a, value: uniform.expand_as(value))
    names = ["blocks.0.attn.hook_q", "blocks.0.attn.hook_k", "blocks.1.attn.hook_q", "blocks.1.attn.hook_k"]
    names += ["blocks.0.attn.hook_v", "blocks.1.attn.hook_v", "blocks.1.hook_resid_pre", "ln_final.hook_normalized"]
    before = seen_at(model, tokens, *names)
    with torch.no_grad():
        model.pos_embed.W_pos.add_(torch.randn(7, 8, generator=generator))
    after = seen_at(model, tokens, *names)
    assert all(float((a - b).detach().abs().max()) > 0.5 for a, b in zip(after[:4], before[:4], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(after[4:], before[4:], strict=True))


def test_rotary_scores_depend_only_on_the_offset(float64, generator):
    model = random_model(generator, positions="rotary")
    (scores,) = seen_at(model, torch.full((1, 7), 3), "blocks.0.attn.hook_attn_scores")
    for offset in range(7):
        along = scores[0].diagonal(-offset, dim1=-2, dim2=-1)
        torch.testing.assert_close(along, along[:, :1].expand_as(along), rtol=0, atol=1e-12)
    assert float(scores[0, 0, :, 0].detach().std()) > 0.1  # different offsets give different scores


def test_standard_sinusoids_are_as_large_as_token_embeddings():
    model = Transformer(TransformerConfig(d_model=64, n_ctx=64, learned_positions=False))
    assert float(model.pos_embed.W_pos.square().mean().sqrt()) == pytest.approx(0.8 / math.sqrt(64), rel=1e-5)
    assert "pos_embed.W_pos" not in dict(model.named_parameters())


def test_shortformer_sinusoids_are_those_of_the_transformer_paper():
    model = Transformer(TransformerConfig(positions="shortformer", learned_positions=False, d_model=8, n_ctx=30))
    assert float(model.pos_embed.W_pos[21, 2]) == pytest.approx(math.sin(21 / 10000 ** (2 / 8)), abs=1e-5)
    assert float(model.pos_embed.W_pos[21, 3]) == pytest.approx(math.cos(21 / 10000 ** (2 / 8)), abs=1e-5)


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("smeared", [False, True])
@pytest.mark.parametrize("positions", POSITIONS)
def test_a_token_changes_nothing_before_itself(generator, positions, smeared, watched):
    model = random_model(generator, positions=positions, smeared_keys=smeared)
    stop = watch(model) if watched else lambda: None
    tokens = some_tokens(generator)
    for place in range(7):
        other = tokens.clone()
        other[:, place] = (other[:, place] + 1) % 11
        change = (model(other) - model(tokens)).detach().abs().amax((0, 2))
        assert float(change[:place].max() if place else 0.0) <= 1e-5
        assert float(change[place]) > 1e-2
    stop()


@pytest.mark.parametrize("watched", [False, True])
def test_in_a_bidirectional_model_every_token_reaches_every_position_and_no_score_is_masked(generator, watched):
    model, tokens = random_model(generator, attention_dir="bidirectional"), some_tokens(generator)
    stop = watch(model) if watched else lambda: None
    other = tokens.clone()
    other[:, -1] = (other[:, -1] + 1) % 11
    assert float((model(other) - model(tokens)).detach().abs().amax((0, 2)).min()) > 1e-3
    (scores,) = seen_at(model, tokens, "blocks.0.attn.hook_attn_scores")
    assert bool(scores.isfinite().all())
    stop()


def test_smeared_keys_mix_in_the_share_of_the_key_before(generator):
    model, tokens = random_model(generator, smeared_keys=True, positions="none"), some_tokens(generator)
    with torch.no_grad():
        model.blocks[0].attn.smear.copy_(torch.tensor([0.0, -20.0, 20.0]))  # half, all before, all itself
    k, smeared = seen_at(model, tokens, "blocks.0.attn.hook_k", "blocks.0.attn.hook_smeared_k")
    torch.testing.assert_close(smeared[:, 0], k[:, 0])
    torch.testing.assert_close(smeared[:, 1:, 0], (k[:, 1:, 0] + k[:, :-1, 0]) / 2)
    torch.testing.assert_close(smeared[:, 1:, 1], k[:, :-1, 1])
    torch.testing.assert_close(smeared[:, :, 2], k[:, :, 2])


# --- inputs split by head --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("positions", ["standard", "shortformer"])
def test_split_inputs_are_copies_of_the_residual_stream_before_normalisation(generator, positions):
    model, tokens = random_model(generator, positions=positions), some_tokens(generator)
    names = [f"blocks.1.hook_{letter}_input" for letter in "qkv"]
    residual, *copies = seen_at(model, tokens, "blocks.1.hook_resid_pre", *names)
    for copy in copies:
        assert copy.shape == (2, 7, 3, 8)
        assert torch.equal(copy, residual[:, :, None].expand_as(copy))


@pytest.mark.parametrize("letter, changed", [("q", "hook_q"), ("k", "hook_k"), ("v", "hook_v")])
def test_changing_the_split_input_of_one_head_changes_only_what_that_head_reads(generator, letter, changed):
    model, tokens = random_model(generator), some_tokens(generator)
    names = [f"blocks.1.attn.hook_{each}" for each in "qkv"]
    before = dict(zip(names, seen_at(model, tokens, *names), strict=True))

    def shift(module, args, value):
        new = value.clone()
        new[:, :, 2, 0] += 1.0
        return new

    model.get_submodule(f"blocks.1.hook_{letter}_input").register_forward_hook(shift)
    after = dict(zip(names, seen_at(model, tokens, *names), strict=True))
    for name in names:
        difference = (after[name] - before[name]).detach().abs().amax((0, 1, 3))
        expected = [0, 0, 1] if name.endswith(changed) else [0, 0, 0]
        assert (difference > 1e-3).int().tolist() == expected


@pytest.mark.parametrize("positions", POSITIONS)
def test_replacing_all_split_inputs_is_replacing_what_attention_reads(generator, positions):
    model, tokens = random_model(generator, positions=positions), some_tokens(generator)
    other = torch.randn(2, 7, 8, generator=generator)
    handle = model.blocks[1].hook_resid_pre.register_forward_hook(lambda *_: other)
    (expected,) = seen_at(model, tokens, "blocks.1.hook_attn_out")
    handle.remove()
    for letter in "qkv":
        point = model.get_submodule(f"blocks.1.hook_{letter}_input")
        point.register_forward_hook(lambda m, a, value: other[:, :, None].expand_as(value))
    (actual,) = seen_at(model, tokens, "blocks.1.hook_attn_out")
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


# --- names, weights, initial values ----------------------------------------------------------------------------------

TOP = ["hook_embed", "hook_pos_embed"]
BLOCK = ["hook_resid_pre", "hook_q_input", "hook_k_input", "hook_v_input", "hook_attn_out", "hook_resid_post"]
BLOCK += [f"attn.hook_{name}" for name in ("q", "k", "v", "attn_scores", "pattern", "z")]
NORMS = ["hook_scale", "hook_normalized"]
MLP = ["hook_resid_mid", "mlp.hook_pre", "mlp.hook_post", "hook_mlp_out"]


@pytest.mark.parametrize(
    "options, top, block, norms",
    [
        ({}, TOP, BLOCK, ["ln1"]),
        ({"positions": "none", "normalization": "none"}, TOP[:1], BLOCK, []),
        ({"positions": "rotary"}, TOP[:1], [*BLOCK, "attn.hook_rot_q", "attn.hook_rot_k"], ["ln1"]),
        ({"smeared_keys": True, "normalization": "RMSPre"}, TOP, [*BLOCK, "attn.hook_smeared_k"], ["ln1"]),
        ({"d_mlp": 3}, TOP, [*BLOCK, *MLP], ["ln1", "ln2"]),
    ],
)
def test_hook_points_are_those_that_are_relied_on(options, top, block, norms):
    model = Transformer(TransformerConfig(**(SMALL | options)))
    block = block + [f"{norm}.{name}" for norm in norms for name in NORMS]
    final = [f"ln_final.{name}" for name in NORMS] if norms else []
    expected = {*top, *final} | {f"blocks.{layer}.{name}" for layer in range(2) for name in block}
    assert {name for name, module in model.named_modules() if isinstance(module, HookPoint)} == expected


@pytest.mark.parametrize("options", [{"d_mlp": 3}, {"positions": "rotary", "smeared_keys": True}])
def test_every_hook_point_names_the_axes_of_its_value(generator, options):
    model, tokens = random_model(generator, **options), some_tokens(generator, batch=5, pos=6)
    size = {"batch": 5, "pos": 6, "dest": 6, "src": 6, "head": 3, "d_head": 4, "d_model": 8, "unit": 3, "one": 1}
    points = {name: module for name, module in model.named_modules() if isinstance(module, HookPoint)}
    for point, value in zip(points.values(), seen_at(model, tokens, *points), strict=True):
        assert list(value.shape) == [size[axis] for axis in point.axes]


def test_only_the_split_inputs_are_on_request():
    model = Transformer(TransformerConfig(**SMALL))
    asked = {name for name, module in model.named_modules() if isinstance(module, HookPoint) and module.on_request}
    assert asked == {f"blocks.{layer}.hook_{letter}_input" for layer in range(2) for letter in "qkv"}


def test_stacked_views_hold_every_layers_parameters(generator):
    model = random_model(generator)
    for name in ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V", "b_O"):
        stacked = getattr(model, name)
        assert torch.equal(stacked[1], getattr(model.blocks[1].attn, name))
    assert model.W_Q.shape == (2, 3, 8, 4)
    assert model.W_O.shape == (2, 3, 4, 8)
    assert torch.equal(model.W_pos, model.pos_embed.W_pos)
    assert torch.equal(model.b_U, model.unembed.b_U)


def test_missing_biases_read_as_zeros(generator):
    model = random_model(generator, biases=False, n_layers=1)
    assert model.b_Q.shape == (1, 3, 4)
    assert not any(bool(getattr(model, name).any()) for name in ("b_Q", "b_K", "b_V", "b_O", "b_U"))
    assert not any(name.rsplit(".", 1)[-1].startswith("b_") for name, _ in model.named_parameters())


def test_tied_embeddings_are_one_parameter_that_both_ends_train(generator):
    model, tokens = random_model(generator, tied_embeddings=True, n_layers=0, positions="none"), some_tokens(generator)
    assert "unembed.W_U" not in model.state_dict()
    assert model.W_U.data_ptr() == model.W_E.data_ptr()
    (gradient,) = torch.autograd.grad(model(tokens)[..., 0].sum(), [model.W_E])
    unused = sorted(set(range(11)) - set(tokens.flatten().tolist()) - {0})
    assert bool((gradient[unused] == 0).all())  # neither embedded nor asked for
    assert float(gradient[0].abs().sum()) > 0
    assert float(gradient[int(tokens[0, 0])].abs().sum()) > 0


def test_initial_weights_have_the_configured_spread_and_come_from_the_generator():
    config = TransformerConfig(d_model=64, d_vocab=200, d_mlp=256)
    model = Transformer(config, torch.Generator().manual_seed(3))
    for name, parameter in model.named_parameters():
        kind = name.rsplit(".", 1)[-1]
        if kind.startswith("W_"):
            assert float(parameter.detach().std()) == pytest.approx(0.1, rel=0.05)
        else:
            assert bool((parameter == (1.0 if kind == "w" else 0.0)).all())
    again = Transformer(config, torch.Generator().manual_seed(3))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    wide = Transformer(TransformerConfig(init_range=0.5), torch.Generator().manual_seed(3))
    assert float(wide.W_E.detach().std()) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize(
    "tokens, words",
    [
        (torch.zeros(1, 8, dtype=torch.long), "8 tokens, the model's context holds 7"),
        (torch.tensor([[0, 11]]), r"token 11 is outside the vocabulary 0\.\.10"),
        (torch.tensor([[-1, 0]]), "token -1 is outside"),
        (torch.zeros(1, 0, dtype=torch.long), "at least one position"),
    ],
)
def test_tokens_that_the_model_cannot_run_on_are_refused(tokens, words):
    with pytest.raises(InputError, match=words):
        Transformer(TransformerConfig(**SMALL))(tokens)
