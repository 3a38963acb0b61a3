"""Transforms keep what theory says they keep, move what it says moves, and refuse what they cannot do."""

from typing import Any

import pytest
import torch

from tests.toy_models.handmade_measures import composition, edges_of, measure_all
from toy_models.config import TransformerConfig
from toy_models.errors import InputError
from toy_models.handmade import make, names, transforms, variants
from toy_models.transformer import Transformer

ALIKE = {
    "another basis": variants.in_another_basis,
    "other head bases": variants.in_other_head_bases,
    "heads permuted": variants.with_heads_permuted,
    "idle heads": lambda handmade, _: variants.with_idle_heads(handmade, 2),
    "idle heads, then permuted": lambda handmade, g: variants.with_heads_permuted(
        variants.with_idle_heads(handmade), g
    ),
}
CONFIGS: list[dict[str, Any]] = [
    {"positions": "shortformer", "normalization": "none"},
    {"positions": "shortformer", "normalization": "none", "learned_positions": False},
    {"positions": "standard", "normalization": "LNPre", "d_mlp": 12},
    {"positions": "standard", "normalization": "LNPre", "learned_positions": False},
    {"positions": "standard", "normalization": "none", "tied_embeddings": True},
    {"positions": "rotary", "normalization": "RMSPre", "d_mlp": 12},
    {"positions": "none", "normalization": "none", "smeared_keys": True},
    {"positions": "standard", "normalization": "LN", "d_mlp": 12},
]


def a_model(generator, **options):
    """Random weights everywhere, biases and smear parameters too."""
    config = TransformerConfig(
        **{"n_layers": 2, "n_heads": 3, "d_model": 16, "d_head": 6, "d_vocab": 11, "n_ctx": 9} | options
    )
    model = Transformer(config, generator).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64), alpha=0.3)
    return model


def assert_same_logits(model, other, generator):
    config = model.config
    tokens = torch.randint(config.d_vocab, (4, config.n_ctx), generator=generator)
    with torch.no_grad():
        torch.testing.assert_close(other(tokens), model(tokens), rtol=0, atol=1e-9)


@pytest.mark.parametrize("variant", ALIKE)
@pytest.mark.parametrize("name", names())
def test_variants_keep_the_logits_and_every_expected_value_of_their_truth(name, variant, generator):
    handmade = make(name)
    changed = ALIKE[variant](handmade, generator)
    assert_same_logits(handmade.model, changed.model, generator)
    for expected, measured in measure_all(changed):
        assert expected.holds(measured), (expected, measured)


@pytest.mark.parametrize("variant", ALIKE)
@pytest.mark.parametrize("name", names())
def test_edges_of_variants_are_those_of_their_truth(name, variant, generator):
    changed = ALIKE[variant](make(name), generator)
    with torch.no_grad():
        assert edges_of(changed.model, changed.truth.roles) == changed.truth.edges


@pytest.mark.parametrize("size", [{}, {"d_vocab": 40, "n_ctx": 96}])
@pytest.mark.parametrize("name", names())
def test_float32_copies_in_another_basis_keep_to_the_tolerances_they_state(name, size, generator):
    handmade = variants.in_other_head_bases(make(name, dtype=torch.float32, **size), generator)
    changed = variants.in_another_basis(handmade, generator)
    wrong = {(e.quantity, e.at): (e.value, value) for e, value in measure_all(changed) if not e.holds(value)}
    assert wrong == {}


@pytest.mark.parametrize("name", names())
def test_noise_moves_the_logits_of_every_model_in_proportion_while_it_is_small(name):
    handmade = make(name)
    assert moved_by_noise(handmade, 0.0) == 0.0
    small, twice, large = (moved_by_noise(handmade, scale) for scale in (1e-5, 2e-5, 0.3))
    assert twice / small == pytest.approx(2, abs=0.02)
    assert large > 100 * twice


def moved_by_noise(handmade, scale):
    """Root mean square change of the logits; the same draw at every scale."""
    noisy = variants.with_noise(handmade, torch.Generator().manual_seed(3), scale)
    with torch.no_grad():
        difference = noisy.model(handmade.example_tokens) - handmade.model(handmade.example_tokens)
    return difference.square().mean().sqrt().item()


@pytest.mark.parametrize("name", ["induction_k", "induction_q", "two_back"])
def test_another_basis_moves_raw_composition_scores_and_the_truth_drops_them(name, generator):
    handmade = make(name)
    changed = variants.in_another_basis(handmade, generator)
    kept = {(e.quantity, e.at) for e in changed.truth.expected}
    dropped = [e for e in handmade.truth.expected if (e.quantity, e.at) not in kept]
    assert [e.quantity for e in dropped] == [f"{handmade.truth.composition or 'V'}-composition"]
    moved = composition(changed.model, dropped[0].quantity[0], *dropped[0].at)
    assert abs(moved - dropped[0].value) > 0.01


def test_composition_scores_do_not_move_with_the_bases_inside_heads(generator):
    handmade = make("random_weights")
    changed = variants.in_other_head_bases(handmade, generator)
    for channel in "QKV":
        was = composition(handmade.model, channel, (0, 0), (1, 0))
        assert composition(changed.model, channel, (0, 0), (1, 0)) == pytest.approx(was, abs=1e-12)
    assert (changed.model.W_Q - handmade.model.W_Q).norm() > 0.1 * handmade.model.W_Q.norm()
    assert (changed.model.W_V - handmade.model.W_V).norm() > 0.1 * handmade.model.W_V.norm()


def test_truth_of_permuted_heads_names_them_anew(generator):
    handmade = make("induction_both")
    order = torch.tensor([[1, 0], [0, 1]])
    changed = variants.in_order(handmade, order)
    assert changed.truth.roles == {
        (0, 0): "duplicate-token",
        (0, 1): "previous-token",
        (1, 0): "induction",
        (1, 1): "induction",
    }
    assert changed.truth.find("K-composition", (0, 1), (1, 0)).value == 0.25
    assert {e for e in changed.truth.edges if e.channel == "K" and e.target == (1, 0)} == {
        e for e in changed.truth.edges if e.source == (0, 1) and not isinstance(e.target, str)
    }


def test_idle_heads_are_in_the_truth_and_leave_the_old_ones_where_they_were():
    changed = variants.with_idle_heads(make("induction_k"), 2)
    assert changed.truth.heads("idle") == ((0, 1), (0, 2), (1, 1), (1, 2))
    assert changed.truth.heads("induction") == ((1, 0),)
    assert changed.model.config.n_heads == 3


def test_noise_has_the_stated_size_and_leaves_idle_heads_at_zero(generator):
    handmade = variants.with_idle_heads(make("induction_k"))
    noisy = variants.with_noise(handmade, generator, 0.5)
    for name in ("W_E", "W_Q", "W_O", "W_U"):
        was, now = getattr(handmade.model, name), getattr(noisy.model, name)
        assert ((now - was).norm() / was.norm()).item() == pytest.approx(0.5, rel=0.05)
    assert noisy.model.W_Q[:, 1].norm().item() == 0.0
    assert noisy.truth.expected == ()
    assert noisy.truth.roles == handmade.truth.roles


def test_more_noise_ends_the_induction(generator):
    handmade = make("induction_k")
    accuracies = []
    for scale in (0.0, 0.05, 5.0):
        noisy = variants.with_noise(handmade, generator, scale)
        with torch.no_grad():
            guesses = noisy.model(handmade.example_tokens).argmax(-1)
        accuracies.append((guesses == handmade.answers)[handmade.answers >= 0].double().mean().item())
    assert accuracies[:2] == [1.0, 1.0]
    assert accuracies[2] < 0.5


@pytest.mark.parametrize("options", CONFIGS[:-1])
def test_change_of_basis_keeps_the_logits_where_it_is_allowed(options, generator):
    model = a_model(generator, **options)
    rotation = options["normalization"] != "none" or options.get("tied_embeddings", False)
    changed = transforms.change_basis(model, generator, rotation=rotation)
    assert_same_logits(model, changed, generator)
    assert (changed.W_E - model.W_E).norm() > 0.1 * model.W_E.norm()


@pytest.mark.parametrize("options", [o for o in CONFIGS if o["positions"] != "rotary"])
def test_change_of_head_bases_keeps_the_logits(options, generator):
    model = a_model(generator, **options)
    changed = transforms.change_head_basis(model, generator)
    assert_same_logits(model, changed, generator)
    assert (changed.W_K - model.W_K).norm() > 0.1 * model.W_K.norm()


@pytest.mark.parametrize("options", CONFIGS)
def test_permuted_and_idle_heads_keep_the_logits_of_any_kind_of_model(options, generator):
    model = a_model(generator, **options)
    order = torch.tensor([[2, 0, 1], [1, 0, 2]])
    changed = transforms.permute_heads(model, order)
    assert_same_logits(model, changed, generator)
    for layer in range(2):
        assert torch.equal(changed.W_Q[layer], model.W_Q[layer, order[layer]])
    assert_same_logits(model, transforms.add_idle_heads(model), generator)


def test_transforms_leave_the_model_they_are_given_alone(generator):
    model = a_model(generator, positions="standard", normalization="none")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    transforms.change_basis(model, generator)
    transforms.change_head_basis(model, generator)
    transforms.permute_heads(model, torch.tensor([[2, 0, 1], [1, 0, 2]]))
    transforms.add_idle_heads(model)
    transforms.add_noise(model, 1.0, generator)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("condition", [1.0, 30.0])
def test_random_basis_has_the_stated_condition_number_and_its_inverse(condition, generator):
    matrix, inverse = transforms.random_invertible(12, generator, condition)
    assert torch.linalg.cond(matrix).item() == pytest.approx(condition, rel=1e-9)
    torch.testing.assert_close(matrix @ inverse, torch.eye(12, dtype=torch.float64), rtol=0, atol=1e-12)


def test_rotation_is_orthogonal_and_keeps_the_mean_when_asked(generator):
    matrix = transforms.random_rotation(7, generator, keep_mean=True)
    ones = torch.ones(7, dtype=torch.float64)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(7, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(ones @ matrix, ones, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "options, rotation, message",
    [
        ({"normalization": "LN"}, True, "'LN' has gains"),
        ({"normalization": "RMS"}, False, "'RMS' has gains"),
        ({"normalization": "LNPre"}, False, "allows rotations of the residual stream only"),
        ({"normalization": "none", "tied_embeddings": True}, False, "tied embeddings"),
    ],
)
def test_change_of_basis_is_refused_where_the_model_fixes_it(options, rotation, message, generator):
    with pytest.raises(InputError, match=message):
        transforms.change_basis(a_model(generator, **options), generator, rotation=rotation)


def test_bad_arguments_are_refused(generator):
    model = make("induction_both").model
    with pytest.raises(InputError, match="rotary positions fix"):
        transforms.change_head_basis(a_model(generator, positions="rotary"), generator)
    with pytest.raises(InputError, match="condition must be at least 1, got 0"):
        transforms.change_basis(model, generator, condition=0.0)
    with pytest.raises(InputError, match="condition must be at least 1, got nan"):
        transforms.change_head_basis(model, generator, condition=float("nan"))
    with pytest.raises(InputError, match="order must hold, for each of 2 layers"):
        transforms.permute_heads(model, torch.tensor([[0, 0], [0, 1]]))
    with pytest.raises(InputError, match="order must hold"):
        transforms.permute_heads(model, torch.tensor([[0, 1]]))
    with pytest.raises(InputError, match="extra must be a whole number of at least 1, got 0"):
        transforms.add_idle_heads(model, 0)
    with pytest.raises(InputError, match="scale must be 0 or above, got -1"):
        transforms.add_noise(model, -1.0, generator)
