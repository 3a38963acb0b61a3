"""The ratios by Gram matrices: equal to the products, also where they cancel, in bands, and in float32."""

import dataclasses

import pytest
import torch

from interp.composition import composition_scores
from interp.composition import scores as module
from interp.composition.scores import Side, bands, by_grams, multiplied, pair_scores, squared_scores
from interp.weights import weights_of
from tests.reference_transformer import random_model
from toy_models.config import TransformerConfig

WIDE = TransformerConfig(n_layers=3, n_heads=2, d_model=30, d_head=6, d_vocab=11, n_ctx=9, normalization="LN")
LATER = torch.tensor([[True] * 4] * 2 + [[False, False, True, True]] * 2)


def side(generator, k=4, n=5, d_model=16, heads=4):
    """Two layers of two heads."""
    outer = torch.randn(heads, k, d_model, generator=generator, dtype=torch.float64)
    return Side(outer, torch.randn(heads, n, k, generator=generator, dtype=torch.float64))


def dense(left: Side, right: Side):
    """Squared ratios of the matrices written out."""
    a, b = left.other @ left.outer, right.other @ right.outer
    ratio = [[(x @ y.T).norm() / (x.norm() * y.norm()) for y in b] for x in a]
    return torch.tensor(ratio, dtype=torch.float64).square()


@pytest.mark.parametrize("k, n", [(1, 3), (4, 5), (8, 20), (8, 3)])
def test_squared_scores_are_those_of_the_matrices_written_out(k, n, generator):
    left, right = side(generator, k, n), side(generator, k, n)
    found = squared_scores(left, right, 2)
    assert torch.allclose(found[LATER], dense(left, right)[LATER], rtol=1e-10)
    assert torch.allclose(multiplied(left, right, LATER)[LATER], dense(left, right)[LATER], rtol=1e-10)


@pytest.mark.parametrize("n_heads", [1, 2, 4])
def test_inner_products_of_gram_matrices_are_whole_for_later_layers(n_heads, generator):
    left, right = side(generator).outer, side(generator).outer
    found = by_grams(left, left, right, right, n_heads)
    exact = torch.stack([torch.stack([(a @ b.T).square().sum() for b in right]) for a in left])
    layers = torch.arange(4) // n_heads
    later = layers[:, None] <= layers
    assert torch.allclose(found[later], exact[later])


@pytest.mark.parametrize("band, height", [(1, 64), (200, 64), (10**6, 3), (10**6, 64)])
def test_bands_of_any_height_give_the_same(band, height, generator, monkeypatch):
    left, right = side(generator), side(generator)
    monkeypatch.setattr(module, "BAND", band)
    monkeypatch.setattr(module, "HEIGHT", height)
    assert torch.allclose(squared_scores(left, right, 2)[LATER], dense(left, right)[LATER], rtol=1e-10)


def test_bands_never_hold_more_rows_than_they_may(generator):
    outer = side(generator).outer
    for height in (1, 5, 16):
        parts = list(bands(outer, outer, height))
        assert max(part.shape[1] for part, _ in parts) <= height * 16
        assert sum(times * float(part.square().sum()) for part, times in parts) == pytest.approx(
            float((outer.mT @ outer).square().sum())
        )


def test_products_that_cancel_are_multiplied_out(generator):
    # Orthogonal up to 1e-6: the Gram matrices' inner product loses all digits in float32, the product none.
    basis = torch.linalg.qr(torch.randn(24, 24, generator=generator, dtype=torch.float64)).Q
    eye = torch.eye(8).expand(1, 8, 8)
    left = Side(basis[:8].float()[None], eye)
    right = Side((basis[8:16] + 1e-6 * basis[:8]).float()[None], eye)
    exact = float((left.outer.double() @ right.outer.double().mT).square().sum()) / 64
    assert float(squared_scores(left, right, 1)) == pytest.approx(exact, rel=1e-2)
    by_gram = float(by_grams(left.outer, left.outer, right.outer, right.outer, 1)) / 64
    assert abs(by_gram - exact) > 10 * exact


def test_matrices_that_cancel_themselves_are_multiplied_out(generator):
    # other = [A + small, -A] and outer = [B; B]: a product of size 1e-4 from factors of size 1.
    right, A = side(generator), side(generator)
    small = 1e-4 * torch.randn(4, 5, 4, generator=generator, dtype=torch.float64)
    left = Side(torch.cat([A.outer, A.outer], 1).float(), torch.cat([A.other + small, -A.other], 2).float())
    exact = dense(Side(left.outer.double(), left.other.double()), right)
    found = squared_scores(left, Side(right.outer.float(), right.other.float()), 2)
    assert torch.allclose(found[LATER].double(), exact[LATER], rtol=2e-2)


def test_float32_scores_agree_with_float64_to_a_millionth():
    w = weights_of(random_model(WIDE))
    for kind in ("Q", "K", "V"):
        exact, rounded = composition_scores(w, kind), composition_scores(w.to(dtype=torch.float32), kind)
        assert rounded.dtype == torch.float32
        assert float((exact - rounded).abs().nan_to_num(0).max()) <= 1e-6


def test_no_pair_is_computed_from_a_later_to_an_earlier_head(generator):
    def three_layers(seed):
        made = [side(torch.Generator().manual_seed(seed + i), heads=2) for i in range(3)]
        return Side(torch.stack([s.outer for s in made]), torch.stack([s.other for s in made]))

    left, right = three_layers(0), three_layers(10)
    reference = pair_scores(left, right)
    left.outer[2], right.outer[0] = float("nan"), float("nan")
    assert torch.equal(pair_scores(left, right).nan_to_num(-1), reference.nan_to_num(-1))
    assert reference[0, 1, 2, 0].isfinite()


def test_weights_are_not_changed():
    w = weights_of(random_model(dataclasses.replace(WIDE, positions="rotary")))
    before = {name: tensor.clone() for name, tensor in w.tensors().items()}
    composition_scores(w, "K", offsets=[0, 3])
    assert all(torch.equal(before[name], tensor) for name, tensor in w.tensors().items())
