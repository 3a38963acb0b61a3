import dataclasses

import pytest
import torch
from scipy import stats

from interp.composition import composition_pieces, composition_scores
from interp.composition.pieces import largest_pieces
from interp.errors import InputError
from interp.weights import weights_of
from tests.reference_transformer import random_model
from toy_models.config import TransformerConfig
from toy_models.handmade.catalogue import make
from toy_models.handmade.transforms import add_idle_heads

SMALL = TransformerConfig(n_layers=3, n_heads=2, d_model=10, d_head=4, d_vocab=11, n_ctx=9, normalization="LN")


@pytest.mark.parametrize("kind", ["Q", "K", "V"])
def test_the_squares_of_the_pieces_add_up_to_the_squared_score(kind, generator):
    w = weights_of(random_model(SMALL))
    scores = composition_scores(w, kind)
    for earlier, later in (((0, 1), (1, 0)), ((0, 0), (2, 1)), ((1, 1), (2, 0))):
        pieces = composition_pieces(w, earlier, later, kind, generator, draws=2)
        assert pieces.score == pytest.approx(float(scores[earlier + later]), abs=1e-12)
        assert float(pieces.value.square().sum()) == pytest.approx(float(scores[earlier + later]) ** 2, abs=1e-12)
        assert sum(piece.share for piece in pieces.top(1000)) == pytest.approx(1)


def test_each_piece_is_the_product_of_two_rank_1_pieces(generator):
    w = weights_of(random_model(SMALL))
    OV, QK = w.W_V[0, 1] @ w.W_O[0, 1], w.W_Q[2, 0] @ w.W_K[2, 0].T
    x, sigma, u = torch.linalg.svd(OV)
    v, tau, y = torch.linalg.svd(QK)
    found = composition_pieces(w, (0, 1), (2, 0), "Q", generator, draws=2)
    for i, j in ((0, 0), (1, 3), (3, 2)):
        first, second = sigma[i] * torch.outer(x[:, i], u[i]), tau[j] * torch.outer(v[:, j], y[j])
        size = (first @ second).norm() / (OV.norm() * QK.norm())
        assert float(found.value[i, j]) == pytest.approx(float(size), abs=1e-12)
        assert float(found.cosine[i, j]) == pytest.approx(float((u[i] @ v[:, j]).abs()), abs=1e-12)


def test_the_largest_come_first_with_their_places(generator):
    found = composition_pieces(weights_of(random_model(SMALL)), (0, 0), (1, 1), "K", generator, draws=9)
    top = found.top(3)
    assert [piece.value for piece in top] == sorted(found.value.flatten().tolist(), reverse=True)[:3]
    assert all(float(found.value[piece.write, piece.read]) == piece.value for piece in top)
    assert float(found.largest.value) == top[0].value
    assert [each["write"] for each in found.to_dict(2)["top"]] == [piece.write for piece in top[:2]]


def test_one_planted_channel_is_found_beyond_its_null(generator):
    w = weights_of(random_model(dataclasses.replace(SMALL, d_model=24)))
    before = composition_pieces(w, (0, 0), (1, 0), "K", generator, draws=199)
    assert float(before.largest.p_values()) > 0.02
    written = torch.linalg.svd(w.W_V[0, 0] @ w.W_O[0, 0]).Vh[2]
    W_K = w.W_K.clone()
    W_K[1, 0] += 12 * torch.outer(written, torch.linalg.svd(w.W_Q[1, 0]).Vh[0])
    after = composition_pieces(dataclasses.replace(w, W_K=W_K), (0, 0), (1, 0), "K", generator, draws=199)
    (best,) = after.top(1)
    assert (best.write, best.read) == (2, 0)
    assert best.cosine > 0.8
    assert float(after.largest.p_values()) <= 0.01


def test_the_handmade_channel_is_spread_evenly_over_tokens(generator):
    found = composition_pieces(weights_of(make("induction_k").model), (0, 0), (1, 0), "K", generator, draws=2)
    sizes = found.value.flatten().sort(descending=True).values
    assert sizes[:16].tolist() == pytest.approx([1 / 16] * 16)
    assert float(sizes[16:].abs().max()) <= 1e-12


def test_the_null_is_the_largest_piece_of_rotated_matrices(generator):
    sigma, tau, d = torch.tensor([0.9, 0.4]).double(), torch.tensor([0.8, 0.5, 0.3]).double(), 7
    by_hand = []
    for _ in range(1500):
        U = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64)).Q[:2, :3]
        by_hand.append(float((sigma[:, None] * U.abs() * tau).max()))
    drawn = largest_pieces(sigma, tau, d, generator, 1500)
    assert stats.ks_2samp(by_hand, drawn.numpy()).pvalue > 0.01


def test_p_values_of_the_largest_piece_are_uniform_for_random_models(generator):
    config = dataclasses.replace(SMALL, n_layers=2, n_heads=1, n_ctx=4, d_vocab=5)
    p = [
        float(
            composition_pieces(
                weights_of(random_model(config, s)), (0, 0), (1, 0), "V", generator, 99
            ).largest.p_values()
        )
        for s in range(150)
    ]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_a_head_of_zeros_has_no_pieces(generator):
    w = weights_of(add_idle_heads(random_model(SMALL)))
    found = composition_pieces(w, (0, 2), (1, 0), "K", generator, draws=3)
    assert (found.score, found.top()) == (0, [])


def test_pieces_that_cannot_be_are_refused(generator):
    w = weights_of(random_model(SMALL))
    with pytest.raises(InputError, match="L1H0 is not in an earlier layer than L1H1"):
        composition_pieces(w, (1, 0), (1, 1), "K", generator)
    with pytest.raises(InputError, match="L3H0"):
        composition_pieces(w, (0, 0), (3, 0), "K", generator)
    with pytest.raises(InputError, match="at least 2 draws, got 1"):
        composition_pieces(w, (0, 0), (1, 0), "K", generator, draws=1)
    rotary = weights_of(random_model(dataclasses.replace(SMALL, positions="rotary")))
    with pytest.raises(InputError, match="depends on dest - src"):
        composition_pieces(rotary, (0, 0), (1, 0), "K", generator)
    at_3 = composition_pieces(rotary, (0, 0), (1, 0), "K", generator, draws=2, offset=3)
    assert at_3.score == pytest.approx(float(composition_scores(rotary, "K", 3)[0, 0, 1, 0]))
