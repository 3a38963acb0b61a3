"""The ratios by Gram matrices: equal to the products, also where they cancel, in bands, and in float32."""

import dataclasses

import pytest
import torch

from interp import composition_scores as module
from interp.composition import composition_scores
from interp.composition_scores import bands, pair_scores, squared_products
from interp.weights import weights_of
from tests.reference_transformer import random_model
from toy_models.config import TransformerConfig

WIDE = TransformerConfig(n_layers=3, n_heads=2, d_model=30, d_head=6, d_vocab=11, n_ctx=9, normalization="LN")


def factors(generator, n_early=4, n_late=3, rows=5, columns=4, d_model=16):
    left = torch.randn(n_early, rows, d_model, generator=generator, dtype=torch.float64)
    return left, torch.randn(n_late, columns, d_model, generator=generator, dtype=torch.float64)


def products(left, right):
    return torch.stack([torch.stack([(a @ b.T).square().sum() for b in right]) for a in left])


@pytest.mark.parametrize("rows, columns", [(1, 1), (5, 4), (8, 12)])
def test_squared_products_are_those_of_the_products(rows, columns, generator):
    left, right = factors(generator, rows=rows, columns=columns)
    assert torch.allclose(squared_products(left, right), products(left, right), rtol=1e-12)


@pytest.mark.parametrize("band", [1, 100, 500])
def test_memory_for_bands_of_any_height_gives_the_same(band, generator, monkeypatch):
    left, right = factors(generator)
    monkeypatch.setattr(module, "BAND", band)
    assert torch.allclose(squared_products(left, right), products(left, right), rtol=1e-12)


def test_bands_hold_every_entry_of_the_gram_matrices_once_or_doubled(generator):
    left, _ = factors(generator)
    gram = left.mT @ left
    squares = sum(band.square().sum(1) for band in bands(left, 5))
    assert torch.allclose(squares, gram.square().sum((1, 2)))


def test_products_that_cancel_are_multiplied_out(generator):
    # Orthogonal up to 1e-6: the Gram matrices' inner product loses all digits in float32, the product none.
    basis = torch.linalg.qr(torch.randn(24, 24, generator=generator, dtype=torch.float64)).Q
    left, right = basis[:8], basis[8:16] + 1e-6 * basis[:8]
    exact = float((left @ right.T).square().sum())
    found = squared_products(left.float()[None], right.float()[None])
    assert float(found) == pytest.approx(exact, rel=0.2)
    by_gram = sum(a @ b.mT for a, b in zip(bands(left.float()[None], 9), bands(right.float()[None], 9), strict=True))
    assert abs(float(by_gram) - exact) > 10 * exact


def test_float32_scores_agree_with_float64_to_a_millionth():
    w = weights_of(random_model(WIDE))
    for kind in ("Q", "K", "V"):
        exact, rounded = composition_scores(w, kind), composition_scores(w.to(dtype=torch.float32), kind)
        assert rounded.dtype == torch.float32
        assert float((exact - rounded).abs().nan_to_num(0).max()) <= 1e-6


def test_no_pair_is_computed_from_a_later_to_an_earlier_head(generator):
    left = torch.randn(3, 2, 4, 16, generator=generator)
    right = torch.randn(3, 2, 16, 4, generator=generator)
    reference = pair_scores(left, right)
    left[2], right[0] = float("nan"), float("nan")
    assert torch.equal(pair_scores(left, right).nan_to_num(-1), reference.nan_to_num(-1))


def test_weights_are_not_changed():
    w = weights_of(random_model(dataclasses.replace(WIDE, positions="rotary")))
    before = {name: tensor.clone() for name, tensor in w.tensors().items()}
    composition_scores(w, "K", offsets=[0, 3])
    assert all(torch.equal(before[name], tensor) for name, tensor in w.tensors().items())
