"""Scores of cases that were made up so that the right answer is known."""

import pytest
import torch

from analyses.calibration.choosing import Errors, candidates, errors, search
from analyses.calibration.scoring import (
    confusion,
    falls_at,
    recall_by_level,
    reliability,
    role_scores,
    share,
    swapped,
)
from analyses.calibration.summary import bars, counted, pooled_shares, wrong
from analyses.criteria import Criteria
from tests.analyses.calibration.synthetic import case


def test_precision_recall_and_false_positives_are_those_of_the_table_they_were_made_from():
    right = [case({"induction"}, ["induction"], model=i) for i in range(6)]
    missed = [case({"induction"}, [], model=i) for i in range(2)]
    false = [case(set(), ["induction"], model=i) for i in range(3)]
    others = [case({"previous-token"}, ["previous-token"], model=i) for i in range(9)]
    found = role_scores([*right, *missed, *false, *others], "induction")
    assert (found.precision.right, found.precision.cases) == (6, 9)
    assert (found.recall.right, found.recall.cases) == (6, 8)
    assert (found.false_positives.right, found.false_positives.cases) == (3, 12)


def test_a_head_of_which_the_truth_is_silent_counts_for_no_score_of_that_role():
    found = role_scores([case(set(), ["positional"], silent={"positional"})], "positional")
    assert (found.precision.cases, found.recall.cases, found.false_positives.cases) == (0, 0, 0)
    assert (found.precision.low, found.precision.high) == (0.0, 1.0)


def test_a_contested_role_is_not_called_but_a_contested_false_induction_still_breaks_the_bar():
    contested = case(set(), {"induction": "contested"}, group="no induction")
    assert role_scores([contested], "induction").false_positives.right == 0
    bar = bars([contested])[0]
    assert (bar["met"], bar["found"]["right"], bar["found"]["cases"]) == (False, 1, 1)
    assert [each["what"] for each in wrong([contested])] == ["falsely given"]


def test_the_pooled_scores_count_every_pair_of_a_head_and_a_role():
    cases = [case({"induction", "copying"}, ["induction"]), case({"previous-token"}, ["previous-token", "copying"])]
    precision, recall = pooled_shares(cases)
    assert (precision.right, precision.cases) == (2, 3)
    assert (recall.right, recall.cases) == (2, 3)


def test_a_confidence_word_is_worth_the_share_of_roles_given_with_it_that_are_there():
    cases = [
        case({"induction"}, {"induction": "strong", "copying": "weak"}),
        case({"induction"}, {"induction": "strong", "first-token": "weak"}, silent={"first-token"}),
        case({"previous-token"}, {"previous-token": "weak"}),
    ]
    found = reliability(cases, ["weak", "strong"])
    assert {word: (s.right, s.cases) for word, s in found.items()} == {"weak": (1, 2), "strong": (2, 2)}


def test_where_all_cases_agree_the_interval_is_the_exact_one_with_a_model_as_one_trial():
    found = share([(model, True) for model in range(60) for _ in range(4)])
    assert (found.right, found.cases, found.models) == (240, 240, 60)
    assert (found.low, found.high) == (pytest.approx(0.025 ** (1 / 60)), 1.0)
    none = share([(model, False) for model in range(60)])
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 60))


def test_heads_of_one_model_that_fall_together_widen_the_interval():
    together = share([(model, model % 2 == 0) for model in range(20) for _ in range(10)])
    apart = share([(model, (model + i) % 2 == 0) for model in range(200) for i in range(1)])
    assert together.high - together.low > 2.5 * (apart.high - apart.low)


def test_intervals_over_models_cover_the_true_share_as_often_as_they_say():
    generator, covered, runs = torch.Generator().manual_seed(0), 0, 200
    for _ in range(runs):
        rates = torch.where(torch.rand(60, generator=generator) < 0.5, 0.95, 0.45)  # clustered: the mean is 0.7
        draws = torch.rand(60, 3, generator=generator) < rates[:, None]
        found = share((model, bool(hit)) for model, row in enumerate(draws.tolist()) for hit in row)
        covered += found.low <= 0.7 <= found.high
    assert 0.9 <= covered / runs <= 0.99


def test_recall_by_noise_and_the_level_from_which_it_stays_low():
    levels = (0.0, 1.0, 2.0, 3.0)
    shares = {0.0: 10, 1.0: 8, 2.0: 10, 3.0: 4}
    cases = [
        case({"induction"}, ["induction"] if i < found else [], model=i, level=level)
        for level, found in shares.items()
        for i in range(10)
    ]
    by_level = recall_by_level(cases, "induction", levels)
    assert {level: s.right for level, s in by_level.items()} == shares
    assert falls_at(by_level) == 3.0
    assert falls_at(by_level, below=0.4) is None


def test_mechanisms_are_counted_by_what_was_made_and_what_was_named_and_swaps_are_found():
    made = {"mechanism": "K-composition", "roles": {"induction"}, "given": ["induction"]}
    cases = [
        case(**made, named="K-composition"),
        case(**made, named="Q-composition"),
        case(**made, named="mixed"),
        case({"induction"}, [], mechanism="K-composition"),
    ]
    assert confusion(cases) == {"K-composition": {"K-composition": 1, "Q-composition": 1, "mixed": 1, "none": 1}}
    assert swapped(cases) == [cases[1]]
    assert bars(cases)[-1]["met"] is False


def test_only_heads_that_do_something_are_positive_and_models_count_once():
    cases = [
        case({"induction"}, model=1),
        case({"idle"}, model=1, made_as="idle"),
        case(set(), model=2, group="no induction"),
        case(set(), model=2, group="no induction"),
    ]
    assert counted(cases) == {"positive": {"heads": 1, "models": 1}, "negative": {"heads": 2, "models": 1}}


def test_missed_roles_count_with_little_noise_only():
    easy, hard = (case({"induction", "copying"}, ["induction"], kept=kept, noise=0.1) for kept in (0.95, 0.94))
    assert errors([easy]) == Errors(0, 0, 1)
    assert errors([hard]) == Errors(0, 0, 0)
    assert [each["role"] for each in wrong([easy, hard])] == ["copying"]


def test_the_search_keeps_our_criteria_on_a_tie_and_prefers_no_false_induction_to_anything_else():
    tried = candidates()
    assert (tried[0], len(set(tried))) == (Criteria(), 16)
    fine, false = [case({"induction"}, ["induction"])], [case(set(), ["induction"])]
    missing = [case({"induction"}, [])]
    tie = search([[fine] * len(tried)])
    assert tie.best == Criteria()
    better = search([[false, *[missing] * (len(tried) - 1)]])
    assert better.best == tried[1]
    assert better.to_dict()["own_is_best"] is False
