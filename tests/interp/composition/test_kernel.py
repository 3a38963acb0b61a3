import dataclasses

import pytest
import torch
from scipy import stats

from interp.composition import projection_kernel
from interp.composition.kernel import random_moments
from interp.errors import InputError
from interp.weights import weights_of
from tests.reference_transformer import random_model
from toy_models.config import TransformerConfig
from toy_models.handmade.catalogue import make
from toy_models.handmade.transforms import add_idle_heads, change_head_basis

SMALL = TransformerConfig(n_layers=3, n_heads=2, d_model=12, d_head=4, d_vocab=11, n_ctx=9, normalization="LN")
KINDS = ("Q", "K", "V")


def integers(*values):
    return torch.tensor(values)


@pytest.mark.parametrize("r, s, d", [(2, 3, 8), (4, 4, 10), (1, 6, 8), (5, 7, 9)])
def test_random_spaces_of_different_dimensions_have_the_stated_moments(r, s, d, generator):
    n = 20000
    frames = torch.linalg.qr(torch.randn(n, d, s, generator=generator, dtype=torch.float64)).Q
    kernels = frames[:, :r].square().sum((1, 2))
    mean, std = (float(each) for each in random_moments(integers(r), integers(s), d))
    assert float(kernels.mean()) == pytest.approx(mean, abs=4 * std / n**0.5)
    assert float(kernels.var()) == pytest.approx(std**2, rel=0.06)


def test_moments_equal_transformer_lens_where_ranks_are_equal():
    from transformer_lens.tools.analysis.projection_kernel import random_projection_kernel_moments

    for rank, d in ((1, 2), (3, 10), (16, 64), (64, 64)):
        theirs = random_projection_kernel_moments(d, rank)
        mean, std = random_moments(integers(rank), integers(rank), d)
        assert (float(mean), float(std) ** 2) == pytest.approx((theirs.mean, theirs.variance))


def test_kernels_equal_transformer_lens():
    from transformer_lens.tools.analysis.projection_kernel import orthonormal_subspace
    from transformer_lens.tools.analysis.projection_kernel import projection_kernel as theirs

    w = weights_of(random_model(SMALL))
    for kind, reads in zip(KINDS, (w.W_Q, w.W_K, w.W_V), strict=True):
        found = projection_kernel(w, kind, torch.Generator().manual_seed(0), draws=2)
        for earlier, later in (((0, 1), (1, 0)), ((0, 0), (2, 1)), ((1, 1), (2, 0))):
            expected = theirs(orthonormal_subspace(w.W_O[earlier].T), orthonormal_subspace(reads[later])).score
            assert float(found.kernel[earlier + later]) == pytest.approx(float(expected), abs=1e-10)
        assert found.kernel[1, 0, 0, 0].isnan()


def test_ranks_are_found_numerically_and_enter_the_moments(generator):
    w = weights_of(random_model(SMALL))
    W_O, W_K = w.W_O.clone(), w.W_K.clone()
    W_O[0, 1, 3] = W_O[0, 1, 0] - 2 * W_O[0, 1, 1]
    W_K[2, 0, :, 2:] = 1e-16 * W_K[2, 0, :, 2:]
    found = projection_kernel(dataclasses.replace(w, W_O=W_O, W_K=W_K), "K", generator, draws=2)
    assert found.written.tolist() == [[4, 3], [4, 4], [4, 4]]
    assert found.read.tolist() == [[4, 4], [4, 4], [2, 4]]
    assert float(found.mean[0, 1, 2, 0]) == pytest.approx(3 * 2 / 12)
    assert float(found.largest[0, 1, 2, 0]) == 2
    written, read = torch.linalg.svd(W_O[0, 1]).Vh[:3], torch.linalg.svd(W_K[2, 0]).U[:, :2]
    assert float(found.kernel[0, 1, 2, 0]) == pytest.approx(float((written @ read).square().sum()))
    z = (float(found.kernel[0, 1, 2, 0]) - 0.5) / float(found.std[0, 1, 2, 0])
    assert float(found.z[0, 1, 2, 0]) == pytest.approx(z)


def test_the_handmade_space_is_read_whole(generator):
    found = projection_kernel(weights_of(make("induction_k").model), "K", generator)
    at = (0, 0, 1, 0)
    assert float(found.kernel[at]) == pytest.approx(float(found.largest[at])) == pytest.approx(16)
    assert float(found.p_above[at]) < 1e-12 < float(found.p_below[at]) == 1
    other = projection_kernel(weights_of(make("induction_k").model), "V", generator)
    assert float(other.kernel[at]) == pytest.approx(0, abs=1e-12)
    assert float(other.p_below[at]) < 1e-6 < float(other.p_above[at]) == 1


def test_p_values_of_random_models_are_uniform():
    config = dataclasses.replace(SMALL, n_layers=2, n_heads=1, n_ctx=4, d_vocab=5)
    p = []
    for seed in range(300):
        w, generator = weights_of(random_model(config, seed)), torch.Generator().manual_seed(10_000 + seed)
        p.append(float(projection_kernel(w, KINDS[seed % 3], generator, 100).p_above[0, 0, 1, 0]))
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_kernels_do_not_depend_on_the_basis_inside_heads(generator):
    model = random_model(dataclasses.replace(SMALL, normalization="none", positions="none"))
    turned = change_head_basis(model, torch.Generator().manual_seed(4))
    for kind in KINDS:
        a, b = (projection_kernel(weights_of(m), kind, generator, draws=2).kernel for m in (model, turned))
        assert torch.allclose(a, b, atol=1e-10, equal_nan=True)


def test_heads_of_zeros_overlap_nothing_and_are_not_tested(generator):
    found = projection_kernel(weights_of(add_idle_heads(random_model(SMALL))), "Q", generator, draws=30)
    assert int(found.written[0, 2]) == int(found.read[1, 2]) == 0
    for at in ((0, 2, 1, 0), (0, 0, 1, 2)):
        assert (float(found.kernel[at]), float(found.mean[at])) == (0, 0)
        assert found.p_above[at].isnan()
        assert found.z[at].isnan()
    assert found.to_dict()["p_above"][0][2][1][0] is None


def test_spaces_as_large_as_the_stream_always_overlap_whole(generator):
    w = weights_of(random_model(dataclasses.replace(SMALL, d_model=4, normalization="none")))
    found = projection_kernel(w, "V", generator, draws=30)
    assert float(found.kernel[0, 0, 1, 0]) == pytest.approx(4)
    assert (float(found.p_above[0, 0, 1, 0]), float(found.p_below[0, 0, 1, 0])) == (1, 1)


def test_kernels_that_cannot_be_are_refused(generator):
    w = weights_of(random_model(SMALL))
    with pytest.raises(InputError, match="at least 2 draws, got 1"):
        projection_kernel(w, "K", generator, draws=1)
    with pytest.raises(InputError, match="W_O holds NaN or infinity"):
        projection_kernel(dataclasses.replace(w, W_O=w.W_O / 0), "K", generator)
    rotary = weights_of(random_model(dataclasses.replace(SMALL, positions="rotary")))
    with pytest.raises(InputError, match="depends on dest - src"):
        projection_kernel(rotary, "K", generator)
