"""The closed form of the null: its moments, its limits, its tails, and the p-values that rest on them."""

import dataclasses

import pytest
import torch
from scipy import stats

from interp.composition import RotationLaw, composition
from interp.composition.measure import rotated_scores
from interp.composition.p_values import rotation_p_values
from interp.composition.tail import WeightedSum, log_tails
from interp.weights import weights_of
from tests.reference_transformer import random_model
from toy_models.config import TransformerConfig

SMALL = TransformerConfig(
    n_layers=2, n_heads=1, d_model=10, d_head=4, d_vocab=11, n_ctx=9, positions="standard", normalization="LN"
)
SPECTRA = {
    "flat": ([1, 1, 1, 1], [1, 1, 1], 12),
    "steep": ([1, 0.3, 0.1, 0.02], [1, 0.4, 0.2], 12),
    "wide": ([1, 1, 1, 1, 1, 1, 1, 0.5], [1, 1, 1, 1, 1, 1, 0.9, 0.9], 10),
    "one wide": ([1, 1, 1, 1, 1, 1, 1, 0.5], [1, 0.4, 0.2], 10),
    "single": ([1], [1], 8),
}


def shares(values) -> torch.Tensor:
    values = torch.tensor(values, dtype=torch.float64)
    return (values / values.sum())[None, None]


def law_of(name: str) -> RotationLaw:
    left, right, d_model = SPECTRA[name]
    return RotationLaw(shares(left), shares(right), d_model)


def first_pair(n: int) -> tuple[torch.Tensor, ...]:
    return tuple(torch.zeros(4, n, dtype=torch.long))


def draw(law: RotationLaw, generator, n: int) -> torch.Tensor:
    return rotated_scores(law.left, law.right, law.d_model, generator, n).flatten()


@pytest.mark.parametrize("name", SPECTRA)
def test_mean_variance_and_third_moment_are_those_of_haar_rotations(name, generator):
    law = law_of(name)
    squares, n = draw(law, generator, 60000).square(), 60000
    deviations = squares - 1 / law.d_model
    for power, stated in ((1, 0.0), (2, law.variance.item()), (3, law.third.item())):
        sample = deviations.pow(power)
        assert abs(float(sample.mean()) - stated) <= 4 * float(sample.std()) / n**0.5
    # and each is told apart from nothing by the sample
    assert law.variance.item() > 20 * float(deviations.square().std()) / n**0.5


def test_a_variance_is_the_published_one_and_none_is_left_when_one_matrix_is_a_rotation():
    law = law_of("steep")
    p_a, p_b, d = float(law.left.square().sum()), float(law.right.square().sum()), 12
    assert law.variance.item() == pytest.approx(2 * (p_a - 1 / d) * (p_b - 1 / d) / ((d - 1) * (d + 2)))
    assert RotationLaw(shares([1] * 5), shares([3, 1]), 5).variance.item() == pytest.approx(0, abs=1e-15)
    assert RotationLaw(shares([1]), shares([1]), 1).variance.item() == 0


@pytest.mark.parametrize("name", SPECTRA)
def test_no_rotation_leaves_the_bounds_and_two_attain_them(name, generator):
    law = law_of(name)
    left, right, d = SPECTRA[name]
    A = torch.zeros(d, d, dtype=torch.float64)
    A[range(len(left)), range(len(left))] = torch.tensor(left, dtype=torch.float64).sqrt()
    B, opposite = torch.zeros_like(A), torch.zeros_like(A)
    B[range(len(right)), range(len(right))] = torch.tensor(right, dtype=torch.float64).sqrt()
    places = [d - 1 - i for i in range(len(right))]
    opposite[places, places] = torch.tensor(right, dtype=torch.float64).sqrt()
    assert law.bound.item() == pytest.approx(float((A @ B).norm() / (A.norm() * B.norm())))
    assert law.floor.item() == pytest.approx(float((A @ opposite).norm() / (A.norm() * B.norm())))
    scores = draw(law, generator, 3000)
    assert law.floor.item() - 1e-12 <= float(scores.min()) <= float(scores.max()) <= law.bound.item() + 1e-12


def test_the_bound_of_perfectly_aligned_flat_matrices_is_one_over_the_root_of_their_rank():
    assert RotationLaw(shares([1] * 16), shares([1] * 16), 64).bound.item() == pytest.approx(0.25)


def test_tails_of_weighted_sums_are_those_of_chi_square():
    weights, one = torch.full((5, 7), 0.5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    x = torch.tensor([0.2, 1.5, 3.5, 12.0, 40.0], dtype=torch.float64)
    above, below = log_tails(x, WeightedSum(weights, one, one, 0 * one))
    exact = stats.chi2(7, scale=0.5)
    assert above.numpy() == pytest.approx(exact.logsf(x), abs=0.02)
    assert below.numpy() == pytest.approx(exact.logcdf(x), abs=0.02)


def test_a_negative_scale_turns_the_law_around_and_a_shift_moves_it():
    weights, one = torch.tensor([[1.0, 0.3, 0.1]], dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    x = torch.tensor([2.2], dtype=torch.float64)
    above, below = log_tails(x, WeightedSum(weights, one, 2 * one, 0 * one))
    turned = log_tails(5 - x, WeightedSum(weights, one, -2 * one, 5 * one))
    assert (float(turned[0]), float(turned[1])) == pytest.approx((float(below), float(above)))


def test_tails_near_the_mean_join_smoothly():
    weights, one = torch.tensor([[1.0, 0.5, 0.25]], dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    x = 1.75 + torch.linspace(-0.02, 0.02, 81, dtype=torch.float64)
    found = [float(log_tails(each[None], WeightedSum(weights, one, one, 0 * one))[0]) for each in x]
    steps = -torch.tensor(found).diff()
    assert float(steps.min()) > 0.7 * float(steps.max()) > 0


def test_what_lies_beyond_the_support_has_a_tiny_probability_and_no_nan():
    weights, one = torch.tensor([[1.0, 0.5]], dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    above, below = log_tails(-one, WeightedSum(weights, one, one, 0 * one))
    assert float(above) == pytest.approx(0, abs=1e-6)
    assert float("-inf") < float(below) < -15


@pytest.mark.parametrize("rank, decay, d_model", [(16, 1.0, 64), (16, 0.8, 64), (16, 0.6, 64), (32, 0.9, 64)])
def test_the_law_alone_is_calibrated_far_into_both_tails_at_the_sizes_of_a_toy(rank, decay, d_model, generator):
    law = RotationLaw(shares([decay**i for i in range(rank)]), shares([decay**i for i in range(rank)]), d_model)
    squares, n = draw(law, generator, 25000).square(), 25000
    for level in (0.2, 0.05, 0.01, 0.002):
        slack = 3.5 * (level / n) ** 0.5
        for upper in (True, False):
            edge = squares.quantile(1 - level if upper else level)[None]
            stated = float(law.log_tails(edge, first_pair(1))[0 if upper else 1].exp())
            assert 0.85 * level - slack <= stated <= 1.35 * level + slack, (level, upper, stated)


@pytest.mark.parametrize("name", SPECTRA)
def test_p_values_of_rotations_are_at_most_as_small_as_they_say_even_where_draws_run_out(name, generator):
    law, n = law_of(name), 20000
    scores, draws = draw(law, generator, n), draw(law, generator, 600)[:, None, None, None, None]
    many = RotationLaw(law.left.expand(1, n, -1), law.right, law.d_model)
    both = rotation_p_values(scores.view(1, n, 1, 1), many, draws.expand(600, 1, n, 1, 1), 1e-12)
    for p in both:
        for level in (0.2, 0.05, 0.01, 0.001):
            share = float((p <= level).double().mean())
            # the draws are one sample for all: the level they stand for is itself uncertain
            assert share <= level + 4 * (level / 600 + level / n) ** 0.5, (level, share)


def p_values_of_models(models: int, decay: float, draws: int):
    """p above and below of the only pair of independently drawn models, kinds in turn."""
    above, below = [], []
    config = dataclasses.replace(SMALL, d_model=16, n_ctx=4, d_vocab=5)
    for seed in range(models):
        w = weights_of(random_model(config, seed))
        shrink = decay ** torch.arange(4, dtype=torch.float64)
        w = dataclasses.replace(w, W_V=w.W_V * shrink, W_Q=w.W_Q * shrink)
        found = composition(w, ("Q", "K", "V")[seed % 3], torch.Generator().manual_seed(10_000 + seed), draws)
        above.append(float(found.p_above[0, 0, 1, 0]))
        below.append(float(found.p_below[0, 0, 1, 0]))
    return above, below


@pytest.mark.parametrize("decay", [1.0, 0.3])
def test_p_values_of_300_random_models_are_uniform(decay):
    above, below = p_values_of_models(300, decay, draws=200)
    assert stats.kstest(above, "uniform").pvalue > 0.01
    assert stats.kstest(below, "uniform").pvalue > 0.01
    assert stats.spearmanr(above, below).statistic < -0.99


def test_p_values_of_random_models_by_the_law_alone_are_uniform_too():
    above, below = p_values_of_models(300, 1.0, draws=10)
    assert stats.kstest(above, "uniform").pvalue > 0.01
    assert stats.kstest(below, "uniform").pvalue > 0.01


def test_where_draws_run_out_p_values_go_on_falling_without_a_step(generator):
    law, n = RotationLaw(shares([1] * 8), shares([1] * 8), 32), 60
    draws = draw(law, generator, 1000)[:, None, None, None, None]
    scores = torch.linspace(0.17, 0.25, n, dtype=torch.float64)
    many = RotationLaw(law.left.expand(1, n, -1), law.right, 32)
    above, below = rotation_p_values(scores.view(1, n, 1, 1), many, draws.expand(1000, 1, n, 1, 1), 1e-12)
    p = above.flatten()
    assert bool((p.diff() <= 0).all())
    assert float(p[-1]) < 1e-10 < 0.2 < float(p[0])
    steps = -p[p < 0.2].log().diff()
    assert float(steps.max()) < 1.5
    assert float(below.flatten()[-1]) == 1


def test_pairs_whose_spectra_leave_nothing_to_rotate_have_p_1_and_zero_matrices_have_none(generator):
    full, none = shares([1, 1, 1]), torch.zeros(1, 1, 3, dtype=torch.float64)
    one = torch.full((1, 1, 1, 1), 3**-0.5, dtype=torch.float64)
    draws = rotated_scores(full, full, 3, generator, 50)
    for p in rotation_p_values(one, RotationLaw(full, full, 3), draws, 1e-12):
        assert p.item() == 1
    for left, right in ((full, none), (none, full)):
        for p in rotation_p_values(0 * one, RotationLaw(left, right, 3), 0 * draws, 1e-12):
            assert p.isnan().all()
