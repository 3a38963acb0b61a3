"""Repeated tokens against slow twins that enumerate every sequence in fractions."""

import itertools
import math
from collections import Counter, defaultdict
from fractions import Fraction

import pytest
import torch

from toy_models.errors import InputError
from toy_models.task_config import RepeatedTokensConfig
from toy_models.tasks import RepeatedTokens
from toy_models.tasks.base import estimate_loss
from toy_models.tasks.counting import count_features, earlier_counts, fit_reader, reader_losses
from toy_models.tasks.repeated_counts import order_free_losses

TINY = RepeatedTokensConfig(d_vocab=4, n_ctx=7, bos=True, min_period=1, max_period=3, max_offset=2)
NO_BOS = RepeatedTokensConfig(d_vocab=2, n_ctx=7, bos=False, min_period=2, max_period=3, max_offset=1)


def every_draw(config):
    """(probability, tokens, first predictable position) of every period, offset and choice of symbols."""
    first = int(config.bos)
    pairs = [(p, o) for p in range(config.min_period, config.max_period + 1) for o in range(config.max_offset + 1)]
    for period, offset in pairs:
        for free in itertools.product(range(first, config.d_vocab), repeat=offset + period):
            tokens = [0] * first + list(free)
            while len(tokens) < config.n_ctx:
                tokens.append(tokens[-period])
            yield (
                Fraction(1, len(pairs) * (config.d_vocab - first) ** (offset + period)),
                tuple(tokens),
                len(free) + first,
            )


def prefix_chances(config, only_predictable):
    """Probability of every beginning of a sequence; with the condition that its last token is predictable."""
    chances: dict[tuple[int, ...], Fraction] = defaultdict(Fraction)
    for chance, tokens, start in every_draw(config):
        for i in range(1, config.n_ctx + 1):
            if not only_predictable or i - 1 >= start:
                chances[tokens[:i]] += chance
    return chances


def conditional(chances, prefix, d_vocab):
    """p(next token | prefix) for every token, from the chances of longer prefixes."""
    mass = [chances.get((*prefix, v), Fraction(0)) for v in range(d_vocab)]
    return [m / sum(mass) for m in mass]


def expected_loss(config, reader, scored):
    """Expected loss per scored position; `reader(prefix) -> chances`, `scored(position, start) -> bool`."""
    total, number = 0.0, 0.0
    for chance, tokens, start in every_draw(config):
        for i in range(1, config.n_ctx):
            if scored(i, start):
                total -= float(chance) * math.log(reader(tokens[:i])[tokens[i]])
                number += float(chance)
    return total / number


def predictable(position, start):
    return position >= start


@pytest.mark.parametrize("config", [TINY, NO_BOS])
def test_bayes_log_probs_equal_the_enumeration_of_all_sequences(config):
    chances = prefix_chances(config, only_predictable=False)
    sequences = sorted({tokens for _, tokens, _ in every_draw(config)})
    got = RepeatedTokens(config).bayes_log_probs(torch.tensor(sequences)).exp()
    wanted = [[conditional(chances, tokens[:i], config.d_vocab) for i in range(config.n_ctx)] for tokens in sequences]
    exact = torch.tensor([[[float(p) for p in row] for row in rows] for rows in wanted], dtype=torch.float64)
    torch.testing.assert_close(got, exact, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("config", [TINY, NO_BOS])
@pytest.mark.parametrize("told", [False, True])
def test_bayes_losses_equal_the_enumeration_with_and_without_being_told_what_is_scored(config, told):
    chances = prefix_chances(config, only_predictable=told)
    draws = list(every_draw(config))
    got = RepeatedTokens(config).bayes_losses(torch.tensor([tokens for _, tokens, _ in draws]), told)
    for losses, (_, tokens, start) in zip(got.tolist(), draws, strict=True):
        for i in range(start, config.n_ctx):
            wanted = -math.log(conditional(chances, tokens[:i], config.d_vocab)[tokens[i]])
            assert losses[i] == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("told", [False, True])
def test_optimal_loss_estimates_the_expectation_over_all_sequences(told, generator):
    chances = prefix_chances(TINY, only_predictable=told)
    exact = expected_loss(TINY, lambda prefix: conditional(chances, prefix, TINY.d_vocab), predictable)
    estimate = RepeatedTokens(TINY).optimal_loss(20000, generator, told)
    assert estimate.n == 20000
    assert 0 < estimate.standard_error < 0.01
    assert abs(estimate.mean - exact) < 4 * estimate.standard_error


def test_standard_error_of_the_optimal_loss_is_the_spread_of_repeated_estimates(generator):
    estimates = [RepeatedTokens(TINY).optimal_loss(200, generator) for _ in range(200)]
    spread = torch.tensor([estimate.mean for estimate in estimates]).std().item()
    claimed = sum(estimate.standard_error for estimate in estimates) / len(estimates)
    assert claimed == pytest.approx(spread, rel=0.2)


@pytest.mark.parametrize("told", [False, True])
def test_no_disturbed_reader_does_better_than_the_bayes_reader(told):
    """Untold, over all positions; told which positions are scored, over those."""
    scored = predictable if told else (lambda position, start: True)
    draws = list(every_draw(TINY))
    losses = RepeatedTokens(TINY).bayes_losses(torch.tensor([tokens for _, tokens, _ in draws]), told)
    bayes: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [0.0] * TINY.d_vocab)
    for probs_at, (_, tokens, start) in zip((-losses).exp().tolist(), draws, strict=True):
        for i in range(1, TINY.n_ctx):
            if scored(i, start):
                bayes[tokens[:i]][tokens[i]] = probs_at[i]
    assert all(sum(probs) == pytest.approx(1) for probs in bayes.values())
    best = expected_loss(TINY, bayes.__getitem__, scored)
    generator = torch.Generator().manual_seed(1)
    for _ in range(10):
        other = {}
        for prefix, probs in bayes.items():
            factor = (0.3 * torch.randn(TINY.d_vocab, generator=generator)).exp().tolist()
            weights = [p * f for p, f in zip(probs, factor, strict=True)]
            other[prefix] = [w / sum(weights) for w in weights]
        assert expected_loss(TINY, other.__getitem__, scored) > best


def test_being_told_what_is_scored_lowers_the_loss(generator):
    task = RepeatedTokens(RepeatedTokensConfig())
    told = task.optimal_loss(500, generator, told_predictable=True)
    untold = task.optimal_loss(500, generator)
    assert told.mean + 6 * told.standard_error < untold.mean - 6 * untold.standard_error


def order_free_chances(config):
    """p(next | position, counts of earlier data symbols, next is predictable), as [next] of {(i, counts)}."""
    joint: dict[tuple, dict[int, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
    for chance, tokens, start in every_draw(config):
        for i in range(start, config.n_ctx):
            joint[i, frozenset(Counter(tokens[:i]).items())][tokens[i]] += chance
    return {key: {v: p / sum(after.values()) for v, p in after.items()} for key, after in joint.items()}


@pytest.mark.parametrize("config", [TINY, NO_BOS])
def test_order_free_posterior_equals_the_enumeration_of_all_multisets(config):
    first = int(config.bos)
    counts, targets, seen, wanted = [], [], [], []
    for (position, multiset), after in order_free_chances(config).items():
        for token, chance in after.items():
            counts.append([dict(multiset).get(v, 0) for v in range(first, config.d_vocab)])
            targets.append(token - first)
            seen.append(position - first)
            wanted.append(-math.log(chance))
    got = order_free_losses(config, torch.tensor(counts), torch.tensor(targets), torch.tensor(seen))
    assert len(wanted) > 20
    torch.testing.assert_close(got, torch.tensor(wanted, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def exact_order_free_loss(config):
    after = order_free_chances(config)
    total, number = 0.0, 0.0
    for chance, tokens, start in every_draw(config):
        for i in range(start, config.n_ctx):
            total -= float(chance) * math.log(after[i, frozenset(Counter(tokens[:i]).items())][tokens[i]])
            number += float(chance)
    return total / number


def test_order_free_loss_estimates_the_expectation_over_all_sequences(generator):
    bound = RepeatedTokens(TINY).order_free_loss(4000, generator)
    assert bound.lower == bound.upper
    assert 0 < bound.upper.standard_error < 0.02
    assert abs(bound.upper.mean - exact_order_free_loss(TINY)) < 4 * bound.upper.standard_error


def told_everything_losses(task, draw):
    """Losses of a reader told period, offset, prefix and which block slots were used, but not their order.

    The next token is that of a random unused slot, so its loss is the entropy of the unused slots' tokens.
    """
    losses = torch.zeros(draw.batch.tokens.shape, dtype=torch.float64)
    first = int(task.config.bos)
    for b, (tokens, p, o) in enumerate(zip(draw.batch.tokens, draw.period, draw.offset, strict=True)):
        for i in range(first + int(o + p), len(tokens)):
            used = int(i - first - o) % int(p)
            left = tokens[first + int(o) :][used : int(p)].bincount().double()
            chances = left[left > 0] / left.sum()
            losses[b, i] = -(chances * chances.log()).sum()
    return losses


@pytest.mark.parametrize(
    "config", [TINY, RepeatedTokensConfig(d_vocab=21, n_ctx=32, min_period=3, max_period=9, max_offset=4)]
)
def test_order_free_loss_lies_between_a_reader_told_more_and_one_that_reads_less(config, generator):
    task = RepeatedTokens(config)
    exact = task.order_free_loss(800, generator).upper
    draw = task.draw(800, generator)
    lower = estimate_loss(told_everything_losses(task, draw), draw.batch.predictable)

    def counted():
        batch, first = task.sample(800, generator), int(config.bos)
        data = batch.tokens[:, first:] - first
        features = earlier_counts(data, task.n_symbols)
        return count_features(features, data, batch.predictable[:, first:], config.n_ctx)

    theta, fresh = fit_reader(counted()), counted()
    upper = estimate_loss(reader_losses(theta, fresh), fresh.predictable)
    noise = 4 * max(exact.standard_error, lower.standard_error, upper.standard_error)
    assert lower.mean - noise < exact.mean < upper.mean + noise
    if config is not TINY:
        assert lower.mean < exact.mean - noise
        assert exact.mean < upper.mean - noise


@pytest.mark.parametrize("config", [TINY, NO_BOS, RepeatedTokensConfig()])
def test_a_sampled_sequence_repeats_its_block_from_offset_to_the_end(config, generator):
    draw = RepeatedTokens(config).draw(300, generator)
    first = int(config.bos)
    for tokens, mask, p, o in zip(draw.batch.tokens, draw.batch.predictable, draw.period, draw.offset, strict=True):
        start = first + int(o + p)
        assert torch.equal(tokens[start:], tokens[start - int(p) : len(tokens) - int(p)])
        assert mask.tolist() == [i >= start for i in range(config.n_ctx)]
    assert bool((draw.batch.tokens[:, :first] == 0).all())
    assert draw.batch.tokens[:, first:].unique().tolist() == list(range(first, config.d_vocab))


def test_periods_offsets_and_tokens_are_uniform(generator):
    config = RepeatedTokensConfig(d_vocab=6, n_ctx=12, min_period=2, max_period=5, max_offset=3)
    draw = RepeatedTokens(config).draw(40000, generator)
    pairs = Counter(zip(draw.period.tolist(), draw.offset.tolist(), strict=True))
    assert set(pairs) == {(p, o) for p in range(2, 6) for o in range(4)}
    assert all(abs(number - 2500) < 5 * math.sqrt(2500) for number in pairs.values())
    firsts = Counter(zip(draw.batch.tokens[:, 1].tolist(), draw.batch.tokens[:, 2].tolist(), strict=True))
    assert all(abs(firsts[a, b] - 1600) < 5 * math.sqrt(1600) for a in range(1, 6) for b in range(1, 6))


def test_the_same_seed_gives_the_same_sequences():
    task = RepeatedTokens(RepeatedTokensConfig())
    one, two, three = (task.sample(8, torch.Generator().manual_seed(seed)).tokens for seed in (5, 5, 6))
    assert torch.equal(one, two)
    assert not torch.equal(one, three)


def test_losses_in_order_optimum_far_below_order_free_far_below_chance(generator):
    task = RepeatedTokens(RepeatedTokensConfig())
    optimum = task.optimal_loss(300, generator)
    order_free = task.order_free_loss(100, generator).upper
    assert task.chance_loss == pytest.approx(math.log(64))
    assert 0 < optimum.mean < 0.2
    assert 1.5 < order_free.mean < math.log(63) - 1


def test_with_one_known_period_copies_are_certain_and_counting_knows_the_slots_left(generator):
    """Period 3 from the start: after the block nothing is in doubt; a counter guesses among the slots left."""
    task = RepeatedTokens(
        RepeatedTokensConfig(d_vocab=1000, n_ctx=9, bos=False, min_period=3, max_period=3, max_offset=0)
    )
    assert task.optimal_loss(200, generator).mean == pytest.approx(0, abs=1e-6)
    assert task.order_free_loss(1000, generator).upper.mean == pytest.approx((math.log(3) + math.log(2)) / 3, abs=0.03)


@pytest.mark.parametrize(
    "tokens, message",
    [
        ([[0, 1, 2, 4, 1, 2, 3]], "0..3, got 0..4"),
        ([[0, 1, 2, 0, 1, 2, 3]], "token 0 must stand at the beginning"),
        ([[1, 1, 2, 3, 1, 2, 3]], "token 0 must stand at the beginning"),
        ([[0, 1, 2, 3, 1, 2, 3, 1]], "sequences of 8 tokens"),
        ([[0, 1, 1, 1, 1, 1, 1], [0, 1, 2, 3, 1, 1, 1]], "sequence 1 cannot come from this task"),
    ],
)
def test_sequences_the_task_cannot_make_are_refused(tokens, message):
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        RepeatedTokens(
            RepeatedTokensConfig(d_vocab=4, n_ctx=7, min_period=1, max_period=3, max_offset=0)
        ).bayes_log_probs(torch.tensor(tokens))


def test_asking_for_no_sequences_is_refused(generator):
    task = RepeatedTokens(TINY)
    for ask in (task.sample, task.optimal_loss, task.order_free_loss):
        with pytest.raises(InputError, match="number of sequences must be at least 1, got 0"):
            ask(0, generator)


def test_inputs_are_not_changed(generator):
    task = RepeatedTokens(TINY)
    tokens = task.sample(5, generator).tokens
    before = tokens.clone()
    task.bayes_log_probs(tokens)
    task.bayes_losses(tokens, told_predictable=True)
    assert torch.equal(tokens, before)
