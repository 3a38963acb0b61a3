"""Skip-trigrams against an enumeration of every sequence by the rules as they are told."""

import math
from collections import Counter, defaultdict

import pytest
import torch

from toy_models.errors import InputError
from toy_models.task_config import SkipTrigramsConfig
from toy_models.tasks import SkipTrigrams
from toy_models.tasks.base import estimate_loss

SHARED = SkipTrigramsConfig(
    n_sources=2, n_triggers=2, n_others=2, n_ctx=6, bos=False, max_source_position=3, reliability=0.7, trigger_rate=0.4
)
"""Few others, so that both sources use the same outputs."""
DISTINCT = SkipTrigramsConfig(
    n_sources=2, n_triggers=2, n_others=5, n_ctx=5, bos=True, max_source_position=2, reliability=0.8, trigger_rate=0.5
)
CERTAIN = SkipTrigramsConfig(
    n_sources=1, n_triggers=2, n_others=3, n_ctx=7, bos=True, max_source_position=2, reliability=1.0, trigger_rate=0.5
)
CONFIGS = pytest.mark.parametrize("config", [SHARED, DISTINCT, CERTAIN], ids=["shared", "distinct", "certain"])


def every_sequence(config):
    """{tokens: (chance, predictable)}, grown token by token."""
    task = SkipTrigrams(config)
    first = int(config.bos)
    sources = range(first, first + config.n_sources)
    triggers = range(sources.stop, sources.stop + config.n_triggers)
    others = range(triggers.stop, triggers.stop + config.n_others)
    noise = dict.fromkeys(triggers, config.trigger_rate / config.n_triggers)
    noise |= dict.fromkeys(others, (1 - config.trigger_rate) / config.n_others)
    grown: dict[tuple, tuple[float, tuple]] = {}

    def grow(tokens, mask, chance, source_place, source):
        place = len(tokens) - first
        if len(tokens) == config.n_ctx:
            grown[tokens] = (chance, mask)
            return
        if place == source_place:
            grow((*tokens, source), (*mask, False), chance, source_place, source)
            return
        asked = place - 1 > source_place and tokens[-1] in triggers
        for v, p in noise.items():
            if asked:
                output = int(task.table[source - sources.start, tokens[-1] - triggers.start])
                p = p * (1 - config.reliability) + config.reliability * (v == output)
            if p:
                grow((*tokens, v), (*mask, asked), chance * p, source_place, source)

    for place in range(config.max_source_position):
        for source in sources:
            start = 1 / config.max_source_position / config.n_sources
            grow((0,) * first, (False,) * first, start, place, source)
    return grown


def conditional(config, context, only_predictable):
    """p(next | context(tokens before)) for every context and next token, by enumeration."""
    joint: dict[tuple, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for tokens, (chance, mask) in every_sequence(config).items():
        for i in range(config.n_ctx):
            if mask[i] or not only_predictable:
                joint[context(tokens[:i])][tokens[i]] += chance
    return {c: {v: p / sum(after.values()) for v, p in after.items()} for c, after in joint.items()}


def expected_loss(config, context):
    """Lowest loss on predictable positions of a reader that sees only context(tokens before)."""
    reader = conditional(config, context, only_predictable=True)
    total, number = 0.0, 0.0
    for tokens, (chance, mask) in every_sequence(config).items():
        for i in range(config.n_ctx):
            if mask[i]:
                total -= chance * math.log(reader[context(tokens[:i])][tokens[i]])
                number += chance
    return total / number


def counts_of(prefix):
    return len(prefix), frozenset(Counter(prefix).items())


def last_of(prefix):
    return prefix[-1:]


@CONFIGS
def test_the_enumeration_is_complete(config):
    assert sum(chance for chance, _ in every_sequence(config).values()) == pytest.approx(1)


@CONFIGS
def test_sampled_sequences_have_the_enumerated_chances_and_masks(config, generator):
    wanted = every_sequence(config)
    batch = SkipTrigrams(config).sample(100000, generator)
    drawn = Counter(map(tuple, batch.tokens.tolist()))
    assert set(drawn) <= set(wanted)
    masks = dict(zip(map(tuple, batch.tokens.tolist()), map(tuple, batch.predictable.tolist()), strict=True))
    assert all(wanted[tokens][1] == mask for tokens, mask in masks.items())
    frequent = {tokens: 100000 * p for tokens, (p, _) in wanted.items() if 100000 * p > 20}
    assert len(frequent) > 50
    chi_squared = sum((drawn[tokens] - number) ** 2 / number for tokens, number in frequent.items())
    assert abs(chi_squared - len(frequent)) < 5 * math.sqrt(2 * len(frequent))


@CONFIGS
def test_bayes_log_probs_equal_the_enumeration_of_all_sequences(config):
    sequences = sorted(every_sequence(config))[::7]
    reader = conditional(config, lambda prefix: prefix, only_predictable=False)
    got = SkipTrigrams(config).bayes_log_probs(torch.tensor(sequences)).exp()
    for tokens, rows in zip(sequences, got.tolist(), strict=True):
        for i in range(config.n_ctx):
            wanted = [reader[tokens[:i]].get(v, 0.0) for v in range(config.d_vocab)]
            assert rows[i] == pytest.approx(wanted, abs=1e-12)


@CONFIGS
def test_optimal_loss_is_that_of_the_enumeration_exactly(config):
    estimate = SkipTrigrams(config).optimal_loss()
    assert estimate.mean == pytest.approx(expected_loss(config, lambda prefix: prefix), abs=1e-12)
    assert (estimate.standard_error, estimate.n) == (0.0, 0)


@CONFIGS
def test_bigram_loss_is_that_of_the_enumeration_exactly(config):
    assert SkipTrigrams(config).bigram_loss() == pytest.approx(expected_loss(config, last_of), abs=1e-12)


@CONFIGS
def test_order_free_posterior_equals_the_enumeration_of_all_multisets(config):
    task, first = SkipTrigrams(config), int(config.bos)
    counts, sources, targets, wanted = [], [], [], []
    for (_, multiset), after in conditional(config, counts_of, only_predictable=True).items():
        source = next(v for v, _ in multiset if first <= v < first + config.n_sources)
        for token, chance in after.items():
            counts.append([dict(multiset).get(v, 0) for v in range(config.d_vocab)])
            sources.append(source - first)
            targets.append(token)
            wanted.append(-math.log(chance))
    tensors = (torch.tensor(values) for values in (counts, sources, targets))
    got = task._order_free_losses(*tensors)
    assert len(wanted) > 50
    torch.testing.assert_close(got, torch.tensor(wanted, dtype=torch.float64), rtol=1e-11, atol=1e-11)


@CONFIGS
def test_order_free_loss_estimates_the_expectation_over_all_sequences(config, generator):
    bound = SkipTrigrams(config).order_free_loss(4000, generator)
    assert bound.lower == bound.upper
    assert 0 < bound.upper.standard_error < 0.05
    assert abs(bound.upper.mean - expected_loss(config, counts_of)) < 4 * bound.upper.standard_error


def test_losses_in_order_optimum_then_order_free_then_bigram_then_chance(generator):
    task = SkipTrigrams(SkipTrigramsConfig())
    order_free = task.order_free_loss(150, generator).upper
    noise = 4 * order_free.standard_error
    assert task.optimal_loss().mean + noise < order_free.mean < task.bigram_loss() - noise < task.chance_loss - 1


def test_the_sampled_loss_of_the_bayes_reader_is_the_closed_form(generator):
    task = SkipTrigrams(SkipTrigramsConfig())
    batch = task.sample(2000, generator)
    losses = -task.bayes_log_probs(batch.tokens).gather(2, batch.tokens[..., None])[..., 0]
    estimate = estimate_loss(losses, batch.predictable)
    assert abs(estimate.mean - task.optimal_loss().mean) < 4 * estimate.standard_error


def test_all_outputs_of_the_table_differ_where_there_are_enough_and_else_in_rows_and_columns():
    table = SkipTrigrams(SkipTrigramsConfig()).table
    assert len(set(table.flatten().tolist())) == 16
    crowded = SkipTrigrams(SkipTrigramsConfig(n_sources=5, n_triggers=4, n_others=6)).table
    assert all(len(set(row)) == 4 for row in crowded.tolist())
    assert all(len(set(column)) == 5 for column in crowded.T.tolist())


def test_the_table_is_drawn_from_its_seed():
    zero, again, one = (SkipTrigrams(SkipTrigramsConfig(table_seed=seed)).table for seed in (0, 0, 1))
    assert torch.equal(zero, again)
    assert not torch.equal(zero, one)


def test_labels_tell_sources_triggers_and_others_apart():
    vocabulary = SkipTrigrams(SkipTrigramsConfig(n_sources=1, n_triggers=2, n_others=2)).vocabulary
    assert vocabulary.labels == ("<bos>", "S0", "T0", "T1", "x0", "x1")


def test_a_sequence_with_two_sources_is_refused():
    with pytest.raises(InputError, match="holds one source token, but one of these holds several"):
        SkipTrigrams(SHARED).bayes_log_probs(torch.tensor([[0, 1, 2, 3, 4, 5]]))


def test_the_same_seed_gives_the_same_sequences():
    task = SkipTrigrams(SkipTrigramsConfig())
    one, two, three = (task.sample(8, torch.Generator().manual_seed(seed)).tokens for seed in (5, 5, 6))
    assert torch.equal(one, two)
    assert not torch.equal(one, three)
