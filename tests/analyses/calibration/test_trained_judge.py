"""Brute force as a judge of circuits, itself held against models whose circuit is known."""

import math
from dataclasses import replace

import pytest
import torch

from analyses.audit import audit
from analyses.calibration.trained.brute_force import BruteForce
from analyses.calibration.trained.cases import TASKS, all_cases
from analyses.calibration.trained.minimal import members, others
from analyses.calibration.trained.named import Named, named_by
from analyses.calibration.trained.rows import BARS, row_of
from analyses.calibration.trained.unseen import audited_periods, order_free_gain, questions
from analyses.evidence import Claim, Evidence, Measurement, Verdict
from interp.ablation.losses import sequence_means
from interp.heads import measure_heads
from interp.hooks import intervene, record
from interp.names import Head
from toy_models import handmade
from toy_models.config import TransformerConfig
from toy_models.errors import InputError
from toy_models.handmade.variants import with_idle_heads
from toy_models.task_config import RepeatedTokensConfig
from toy_models.transformer import Transformer

TASK = TASKS["24 tokens"]
PREVIOUS, INDUCTION = Head(0, 0), Head(1, 0)
PAIR = frozenset({PREVIOUS, INDUCTION})
IDLE, OTHER = Head(0, 1), Head(1, 2)


@pytest.fixture(scope="module")
def made():
    """K-composition by L0H0 and L1H0, with two idle heads beside each."""
    return with_idle_heads(handmade.make("induction_k", d_vocab=TASK.d_vocab, n_ctx=TASK.n_ctx), 2).model


@pytest.fixture(scope="module")
def force(made):
    return BruteForce(made, questions(TASK))


def named(*heads, redundant=(), doubts=()):
    induction = tuple(head for head in heads if head.layer == 1)
    feeders = tuple(head for head in heads if head.layer == 0)
    return Named(induction, feeders, {}, {}, (), frozenset(redundant), tuple(doubts))


def bars(force, *heads, **marks):
    return row_of(all_cases()[0], named(*heads, **marks), force).bars


def missed(force, *heads, **marks):
    return [bar for bar, met in bars(force, *heads, **marks).items() if not met]


def test_the_two_heads_of_a_handmade_circuit_meet_every_bar(force):
    found = bars(force, PREVIOUS, INDUCTION)
    assert list(found) == list(BARS)
    assert all(found.values())
    assert force.preserved(PAIR).mean == pytest.approx(1, abs=1e-6)
    assert force.removed(PAIR).mean > 0.9
    assert {m.head for m in members(force, PAIR) if m.needed} == PAIR


def test_an_idle_head_beside_the_circuit_is_not_needed_unless_it_is_marked(force):
    assert missed(force, PREVIOUS, INDUCTION, IDLE) == ["members"]
    assert missed(force, PREVIOUS, INDUCTION, IDLE, redundant=[IDLE]) == []
    idle = next(m for m in members(force, PAIR | {IDLE}) if m.head == IDLE)
    assert (idle.removed, idle.preserved) == (pytest.approx(0, abs=1e-9), pytest.approx(0, abs=1e-9))


def test_naming_all_heads_fails_where_fewer_would_do(force):
    assert missed(force, *force.heads, redundant=force.heads) == ["not all heads"]


def test_all_heads_of_a_model_that_has_no_others_may_be_named():
    made = handmade.make("induction_k", d_vocab=TASK.d_vocab, n_ctx=TASK.n_ctx)
    assert missed(BruteForce(made.model, questions(TASK)), PREVIOUS, INDUCTION) == []


def test_a_wrong_pair_misses_the_bars_and_the_search_finds_the_right_one(force):
    wrong = frozenset({IDLE, OTHER})
    assert missed(force, IDLE, OTHER) == ["removed", "preserved", "members", "no better set"]
    found = others(force, wrong, torch.Generator().manual_seed(0))
    assert (found.tried, found.exhaustive, found.best) == (math.comb(6, 2) - 1, True, (PREVIOUS, INDUCTION))
    assert found.best_score == pytest.approx(1, abs=1e-6)
    assert found.rank > 1


def test_half_of_the_circuit_takes_the_gain_away_but_keeps_none_of_it(force):
    assert force.removed(frozenset({INDUCTION, IDLE})).mean > 0.9
    assert missed(force, INDUCTION, IDLE) == ["preserved", "members", "no better set"]


def test_rank_and_best_are_those_of_scoring_every_set(force):
    circuit = frozenset({PREVIOUS, OTHER})
    sets = [frozenset({a, b}) for a in force.heads for b in force.heads if a < b]
    scores = {heads: force.score(heads) for heads in sets if heads != circuit}
    found = others(force, circuit, torch.Generator().manual_seed(0))
    assert found.rank == 1 + sum(score > force.score(circuit) for score in scores.values())
    assert found.best_score == max(scores.values())


def test_more_sets_than_can_be_tried_are_drawn_without_repetition(force):
    drawn = others(force, PAIR, torch.Generator().manual_seed(0), most=10)
    assert not drawn.exhaustive
    few = others(force, PAIR, torch.Generator().manual_seed(0), most=14)
    assert (few.exhaustive, few.tried) == (True, 14)


def test_resampled_heads_carry_what_another_sequence_says(force, made):
    """Removing the circuit by hand, z for z, gives the same gain."""
    asked, names = questions(TASK), ("blocks.0.attn.hook_z", "blocks.1.attn.hook_z")
    intact = record(made, asked.tokens, names=list(names))
    source = {name: force.how.instead[layer] for layer, name in enumerate(names)}
    rows = [[bool((source[name][b] == intact[name][c]).all()) for c in range(8)] for b in range(8) for name in names]
    assert not any(rows[2 * b][b] and rows[2 * b + 1][b] for b in range(8)), "a sequence stands in for itself"
    edited = {name: intact[name].clone() for name in names}
    for name in names:
        edited[name][:, :, 0] = source[name][:, :, 0]
    with intervene(made, edited):
        loss = sequence_means(made, asked.tokens, asked.masks)[:, 0]
    torch.testing.assert_close(loss[1] - loss[0] - asked.order_free, force.gain(PAIR))


def test_a_model_of_equal_logits_gains_nothing_and_is_behind_the_reader_that_counts():
    config = TransformerConfig(n_layers=1, n_heads=2, d_model=4, d_head=2, d_vocab=24, n_ctx=32, init_range=0.0)
    asked = questions(TASK)
    blank = BruteForce(Transformer(config, torch.Generator().manual_seed(0)), asked)
    torch.testing.assert_close(blank.whole, -asked.order_free)
    assert not blank.has_gain
    row = row_of(all_cases()[0], named(), blank)
    assert (row.bars, row.removed, row.others) == ({"named": True}, None, None)
    assert row_of(all_cases()[0], named(Head(0, 1)), blank).bars == {"named": False}


def test_a_circuit_that_is_not_named_is_missed(force):
    assert bars(force) == {"named": False}


def test_the_reader_that_counts_gains_what_a_formula_says():
    """Four different tokens twice: of the r-th of the second copy it knows that it is one of 4 - r."""
    task = RepeatedTokensConfig(d_vocab=9, n_ctx=9, min_period=4, max_period=4, max_offset=0)
    tokens = torch.tensor([[0, 5, 2, 7, 1, 5, 2, 7, 1]])
    gain = order_free_gain(task, tokens, torch.arange(9)[None] >= 5)
    assert float(gain) == pytest.approx(math.log(8) - math.log(math.factorial(4)) / 4)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_the_judge_asks_about_periods_of_the_task_that_the_audit_did_not_use(task):
    asked = questions(task)
    assert len(asked.periods) >= 5
    assert min(asked.periods) >= task.min_period
    assert max(asked.periods) <= task.max_period
    model = Transformer(TransformerConfig(n_layers=1, n_heads=2, d_vocab=task.d_vocab, n_ctx=task.n_ctx))
    used = set(measure_heads(model, torch.Generator().manual_seed(0), bos=0, n=2).by_period)
    assert used == audited_periods(task)
    assert used.isdisjoint(asked.periods)
    each = len(asked.tokens) // len(asked.periods)
    for i, period in enumerate(asked.periods):
        rows = slice(i * each, (i + 1) * each)
        tokens, predictable = asked.tokens[rows], asked.predictable[rows]
        assert bool((tokens == tokens.roll(period, 1))[predictable].all())
    assert bool((asked.order_free > 0).any())
    assert float(asked.order_free.mean()) + asked.possible < math.log(task.d_vocab)


def test_a_task_whose_periods_the_audit_uses_up_is_refused():
    period = sorted(audited_periods(TASK))[0]
    with pytest.raises(InputError, match=f"every period from {period} to {period}: none is left"):
        questions(replace(TASK, min_period=period, max_period=period))


def test_the_named_circuit_is_the_induction_head_with_its_feeder_and_doubts_are_told(made):
    report = audit(made, bos=0)
    found = named_by(report)
    assert (found.induction, found.feeders, found.doubts) == ((INDUCTION,), (PREVIOUS,), ())
    assert found.mechanisms == {"L1H0": "K-composition"}
    assert not found.redundant
    behaviour = Evidence("behaviour", (Measurement("attention", 0.9, "above 0.4", True),))
    weak = Verdict("L1H0", "induction", "weak", "", (Claim("induction", (behaviour,)),))
    doubted = named_by(replace(report, verdicts=(weak,)))
    assert (doubted.circuit, doubted.doubts) == (frozenset(), ("L1H0: induction weak",))
