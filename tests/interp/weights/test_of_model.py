import dataclasses
import itertools
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
from torch import nn

from interp.errors import InputError
from interp.weights import weights_of
from tests.reference_transformer import logits_from, random_model, random_tokens
from toy_models.config import Normalization, Positions, TransformerConfig
from toy_models.transformer import Transformer

POSITIONS: tuple[Positions, ...] = get_args(Positions)
NORMALIZATIONS: tuple[Normalization, ...] = get_args(Normalization)
SMALL = TransformerConfig(
    n_layers=2, n_heads=2, d_model=8, d_head=4, d_vocab=11, n_ctx=9, positions="standard", normalization="LN"
)


def largest_difference(a, b):
    return float((a - b).detach().abs().max())


def bridge(**options):
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    options = {"attn_only": True, "normalization_type": "LN"} | options
    rope_scaling = options.pop("rope_scaling", None)
    config = TransformerBridgeConfig(d_model=8, d_head=4, n_layers=2, n_ctx=9, n_heads=2, d_vocab=11, **options)
    config.rope_scaling = rope_scaling
    made = TransformerBridge.boot_native(config, dtype=torch.float64)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return made.eval()


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("positions", POSITIONS)
def test_folded_weights_give_the_models_logits(positions: Positions, normalization: Normalization):
    for smeared, biases, tied, mlp in itertools.product((False, True), repeat=4):
        config = dataclasses.replace(
            SMALL,
            positions=positions,
            normalization=normalization,
            smeared_keys=smeared,
            biases=biases,
            tied_embeddings=tied,
            d_mlp=6 * mlp,
        )
        model, tokens = random_model(config), random_tokens(config)
        logits = model(tokens).detach()
        for fold in (True, False):
            w = weights_of(model, fold=fold)
            assert largest_difference(logits_from(w, tokens), logits) <= 1e-10 * float(logits.abs().max()), config
            assert w.is_folded == (fold or normalization in ("none", "RMSPre"))


def test_folded_weights_of_a_model_without_layers_give_its_logits():
    for positions in POSITIONS:
        config = dataclasses.replace(SMALL, n_layers=0, positions=positions, smeared_keys=True, d_mlp=5)
        model, tokens = random_model(config), random_tokens(config)
        assert largest_difference(logits_from(weights_of(model), tokens), model(tokens)) <= 1e-12


def test_one_position_table_for_all_layers_would_be_wrong_after_folding():
    config = dataclasses.replace(SMALL, positions="shortformer", normalization="LN")
    model, tokens = random_model(config), random_tokens(config)
    w = weights_of(model)
    assert model.W_pos is not None
    assert w.W_pos_attn is not None
    shared = dataclasses.replace(w, W_pos_attn=model.W_pos.detach().repeat(2, 1, 1))
    assert largest_difference(logits_from(w, tokens), model(tokens)) <= 1e-10
    assert largest_difference(logits_from(shared, tokens), model(tokens)) > 0.1
    assert not torch.allclose(w.W_pos_attn[0], w.W_pos_attn[1])


def test_the_residual_stream_of_folded_layer_norm_has_mean_zero():
    w = weights_of(random_model(dataclasses.replace(SMALL, positions="standard", d_mlp=5)))
    for name in ("W_E", "W_pos", "W_O", "b_O", "W_out", "b_out"):
        assert float(getattr(w, name).mean(-1).abs().max()) <= 1e-15, name


def test_folded_says_what_was_done_and_what_remains():
    said = " ".join(weights_of(random_model(dataclasses.replace(SMALL, positions="shortformer"))).folded)
    assert "W_Q, W_K, W_V" in said
    assert "centring of LN is in everything that writes (W_E, W_O, b_O)" in said
    assert "divided by each layer's gain" in said
    assert "one positive scale per position" in said
    tied = weights_of(random_model(dataclasses.replace(SMALL, tied_embeddings=True)))
    assert "W_U is therefore no longer W_E^T" in " ".join(tied.folded)
    assert tied.tied
    assert not torch.allclose(tied.W_U, tied.W_E.T)
    plain = weights_of(random_model(dataclasses.replace(SMALL, normalization="none")))
    assert plain.folded == ("The model has no normalisation: nothing to fold, nothing remains.",)
    assert "LN stands before every read" in weights_of(random_model(SMALL), fold=False).folded[0]


def test_a_gain_of_zero_is_refused_only_where_positions_would_be_divided_by_it():
    model = random_model(dataclasses.replace(SMALL, positions="shortformer"))
    with torch.no_grad():
        model.blocks[1].ln1.w[3] = 0
    with pytest.raises(InputError, match=r"layer 1 is 0 at unit 3.*fold=False"):
        weights_of(model)
    tokens = random_tokens(SMALL)
    assert largest_difference(logits_from(weights_of(model, fold=False), tokens), model(tokens)) <= 1e-10
    standard = random_model(dataclasses.replace(SMALL, positions="standard"))
    with torch.no_grad():
        standard.blocks[1].ln1.w[3] = 0
    assert largest_difference(logits_from(weights_of(standard), tokens), standard(tokens)) <= 1e-10


def test_the_view_does_not_move_when_the_model_is_trained():
    model = random_model(SMALL)
    w = weights_of(model, fold=False)
    before = {name: tensor.clone() for name, tensor in w.tensors().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in w.tensors().items())
    assert not any(tensor.requires_grad for tensor in w.tensors().values())
    with pytest.raises(dataclasses.FrozenInstanceError):
        w.n_ctx = 3  # type: ignore[misc]


def test_float64_before_folding_is_more_exact_than_after():
    model = Transformer(SMALL, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.blocks[0].ln1.w.uniform_(0.5, 2, generator=torch.Generator().manual_seed(1))
        model.blocks[0].ln1.b.uniform_(-1, 1, generator=torch.Generator().manual_seed(2))
    exact = model.double()
    tokens = random_tokens(SMALL)
    logits = exact(tokens)
    model.float()
    assert largest_difference(logits_from(weights_of(model, dtype=torch.float64), tokens), logits) <= 1e-13
    assert torch.equal(weights_of(model).b_Q, weights_of(model, dtype=torch.float64).b_Q.float())
    late = weights_of(model).to(torch.float64)
    assert late.dtype == torch.float64
    assert 1e-13 < largest_difference(logits_from(late, tokens), logits) <= 1e-5


@pytest.mark.parametrize("name", ["embed.W_E", "blocks.1.attn.W_K", "blocks.0.ln1.w", "unembed.b_U"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(name, value):
    model = random_model(SMALL)
    with torch.no_grad():
        tensor = model.trained_tensors()[name]
        tensor[(0,) * tensor.ndim] = value
    with pytest.raises(InputError, match=f"{name} has 1 of .* NaN or infinite"):
        weights_of(model)


def test_other_models_are_refused():
    with pytest.raises(InputError, match="got Linear"):
        weights_of(nn.Linear(2, 2))
    with pytest.raises(InputError, match="got SimpleNamespace"):
        weights_of(SimpleNamespace(config=SimpleNamespace(d_model=3)))


def test_heads_that_do_not_exist_are_refused():
    w = weights_of(random_model(SMALL))
    w.check_head((1, 1))
    for head in ((2, 0), (0, 2), (-1, 0), (0, -1)):
        with pytest.raises(InputError, match=r"layers 0 to 1|heads 0 to 1"):
            w.check_head(head)


def test_query_dot_key_of_the_running_model_is_qk_at_its_offset():
    model = random_model(dataclasses.replace(SMALL, positions="rotary", normalization="none", n_layers=1))
    w, tokens = weights_of(model), random_tokens(SMALL, batch=1)
    seen = {}
    for name in ("hook_rot_q", "hook_rot_k"):
        getattr(model.blocks[0].attn, name).register_forward_hook(
            lambda m, i, out, name=name: seen.update({name: out.detach()})
        )
    model(tokens)
    x = w.W_E[tokens[0]]
    for i, j in itertools.product(range(7), repeat=2):
        if j <= i:
            by_hand = (x[i] @ w.W_Q[0, 1] + w.b_Q[0, 1]) @ w.rotation(i - j) @ (x[j] @ w.W_K[0, 1] + w.b_K[0, 1])
            run = seen["hook_rot_q"][0, i, 1] @ seen["hook_rot_k"][0, j, 1]
            assert abs(float(by_hand - run)) <= 1e-12 * (1 + abs(float(run)))


def test_rotation_needs_an_offset_within_the_context():
    w = weights_of(random_model(dataclasses.replace(SMALL, positions="rotary")))
    with pytest.raises(InputError, match="no single W_Q W_K\\^T: pass offset"):
        w.rotation(None)
    for offset in (-1, 9):
        with pytest.raises(InputError, match=r"0\.\.8"):
            w.rotation(offset)
    assert torch.equal(weights_of(random_model(SMALL)).rotation(None), torch.eye(4, dtype=torch.float64))
    # The first pair turns by one radian per position, the second by base^(-1/2) = 0.01.
    first = torch.tensor([0.0, 1.0, 0.0, 0.0], dtype=torch.float64) @ w.rotation(2)
    second = torch.tensor([0.0, 0.0, 1.0, 0.0], dtype=torch.float64) @ w.rotation(2)
    assert first.tolist() == pytest.approx([-0.9092974268, -0.4161468365, 0, 0], abs=1e-9)
    assert second.tolist() == pytest.approx([0, 0, 0.9998000067, 0.0199986667], abs=1e-9)


BRIDGES: dict[str, dict[str, Any]] = {
    "LN": {},
    "LNPre": {"normalization_type": "LNPre"},
    "none": {"normalization_type": None},
    "rotary": {"positional_embedding_type": "rotary", "normalization_type": "LNPre"},
    "partly rotary": {"positional_embedding_type": "rotary", "rotary_dim": 2, "normalization_type": None},
    "mlp": {"attn_only": False, "d_mlp": 6, "act_fn": "gelu"},
    "scaled": {"attn_scale": 3.0, "use_attn_scale": True},
}


@pytest.mark.parametrize("name", BRIDGES)
def test_weights_of_a_bridge_give_its_logits(name):
    model = bridge(**BRIDGES[name])
    tokens = random_tokens(SMALL)
    logits = model(tokens)
    # TransformerLens normalises without learned gains and tabulates rotations in float32.
    tolerance = 1e-5 if name in ("LNPre", "rotary", "partly rotary") else 1e-10
    for fold in (True, False):
        assert largest_difference(logits_from(weights_of(model, fold=fold), tokens), logits) <= tolerance


@pytest.mark.parametrize("normalization", ["RMS", "RMSPre"])
def test_weights_of_a_bridge_with_rms_give_its_logits(normalization):
    model, tokens = bridge(normalization_type=normalization), random_tokens(SMALL)
    assert largest_difference(logits_from(weights_of(model), tokens), model(tokens)) <= 1e-5


def test_weights_of_a_bridge_after_compatibility_mode_give_its_logits():
    model, tokens = bridge(), random_tokens(SMALL)
    model.enable_compatibility_mode()
    assert largest_difference(logits_from(weights_of(model), tokens), model(tokens)) <= 1e-10


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"n_key_value_heads": 1}, "share keys and values"),
        ({"parallel_attn_mlp": True}, "in parallel"),
        ({"attn_only": False, "gated_mlp": True, "d_mlp": 6}, "gated"),
        ({"attn_only": False, "act_fn": "solu_ln", "d_mlp": 6}, "solu_ln"),
        ({"attn_scores_soft_cap": 5.0}, "scores are capped"),
        ({"output_logits_soft_cap": 5.0}, "logits are capped"),
        ({"final_rms": True}, "final_rms"),
        ({"positional_embedding_type": "rotary", "rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling"),
    ],
)
def test_a_bridge_whose_weights_mean_something_else_is_refused(options, reason):
    with pytest.raises(InputError, match=f"cannot be read: .*{reason}"):
        weights_of(bridge(**options))


def test_a_bridge_with_a_nan_is_refused_by_name():
    model = bridge()
    with torch.no_grad():
        next(p for n, p in model.named_parameters() if n.endswith("q._original_component.weight"))[0, 0] = float("nan")
    with pytest.raises(InputError, match=r"blocks\.0\.attn\.q\.weight has 1 of 64"):
        weights_of(model)
