"""In-context Markov chains against integrals over transition matrices and enumerations of all sequences."""

import itertools
import math
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch

from toy_models.errors import InputError
from toy_models.task_config import MarkovConfig
from toy_models.tasks import Markov
from toy_models.tasks.base import estimate_loss
from toy_models.tasks.markov import ring_losses, walk

THREE = MarkovConfig(n_states=3, n_ctx=6, bos=False, alpha=0.5)


def chance_by_integration(states, alpha):
    """p(states) of a two-state chain, by quadrature over both rows; exact for whole alpha."""
    points, weights = np.polynomial.legendre.leggauss(12)
    p, w = (points + 1) / 2, weights / 2
    density = p ** (alpha - 1) * (1 - p) ** (alpha - 1)
    density = density / (w * density).sum()
    chance = 0.5 if states else 1.0
    moves = Counter(itertools.pairwise(states))
    for u in (0, 1):
        chance *= float((w * density * (1 - p) ** moves[u, 0] * p ** moves[u, 1]).sum())
    return chance


def chance_by_gamma(states, k, alpha):
    """p(states), each row's Dirichlet integrated by its normalisation constants."""
    moves = Counter(itertools.pairwise(states))
    total = -math.log(k)
    for u in range(k):
        row = [moves[u, v] for v in range(k)]
        total += math.lgamma(k * alpha) - math.lgamma(k * alpha + sum(row))
        total += sum(math.lgamma(alpha + n) - math.lgamma(alpha) for n in row)
    return math.exp(total)


def is_predictable(prefix):
    return len(prefix) > 1 and prefix[-1] in prefix[:-1]


def every_sequence(k, length):
    return list(itertools.product(range(k), repeat=length))


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_bayes_log_probs_equal_the_integral_over_transition_matrices(alpha):
    sequences = every_sequence(2, 6)
    got = Markov(MarkovConfig(n_states=2, n_ctx=6, bos=False, alpha=alpha)).bayes_log_probs(torch.tensor(sequences))
    for states, rows in zip(sequences, got.exp().tolist(), strict=True):
        for i in range(6):
            before = chance_by_integration(states[:i], alpha)
            for v in (0, 1):
                assert rows[i][v] == pytest.approx(chance_by_integration((*states[:i], v), alpha) / before, abs=1e-12)


def test_bos_is_certain_first_and_never_later(generator):
    task = Markov(MarkovConfig(n_states=4, n_ctx=9))
    probs = task.bayes_log_probs(task.sample(10, generator).tokens).exp()
    assert bool((probs[:, 0, 0] == 1).all())
    assert bool((probs[:, 1:, 0] == 0).all())
    torch.testing.assert_close(probs.sum(dim=2), torch.ones(10, 9, dtype=torch.float64))


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_sampled_sequences_have_the_chances_of_the_integrated_chain(alpha, generator):
    sequences = every_sequence(3, 5)
    task = Markov(MarkovConfig(n_states=3, n_ctx=5, bos=False, alpha=alpha))
    drawn = Counter(map(tuple, task.sample(60000, generator).tokens.tolist()))
    wanted = {states: 60000 * chance_by_gamma(states, 3, alpha) for states in sequences}
    assert sum(wanted.values()) == pytest.approx(60000)
    chi_squared = sum((drawn[states] - wanted[states]) ** 2 / wanted[states] for states in sequences)
    freedom = len(sequences) - 1
    assert abs(chi_squared - freedom) < 5 * math.sqrt(2 * freedom)


def test_predictable_positions_follow_a_state_seen_before(generator):
    task = Markov(MarkovConfig(n_states=5, n_ctx=12))
    batch = task.sample(50, generator)
    for tokens, mask in zip(batch.tokens.tolist(), batch.predictable.tolist(), strict=True):
        assert mask == [i > 0 and is_predictable(tokens[1:i]) for i in range(12)]


def losses_over_all_sequences(reader):
    """Expected loss per predictable position of THREE; `reader(prefix) -> chances`."""
    total, number = 0.0, 0.0
    for states in every_sequence(3, 6):
        chance = chance_by_gamma(states, 3, THREE.alpha)
        for i in range(6):
            if is_predictable(states[:i]):
                total -= chance * math.log(reader(states[:i])[states[i]])
                number += chance
    return total / number


def bayes_reader(prefix):
    before = chance_by_gamma(prefix, 3, THREE.alpha)
    return [chance_by_gamma((*prefix, v), 3, THREE.alpha) / before for v in range(3)]


def order_free_reader():
    """p(next | how often each state occurred, and that the position is predictable), by enumeration."""
    joint: dict[tuple, list[float]] = defaultdict(lambda: [0.0] * 3)
    for length in range(2, 6):
        for prefix in every_sequence(3, length):
            if is_predictable(prefix):
                for v in range(3):
                    joint[tuple(sorted(prefix))][v] += chance_by_gamma((*prefix, v), 3, THREE.alpha)
    return lambda prefix: [p / sum(joint[tuple(sorted(prefix))]) for p in joint[tuple(sorted(prefix))]]


def test_optimal_loss_estimates_the_expectation_over_all_sequences(generator):
    estimate = Markov(THREE).optimal_loss(20000, generator)
    assert 0 < estimate.standard_error < 0.01
    assert abs(estimate.mean - losses_over_all_sequences(bayes_reader)) < 4 * estimate.standard_error


def test_no_disturbed_reader_does_better_than_the_bayes_reader():
    sequences = every_sequence(3, 6)
    probs = Markov(THREE).bayes_log_probs(torch.tensor(sequences)).exp().tolist()
    bayes = {states[:i]: probs[row][i] for row, states in enumerate(sequences) for i in range(6)}
    best = losses_over_all_sequences(bayes.__getitem__)
    for seed in range(3):
        factor = (0.3 * torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))).exp().tolist()

        def disturbed(prefix, factor=factor):
            weights = [p * f for p, f in zip(bayes[prefix], factor[prefix.count(0) % 4], strict=True)]
            return [w / sum(weights) for w in weights]

        assert losses_over_all_sequences(disturbed) > best


def test_ring_losses_equal_the_posterior_over_all_rotations():
    sequences = every_sequence(3, 6)
    got = ring_losses(torch.tensor(sequences), 3, THREE.alpha).tolist()
    for states, losses in zip(sequences, got, strict=True):
        for i in range(2, 6):
            if not is_predictable(states[:i]):
                continue
            mass = [0.0] * 3
            for turn in range(i):
                rotated = states[turn:i] + states[:turn]
                if is_predictable(rotated):
                    for v in range(3):
                        mass[v] += chance_by_gamma((*rotated, v), 3, THREE.alpha)
            assert losses[i] == pytest.approx(-math.log(mass[states[i]] / sum(mass)), abs=1e-12)


def test_order_free_bound_holds_the_best_reader_of_counts(generator):
    exact = losses_over_all_sequences(order_free_reader())
    states = torch.tensor(every_sequence(3, 6))
    chances = torch.tensor([chance_by_gamma(s, 3, THREE.alpha) for s in states.tolist()], dtype=torch.float64)
    mask = torch.tensor([[is_predictable(tuple(s[:i])) for i in range(6)] for s in states.tolist()])
    ring = torch.where(mask, ring_losses(states, 3, THREE.alpha), 0.0)
    told_ring = float((chances[:, None] * ring).sum() / (chances[:, None] * mask).sum())
    bound = Markov(THREE).order_free_loss(4000, generator)
    assert bound.lower is not None
    assert losses_over_all_sequences(bayes_reader) < told_ring < exact
    assert abs(bound.lower.mean - told_ring) < 4 * bound.lower.standard_error
    assert exact - 4 * bound.upper.standard_error < bound.upper.mean < exact + 0.05


def test_order_free_bound_is_narrow_and_apart_from_optimum_and_chance(generator):
    task = Markov(MarkovConfig())
    bound = task.order_free_loss(300, generator)
    assert bound.lower is not None
    assert 0 < bound.upper.mean - bound.lower.mean < 0.15
    assert task.optimal_loss(300, generator).mean < bound.lower.mean - 0.2
    assert bound.upper.mean < task.chance_loss - 0.2


def test_flat_rows_leave_nothing_to_learn(generator):
    """With alpha 1000 all rows are nearly uniform: optimum, counting and the alphabet's ln k agree."""
    task = Markov(MarkovConfig(n_states=4, alpha=1000.0))
    bound = task.order_free_loss(200, generator)
    assert task.optimal_loss(200, generator).mean == pytest.approx(math.log(4), abs=2e-3)
    assert bound.lower is not None
    assert bound.lower.mean == pytest.approx(math.log(4), abs=2e-3)
    assert bound.upper.mean == pytest.approx(math.log(4), abs=2e-2)
    assert task.chance_loss == pytest.approx(math.log(5))


def test_the_same_seed_gives_the_same_sequences():
    task = Markov(MarkovConfig())
    one, two, three = (task.sample(8, torch.Generator().manual_seed(seed)).tokens for seed in (5, 5, 6))
    assert torch.equal(one, two)
    assert not torch.equal(one, three)


def test_a_sequence_without_predictable_positions_gives_no_estimate():
    with pytest.raises(InputError, match="none of the 2 sequences has a predictable position"):
        estimate_loss(torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool))


def test_states_outside_the_chain_are_refused():
    with pytest.raises(InputError, match=r"0\.\.2, got 0\.\.3"):
        Markov(THREE).bayes_log_probs(torch.tensor([[0, 1, 3]]))


def test_a_walk_takes_the_successor_its_draw_falls_on():
    """Rows [.2 .3 .5], [1 0 0], [0 0 1] as cumulated thresholds; draws at and beside them."""
    steps = np.array([[[0.2, 0.5], [1.0, 1.0], [0.0, 0.0]]])
    uniform = np.array([[0.1, 0.19, 0.2, 0.9, 0.49, 0.3, 0.5, 0.7]])
    assert walk(np.array([0]), steps, uniform).tolist() == [[0, 0, 0, 1, 0, 1, 0, 2, 2]]


def test_walks_do_not_mix_sequences():
    stay, turn = [[1.0], [0.0]], [[0.0], [1.0]]
    states = walk(np.array([1, 0, 0]), np.array([stay, turn, stay]), np.full((3, 4), 0.5))
    assert states.tolist() == [[1] * 5, [0, 1, 0, 1, 0], [0] * 5]
