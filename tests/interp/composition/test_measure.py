import dataclasses
import itertools
from typing import get_args

import pytest
import torch
from scipy import stats

from interp.composition import Kind, composition, composition_by_offset, composition_scores
from interp.composition.measure import rotated_scores, sampled_scores, spectrum
from interp.errors import InputError
from interp.weights import TransformerWeights, weights_of
from tests.reference_transformer import random_model
from toy_models.config import TransformerConfig
from toy_models.handmade.catalogue import make, names
from toy_models.handmade.transforms import add_idle_heads, change_basis, change_head_basis, permute_heads

SMALL = TransformerConfig(
    n_layers=3, n_heads=2, d_model=10, d_head=4, d_vocab=11, n_ctx=9, positions="standard", normalization="LN"
)
KINDS: tuple[Kind, ...] = get_args(Kind)


def dense_score(w: TransformerWeights, earlier, later, kind: Kind, offset: int = 0) -> float:
    left = w.W_V[earlier] @ w.W_O[earlier]
    QK = w.W_Q[later] @ w.rotation(offset) @ w.W_K[later].T
    right = {"Q": QK, "K": QK.T, "V": w.W_V[later] @ w.W_O[later]}[kind]
    return float((left @ right).norm() / (left.norm() * right.norm()))


def pairs(w: TransformerWeights):
    heads = list(itertools.product(range(w.n_layers), range(w.n_heads)))
    return [(e, later) for e in heads for later in heads if e[0] < later[0]]


def cyclic_k_score(w: TransformerWeights, earlier, later) -> float:
    """The mistaken form: the factors of the product rotated cyclically before the norm is taken."""
    left, right = w.W_V[earlier] @ w.W_O[earlier], w.W_Q[later] @ w.W_K[later].T
    cycled = w.W_O[earlier] @ w.W_K[later] @ w.W_Q[later].T @ w.W_V[earlier]
    return float(cycled.norm() / (left.norm() * right.norm()))


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_the_dense_ratios_and_nan_where_there_is_no_pair(kind: Kind):
    w = weights_of(random_model(SMALL))
    scores = composition_scores(w, kind)
    assert scores.shape == (3, 2, 3, 2)
    for earlier, later in pairs(w):
        assert float(scores[earlier + later]) == pytest.approx(dense_score(w, earlier, later, kind), abs=1e-12)
    for earlier, later in itertools.product(itertools.product(range(3), range(2)), repeat=2):
        assert bool(scores[earlier + later].isnan()) == (earlier[0] >= later[0])


def test_heads_wider_than_the_residual_stream_are_scored_too():
    w = weights_of(random_model(dataclasses.replace(SMALL, d_model=3, d_head=5)))
    for kind in KINDS:
        scores = composition_scores(w, kind)
        for earlier, later in pairs(w):
            assert float(scores[earlier + later]) == pytest.approx(dense_score(w, earlier, later, kind), abs=1e-12)


@pytest.mark.parametrize("attn_only", [True, False])
def test_scores_equal_transformer_lens(attn_only):
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    config = TransformerBridgeConfig(d_model=12, d_head=3, n_layers=3, n_ctx=9, n_heads=4, d_vocab=11)
    config.attn_only, config.normalization_type, config.act_fn = attn_only, "LN", "gelu"
    bridge = TransformerBridge.boot_native(config)
    with torch.no_grad():
        for parameter in bridge.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
    w = weights_of(bridge, fold=False)
    for kind in KINDS:
        theirs = bridge.all_composition_scores(kind).scores.detach()
        assert float((composition_scores(w, kind).nan_to_num(0) - theirs).abs().max()) <= 1e-5
    folded = composition_scores(weights_of(bridge), "K").nan_to_num(0)
    assert float((folded - bridge.all_composition_scores("K").scores.detach()).abs().max()) > 1e-3


@pytest.mark.parametrize("name", names())
def test_handmade_models_have_their_stated_compositions(name):
    handmade = make(name)
    w = weights_of(handmade.model)
    stated = [e for e in handmade.truth.expected if e.quantity.endswith("-composition")]
    scores = {kind: composition_scores(w, kind) for kind in KINDS}
    for expected in stated:
        earlier, later = expected.at
        (kind,) = (kind for kind in KINDS if expected.quantity.startswith(kind))
        assert expected.holds(float(scores[kind][(*earlier, *later)])), expected
    if name in ("induction_k", "induction_q", "two_back"):
        letter, value = {"induction_k": ("K", 0.25), "induction_q": ("Q", 34**-0.5), "two_back": ("V", 0.25)}[name]
        assert any(e.quantity[0] == letter and e.value == pytest.approx(value) for e in stated)


def test_scores_do_not_depend_on_the_basis_inside_heads_but_the_mistaken_cyclic_form_does():
    model = random_model(dataclasses.replace(SMALL, normalization="none", positions="none"))
    turned = change_head_basis(model, torch.Generator().manual_seed(4))
    a, b = weights_of(model), weights_of(turned)
    for kind in KINDS:
        difference = composition_scores(a, kind) - composition_scores(b, kind)
        assert float(difference.nan_to_num(0).abs().max()) <= 1e-12
    changes = [abs(cyclic_k_score(a, e, later) - cyclic_k_score(b, e, later)) for e, later in pairs(a)]
    assert min(changes) > 1e-3


def test_scores_change_with_the_basis_of_the_residual_stream_and_the_number_to_read_instead_does_not(generator):
    handmade = make("induction_k")
    moved = composition(weights_of(change_basis(handmade.model, torch.Generator().manual_seed(4))), "K", generator, 20)
    still = composition(weights_of(handmade.model), "K", generator, draws=20)
    assert abs(float(still.score.nan_to_num(0).max() - moved.score.nan_to_num(0).max())) > 0.05
    for found in (still, moved):
        assert "read the eigenvalue score of the K-term in token space instead" in (found.warning or "")
        assert found.in_tokens is not None
        assert float(found.in_tokens.eigenvalue.value[0, 0, 1, 0]) == pytest.approx(1, abs=1e-9)
        assert float(found.in_tokens.eigenvalue.p_values()[0, 0, 1, 0]) == pytest.approx(1 / 21)


def test_models_that_normalise_have_no_warning(generator):
    found = composition(weights_of(random_model(SMALL)), "K", generator, draws=5)
    assert (found.warning, found.in_tokens) == (None, None)


def test_a_perfectly_aligned_pair_has_share_1_one_that_avoids_it_less_than_0(generator):
    w = weights_of(random_model(dataclasses.replace(SMALL, n_layers=2, n_heads=1)))
    left, right = torch.linalg.qr(torch.randn(2, 10, 10, generator=generator, dtype=torch.float64)).Q
    sizes = torch.tensor([1.0, 0.6, 0.2, 0.1], dtype=torch.float64)
    for apart, expected in ((0, 1.0), (4, -1.0)):
        W_O = (sizes[:, None] * left[:4])[None, None].repeat(2, 1, 1, 1)
        W_K = (left[apart : apart + 4].T * sizes)[None, None].repeat(2, 1, 1, 1)
        W_V, W_Q = right[:, :4].expand(2, 1, -1, -1), right[:, 4:8].expand(2, 1, -1, -1)
        found = composition(dataclasses.replace(w, W_O=W_O, W_K=W_K, W_V=W_V, W_Q=W_Q), "K", generator, draws=50)
        at = (0, 0, 1, 0)
        if expected > 0:
            assert float(found.share[at]) == pytest.approx(1)
            assert float(found.score[at]) == pytest.approx(float(found.law.bound[at]))
            assert float(found.p_above[at]) < 1e-3 < 1 == float(found.p_below[at])
        else:
            assert float(found.score[at]) == pytest.approx(float(found.law.floor[at]), abs=1e-9)
            room = float(found.law.bound[at]) - found.baseline
            assert float(found.share[at]) == pytest.approx(-found.baseline / room)
            assert float(found.p_below[at]) < 1e-2 < 1 == float(found.p_above[at])


@pytest.mark.parametrize("normalization", ["none", "LN"])
def test_no_score_exceeds_its_bound(normalization, generator):
    w = weights_of(random_model(dataclasses.replace(SMALL, normalization=normalization)))
    for kind in KINDS:
        found = composition(w, kind, generator, draws=50)
        pair = ~found.score.isnan()
        assert bool((found.score <= found.law.bound + 1e-12)[pair].all())
        assert bool((found.rotated.draws <= found.law.bound + 1e-12)[:, pair].all())
        assert bool((found.share[pair] <= 1).all())


def test_heads_of_zeros_are_not_tested(generator):
    found = composition(weights_of(add_idle_heads(random_model(SMALL))), "Q", generator, draws=30)
    for at in ((0, 2, 1, 0), (0, 0, 1, 2), (0, 2, 2, 2)):
        assert float(found.score[at]) == 0
        for each in (found.p_above, found.p_below, found.share):
            assert each[at].isnan()
    assert found.p_above[0, 0, 1, 1].isfinite()


def test_permuted_and_idle_heads_permute_and_add_zeros():
    model = random_model(SMALL)
    w = weights_of(model)
    order = torch.tensor([[1, 0], [0, 1], [1, 0]])
    permuted = composition_scores(weights_of(permute_heads(model, order)), "Q")
    for (l1, h1), (l2, h2) in pairs(w):
        expected = composition_scores(w, "Q")[l1, order[l1, h1], l2, order[l2, h2]]
        assert float(permuted[l1, h1, l2, h2]) == pytest.approx(float(expected), abs=1e-14)
    idle = composition_scores(weights_of(add_idle_heads(model)), "Q")
    assert idle[0, 2, 1, 0] == idle[0, 0, 1, 2] == idle[0, 2, 2, 2] == 0
    assert torch.allclose(idle[:, :2, :, :2], composition_scores(w, "Q"), equal_nan=True)


def test_rotated_scores_have_the_mean_square_and_variance_of_a_haar_rotation(generator):
    d, draws = 12, 20000
    a = torch.rand(1, 1, 3, generator=generator, dtype=torch.float64).pow(3)
    b = torch.rand(1, 1, 4, generator=generator, dtype=torch.float64).pow(3)
    a, b = a / a.sum(), b / b.sum()
    squared = rotated_scores(a, b, d, generator, draws).flatten().square()
    p_a, p_b = float(a.square().sum()), float(b.square().sum())
    variance = 2 * (p_a - 1 / d) * (p_b - 1 / d) / ((d - 1) * (d + 2))
    assert float(squared.mean()) == pytest.approx(1 / d, abs=4 * (variance / draws) ** 0.5)
    assert float(squared.var()) == pytest.approx(variance, rel=0.1)


def test_rotated_scores_are_scores_of_rotated_matrices(generator):
    # Of the same law as scores computed from matrices with a rotation put in between.
    w = weights_of(random_model(dataclasses.replace(SMALL, n_layers=2, n_heads=1)))
    left, right = w.W_V[0, 0] @ w.W_O[0, 0], w.W_K[1, 0] @ w.W_Q[1, 0].T
    by_hand = []
    for _ in range(2000):
        q, r = torch.linalg.qr(torch.randn(10, 10, generator=generator, dtype=torch.float64))
        by_hand.append(float((left @ (q * r.diagonal().sign()) @ right).norm() / (left.norm() * right.norm())))
    drawn = composition(w, "K", generator, draws=2000).rotated.draws[:, 0, 0, 1, 0]
    assert stats.ks_2samp(by_hand, drawn.numpy()).pvalue > 0.01


def test_sampled_scores_are_those_of_normal_factors_with_the_analytic_root_mean_square(generator):
    scores = sampled_scores(16, 4, generator, 1500)
    factors = torch.randn(4, 1500, 16, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for score, v, o, q, k in zip(scores[:5], *factors[:, :5], strict=True):
        dense = (v @ o.T @ q @ k.T).norm() / ((v @ o.T).norm() * (q @ k.T).norm())
        assert float(score) == pytest.approx(float(dense), abs=1e-12)
    assert float(scores.square().mean().sqrt()) == pytest.approx(0.25, rel=0.02)


def test_everything_is_reported_beside_the_score(generator):
    w = weights_of(random_model(SMALL))
    result = composition(w, "V", generator, draws=50)
    assert torch.equal(result.score.isnan(), composition_scores(w, "V").isnan())
    assert torch.equal(result.rotated.draws[7].isnan(), result.score.isnan())
    assert result.baseline == pytest.approx(10**-0.5)
    written = result.to_dict()
    assert written["score"][1][0][0][0] is None
    assert written["score"][0][1][2][0] == pytest.approx(float(result.score[0, 1, 2, 0]))
    assert written["p"][0][1][2][0] == pytest.approx(float(result.rotated.p_values()[0, 1, 2, 0]))
    assert (written["sampled"]["n"], written["n_draws"], written["offsets"]) == (50, 50, None)
    for name in ("p_above", "p_below", "share"):
        assert written[name][0][1][2][0] == pytest.approx(float(getattr(result, name)[0, 1, 2, 0]))
        assert written[name][2][0][0][0] is None
    assert written["bound"][0][1][2][0] == pytest.approx(float(result.law.bound[0, 1, 2, 0]))


def test_a_spectrum_of_nothing_is_zero():
    assert spectrum(torch.zeros(1, 1, 2, 3)).tolist() == [[[0, 0]]]


def test_rotary_scores_are_those_of_their_offset():
    w = weights_of(random_model(dataclasses.replace(SMALL, positions="rotary")))
    for kind in KINDS:
        for offset in (0, 3):
            scores = composition_scores(w, kind, offset)
            for earlier, later in pairs(w):
                expected = dense_score(w, earlier, later, kind, offset)
                assert float(scores[earlier + later]) == pytest.approx(expected, abs=1e-12)
    assert float((composition_scores(w, "K", 0) - composition_scores(w, "K", 3)).nan_to_num(0).abs().max()) > 0.01


def test_several_offsets_give_the_root_mean_square_with_the_same_baseline(generator):
    w = weights_of(random_model(dataclasses.replace(SMALL, positions="rotary")))
    for kind in KINDS[:2]:
        each = torch.stack([composition_scores(w, kind, offset) for offset in range(9)])
        together = composition(w, kind, generator, draws=400, offsets=range(9))
        assert torch.allclose(together.score, each.square().mean(0).sqrt(), atol=1e-12, equal_nan=True)
        assert together.offsets == tuple(range(9))
        assert together.by_offset is not None
        assert torch.allclose(together.by_offset, each, atol=1e-12, equal_nan=True)
        squares = together.rotated.draws[:, 0, 0, 1, 0].square()
        assert float(squares.mean()) == pytest.approx(0.1, abs=4 * float(squares.std()) / 20)
    values = composition(w, "V", generator, draws=2)
    assert (values.offsets, values.by_offset) == (None, None)
    assert torch.equal(
        composition_by_offset(w, "V", [1, 2])[1].nan_to_num(-1), composition_scores(w, "V").nan_to_num(-1)
    )


def test_rotary_composition_without_offsets_is_refused(generator):
    w = weights_of(random_model(dataclasses.replace(SMALL, positions="rotary")))
    for kind in KINDS[:2]:
        for offsets in (None, ()):
            with pytest.raises(InputError, match=f"{kind}-composition depends on dest - src: pass offsets"):
                composition_scores(w, kind, offsets)
    with pytest.raises(InputError, match=r"0\.\.8, got 9"):
        composition_scores(w, "K", 9)
    assert composition_scores(w, "V").isfinite().any()


def test_draws_and_weights_that_cannot_be_are_refused(generator):
    w = weights_of(random_model(SMALL))
    broken = dataclasses.replace(w, W_K=w.W_K.index_fill(2, torch.tensor([3]), float("nan")))
    with pytest.raises(InputError, match="W_K holds NaN or infinity"):
        composition(broken, "Q", generator)
    with pytest.raises(InputError, match="at least 2 draws, got 1"):
        composition(w, "K", generator, draws=1)


def test_models_of_one_layer_or_none_have_no_pairs(generator):
    for n_layers in (0, 1):
        w = weights_of(random_model(dataclasses.replace(SMALL, n_layers=n_layers)))
        assert not bool(composition(w, "K", generator, draws=3).score.isfinite().any())
