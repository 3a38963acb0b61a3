"""Q, K and V side by side and apart: the same numbers, the names of TransformerLens, and nothing lost on the way."""

import pytest
import torch

from toy_models.config import TransformerConfig
from toy_models.errors import InputError
from toy_models.qkv import join, split
from toy_models.transformer import Transformer

CONFIG = TransformerConfig(
    n_layers=1, n_heads=2, d_model=6, d_head=3, d_vocab=9, n_ctx=5, normalization="RMS", smeared_keys=True
)
SAVED = {
    "embed.W_E": (9, 6),
    "pos_embed.W_pos": (5, 6),
    "blocks.0.ln1.w": (6,),
    "blocks.0.attn.W_Q": (2, 6, 3),
    "blocks.0.attn.W_K": (2, 6, 3),
    "blocks.0.attn.W_V": (2, 6, 3),
    "blocks.0.attn.W_O": (2, 3, 6),
    "blocks.0.attn.b_Q": (2, 3),
    "blocks.0.attn.b_K": (2, 3),
    "blocks.0.attn.b_V": (2, 3),
    "blocks.0.attn.b_O": (6,),
    "blocks.0.attn.smear": (2,),
    "ln_final.w": (6,),
    "unembed.W_U": (6, 9),
    "unembed.b_U": (9,),
}


@pytest.fixture
def model(generator):
    """Every parameter at random."""
    made = Transformer(CONFIG, generator)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return made


def test_state_dicts_name_every_matrix_by_itself_in_the_order_of_the_formulas(model):
    state = model.state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == SAVED
    assert [name for name in state if ".attn." in name] == [name for name in SAVED if ".attn." in name]
    assert not any(tensor.requires_grad for tensor in state.values())


def test_the_three_matrices_and_biases_are_those_that_read_q_k_and_v(model, generator):
    """q, k and v of every head, read off at the hook points, are x W + b with the named tensors."""
    attention, x, seen = model.blocks[0].attn, torch.randn(1, 4, 6, generator=generator), {}
    for letter in "qkv":
        point = getattr(attention, f"hook_{letter}")
        point.register_forward_hook(lambda module, inputs, value, letter=letter: seen.update({letter: value}))
    attention(x, x, x)
    for letter in "qkv":
        W, b = (getattr(attention, f"{kind}_{letter.upper()}") for kind in "Wb")
        expected = torch.stack([x[0] @ W[head] + b[head] for head in range(2)], dim=1)
        torch.testing.assert_close(seen[letter][0], expected)


def test_what_is_written_into_a_part_is_in_the_model(model):
    attention = model.blocks[0].attn
    with torch.no_grad():
        attention.W_K[1, 4, 2] = 7.0
        attention.b_V[0, 1] = -5.0
    assert attention.W_QKV[1, 1, 2, 4] == 7.0
    assert attention.b_QKV[2, 0, 1] == -5.0
    assert model.state_dict()["blocks.0.attn.W_K"][1, 4, 2] == 7.0
    model.state_dict()["blocks.0.attn.W_Q"][0, 3, 1] = 9.0
    assert attention.W_Q[0, 3, 1] == 9.0


def test_gradients_of_a_part_are_a_part_of_the_gradient(model):
    attention = model.blocks[0].attn
    (gradient,) = torch.autograd.grad((3 * attention.W_V).sum() + attention.W_V[1, 5, 0], attention.W_QKV)
    expected = torch.zeros(3, 2, 3, 6)
    expected[2] = 3.0
    expected[2, 1, 0, 5] += 1.0
    assert torch.equal(gradient, expected)


def test_a_state_dict_of_named_matrices_loads_and_leaves_what_it_was_given(model, generator):
    state = {name: torch.randn(shape, generator=generator) for name, shape in SAVED.items()}
    given = dict(state)
    model.load_state_dict(state)
    assert state.keys() == given.keys()
    assert all(torch.equal(tensor, given[name]) for name, tensor in model.state_dict().items())


def test_other_state_dicts_are_refused(model):
    state = model.state_dict()
    del state["blocks.0.attn.W_K"]
    with pytest.raises(InputError, match=r"blocks\.0\.attn\.W_K is missing"):
        model.load_state_dict(state)
    with pytest.raises(InputError, match=r"must have the same shape, got \[2, 3\], \[2, 4\], \[2, 3\]"):
        model.load_state_dict(model.state_dict() | {"blocks.0.attn.b_K": torch.zeros(2, 4)})
    with pytest.raises(RuntimeError, match=r"size mismatch for blocks\.0\.attn\.W_QKV"):
        model.load_state_dict(model.state_dict() | {f"blocks.0.attn.W_{x}": torch.zeros(2, 6, 4) for x in "QKV"})


def test_a_seed_draws_each_matrix_by_itself_in_the_order_of_the_state_dict():
    state = Transformer(CONFIG, torch.Generator().manual_seed(4)).state_dict()
    generator = torch.Generator().manual_seed(4)
    for name, shape in SAVED.items():
        if name.rsplit(".", 1)[-1].startswith("W_"):
            drawn = torch.empty(shape).normal_(std=CONFIG.initial_std, generator=generator)
            assert torch.equal(state[name], drawn), name


def test_sinusoids_are_not_among_the_trained_tensors():
    fixed = Transformer(TransformerConfig(learned_positions=False), torch.Generator().manual_seed(0))
    learned = Transformer(TransformerConfig(), torch.Generator().manual_seed(0))
    assert learned.trained_tensors().keys() - fixed.trained_tensors().keys() == {"pos_embed.W_pos"}
    assert learned.trained_tensors().keys() == learned.state_dict().keys()


def test_joining_undoes_splitting(generator):
    whole = {
        "a.W_QKV": torch.randn(3, 2, 4, 5, generator=generator),
        "a.b_QKV": torch.randn(3, 2, 4, generator=generator),
        "step/a.W_QKV": torch.tensor(7.0),
        "a.W_O": torch.randn(2, 4, 5, generator=generator),
    }
    apart = split(whole)
    assert list(apart) == [
        *("a.W_Q", "a.W_K", "a.W_V", "a.b_Q", "a.b_K", "a.b_V"),
        *("step/a.W_Q", "step/a.W_K", "step/a.W_V", "a.W_O"),
    ]
    assert torch.equal(apart["a.W_K"], whole["a.W_QKV"][1].transpose(1, 2))
    assert apart["step/a.W_V"] == 7.0
    again = join(apart)
    assert list(again) == list(whole)
    assert all(torch.equal(again[name], tensor) and again[name].is_contiguous() for name, tensor in whole.items())
