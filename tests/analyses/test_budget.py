"""An audit within a budget: a plan before the work, what it leaves out is missing, and it gives the same again."""

import io
import json
import time
from dataclasses import replace

import pytest
import torch
from matplotlib.figure import Figure

from analyses.audit import audit, budget, costs
from analyses.audit.budget import fitted, make_plan
from analyses.audit.costs import Costs
from analyses.audit.plan import Plan
from analyses.audit.progress import Progress
from analyses.audit.sampling import copying_of, sampled
from analyses.audit.within import LEFT_OUT
from analyses.output import strict_json
from interp.circuits import copying_score
from interp.circuits.tables import full_ov
from interp.errors import InputError
from interp.names import Head
from interp.weights import weights_of
from toy_models import handmade
from toy_models.config import TransformerConfig
from toy_models.handmade.variants import with_idle_heads
from toy_models.transformer import Transformer

pytest_plugins = ("tests.command_line",)

COSTS = Costs(
    pass_of_sequence=0.12,
    battery_sequences=12.0,
    eigenvalues=0.003,
    work_of_sequence=2e10,
    n_layers=30,
    n_heads=9,
    reading_of_sequence=0.001,
)
FEW = Plan(sequences=6, candidates=2, partners=2, draws=40, tokens=12, positions=30)


@pytest.fixture(scope="module")
def made():
    """K-composition induction with 2 x 4 heads: L0H0 looks back by one, L1H0 is the induction head."""
    return with_idle_heads(handmade.make("induction_k", dtype=torch.float32), 3).model


@pytest.fixture(scope="module")
def whole(made):
    return audit(made, bos=0, context=False)


@pytest.fixture(scope="module")
def reduced(made):
    return audit(made, bos=0, plan=Plan(candidates=2))


def numbers(report) -> str:
    return strict_json({**report.to_dict(), "plan": None})


def test_the_first_eigenvalues_of_a_process_do_not_count(made, monkeypatch):
    eigenvalues, calls = torch.linalg.eigvals, []

    def slow_at_first(table):
        calls.append(len(calls))
        time.sleep(0.4 if len(calls) == 1 else 0.0)  # the library is loaded, its threads are started
        return eigenvalues(table)

    monkeypatch.setattr(torch.linalg, "eigvals", slow_at_first)
    first = budget.olsson_protocol(16, 34, 0)
    assert Costs.timed(made, first, []).eigenvalues < 0.05


def test_a_small_model_is_measured_whole_whatever_the_clock_says(made, monkeypatch):
    monkeypatch.setattr(costs, "seconds_of_pass", lambda model, tokens: 1000.0)
    plan = make_plan(made, 0)
    assert plan.everything
    assert plan.left_out == ()
    assert plan.text == ""


def test_a_large_model_gets_less_by_default_and_whole_if_there_is_time(made, monkeypatch):
    monkeypatch.setattr(budget, "SMALL_WORK", 1.0)
    monkeypatch.setattr(costs, "seconds_of_pass", lambda model, tokens: 0.1)
    plan = make_plan(made, 0)
    assert not plan.everything
    assert plan.minutes == 4.0
    assert make_plan(made, 0, minutes=600.0).everything
    assert not make_plan(made, 0, minutes=0.5).everything


def test_a_vocabulary_too_large_for_tables_is_never_measured_whole(monkeypatch):
    monkeypatch.setattr(budget, "MOST_TOKENS", 12)
    model = Transformer(TransformerConfig(n_layers=1, n_heads=1, d_model=4, d_head=4, d_vocab=13, n_ctx=24))
    assert not make_plan(model, minutes=1000.0).everything


@pytest.mark.parametrize("minutes", [1.0, 2.0, 4.0, 15.0, 60.0])
def test_a_fitted_plan_keeps_its_budget(minutes):
    plan = fitted(Plan(partners=4, minutes=minutes), COSTS, 60 * minutes, 270)
    assert plan.candidates is not None
    least = plan.sequences == min(budget.FEWER_SEQUENCES) and plan.candidates == budget.FEWEST_CANDIDATES
    assert least or sum(COSTS.of(plan).values()) <= 60 * minutes
    more = fitted(Plan(partners=4), COSTS, 120 * minutes, 270)
    assert (more.sequences, more.candidates) >= (plan.sequences, plan.candidates)
    wider = replace(plan, candidates=plan.candidates + 1)
    assert plan.candidates == 270 or sum(COSTS.of(wider).values()) > 60 * minutes


def test_a_plan_counts_what_feeds_heads_and_where_virtual_heads_may_end():
    few, whole = Plan(sequences=16, candidates=10, feeders=16), Plan(sequences=16)
    beside = COSTS.battery_sequences + costs.BESIDE_PASSES
    assert COSTS.passes(few) == 16 * (beside + 4 + 2 * 10 + costs.FEEDING_PASSES)
    assert COSTS.passes(whole) == 16 * (beside + 4 + 2 * 270 + costs.FEEDING_PASSES + 9 * 29)
    assert replace(COSTS, n_layers=1).passes(replace(whole, candidates=3)) == 16 * (beside + 4 + 2 * 3)
    readings = 10 * (2 * 33 + 4 * 16)  # two inputs without each, with each alone and without all; then the fewest
    passes = 16 * 0.12 * (4 + 2 * 10 + costs.FEEDING_PASSES)
    assert COSTS.of(few)["causal"] == pytest.approx(passes + 16 * readings * 0.001)
    assert COSTS.of(few)["causal"] > COSTS.of(replace(few, feeders=4))["causal"]


def test_a_budget_that_does_not_hold_the_least_is_said_to_be_too_small():
    small, enough = (fitted(Plan(partners=4, minutes=m), COSTS, 60 * m, 270) for m in (0.1, 4.0))
    least = sum(COSTS.of(replace(small, sequences=4, candidates=4)).values()) / 60
    assert (
        small.too_small == f"The budget is too small: the least that is measured was estimated at {least:.2g} minutes."
    )
    assert small.text.endswith(small.too_small)
    assert enough.too_small == Plan().too_small == Plan(candidates=2).too_small == ""
    assert "too small" not in enough.text


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_that_is_none_is_refused(made, minutes):
    with pytest.raises(InputError, match="--budget must be a number of minutes above 0"):
        make_plan(made, minutes=minutes)


def test_the_first_heads_by_behaviour_are_chosen(reduced):
    plan = Plan(candidates=2)
    assert plan.chosen(reduced.battery) == (Head(0, 0), Head(1, 0))
    assert plan.partners_of((Head(0, 0), Head(1, 0)), reduced.battery) == {
        Head(1, 0): tuple(Head(0, index) for index in range(4))
    }
    assert Plan(candidates=2, partners=1).partners_of((Head(1, 0),), reduced.battery) == {Head(1, 0): (Head(0, 0),)}


def test_chosen_heads_have_the_roles_and_effects_of_the_whole_audit(whole, reduced):
    for head in ("L0H0", "L1H0"):
        assert (reduced[head].role, reduced[head].confidence) == (whole[head].role, whole[head].confidence)
    assert reduced["L1H0"].claims[0].feeders[0].head == "L0H0"
    for to in ("mean", "zero"):
        few, every = (report.sources.causal.effects.predictable[to].mean for report in (reduced, whole))
        torch.testing.assert_close(few[[0, 1], [0, 0]], every[[0, 1], [0, 0]])
        assert bool(few[:, 1:].isnan().all())


def test_what_is_left_out_is_missing_with_a_note_and_never_strong(reduced):
    others = [verdict for verdict in reduced.verdicts if verdict.head not in ("L0H0", "L1H0")]
    claims = [claim for verdict in others for claim in verdict.claims]
    assert claims
    for claim in claims:
        causal = next(evidence for evidence in claim.evidence if evidence.kind == "causal")
        assert causal.status == "missing"
        assert causal.note
        assert claim.confidence != "strong"
    assert any(evidence.note == LEFT_OUT for claim in claims for evidence in claim.evidence)


def test_the_plan_says_what_was_left_out(reduced):
    text = reduced.plan.text
    assert text.startswith("Not everything was measured, as planned:")
    assert "for 2 heads only" in text
    assert "sequences" not in reduced.plan.left_out[0]
    assert "6 sequences of each protocol instead of 32" in FEW.left_out
    assert json.loads(strict_json(reduced.to_dict()))["plan"]["candidates"] == 2


def test_a_plan_gives_the_same_numbers_again_from_json(made):
    first = audit(made, bos=0, plan=FEW)
    again = audit(made, bos=0, plan=Plan.from_dict(json.loads(strict_json(first.to_dict()))))
    assert numbers(again) == numbers(first)
    assert numbers(audit(made, bos=0, plan=replace(FEW, candidates=3))) != numbers(first)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "a plan is a JSON object"),
        ({"schema": "interp-audit"}, "a plan is a JSON object"),
        ({"plan": None}, "a plan is a JSON object"),
        ({"candidates": "all"}, "a plan's candidates must be a whole number of at least 2, got 'all'"),
        ({"sequences": None}, "a plan's sequences must be"),
        ({"tokens": 1}, "a plan's tokens must be"),
        ({"draws": True}, "a plan's draws must be"),
    ],
)
def test_what_is_no_plan_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        Plan.from_dict(values)


@pytest.mark.parametrize("positions", ["standard", "rotary"])
def test_sampled_tables_are_parts_of_the_whole_ones(positions):
    config = TransformerConfig(n_layers=2, n_heads=2, d_model=12, d_head=4, d_vocab=40, n_ctx=20, positions=positions)
    weights = weights_of(Transformer(config, torch.Generator().manual_seed(0)))
    small, bos = sampled(weights, Plan(tokens=9, positions=7), 3, (5, 6), torch.Generator().manual_seed(1))
    assert (small.d_vocab, small.n_ctx, bos) == (10, 7, 0)
    rows = [int((row == weights.W_E).all(1).nonzero()) for row in small.W_E]
    assert rows[0] == 3
    assert rows[1:] == sorted(set(rows[1:]) - {3, 5, 6})
    expected = full_ov(weights).dense()[:, :, rows][:, :, :, rows]
    torch.testing.assert_close(full_ov(small).dense(), expected)
    same, bos = sampled(weights, Plan(), 3, (), torch.Generator())
    assert (same.d_vocab, same.n_ctx, bos) == (40, 20, 3)


def test_copying_of_a_few_heads_is_that_of_all(made):
    weights, heads = weights_of(made), (Head(0, 2), Head(1, 0))
    few, every = copying_of(weights, heads, torch.Generator()), copying_score(weights, torch.Generator())
    at = [0, 1], [2, 0]
    torch.testing.assert_close(few.eigenvalue.value[at], every.eigenvalue.value[at])
    torch.testing.assert_close(few.top1.value[at], every.top1.value[at])
    assert int(few.eigenvalue.value.isnan().sum()) == 6


def test_the_command_keeps_to_a_budget_and_does_a_plan_again(interp, induction, tmp_path):
    first = interp("audit", induction, "--no-report", "--out", tmp_path / "a", "--budget", "1e-9", "--json")
    assert first.code == 0
    plan = first.json["plan"]
    assert (plan["everything"], plan["sequences"], plan["minutes"]) == (False, 4, 1e-9)
    report = tmp_path / "a" / "report.json"
    again = interp("audit", induction, "--no-report", "--out", tmp_path / "b", "--plan", report, "--json")
    assert again.json["verdicts"] == first.json["verdicts"]
    assert again.json["measurements"] == first.json["measurements"]
    told = interp("audit", induction, "--no-report", "--out", tmp_path / "b", "--plan", report)
    assert "Not everything was measured" in " ".join(told.out.split())


def test_the_page_of_a_reduced_audit_says_so_first(interp, induction, tmp_path, monkeypatch):
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **options: file.write(b"\x89PNG"))
    called = interp("audit", induction, "--out", tmp_path, "--budget", "1e-9")
    assert called.code == 0
    page = (tmp_path / "report.html").read_text()
    assert "What was not measured" in page
    assert "--plan report.json" in page
    assert 'id="circuits"' not in page


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--budget", "soon"], "--budget takes a number of minutes, as in --budget 4, got 'soon'"),
        (["--budget", "0"], "--budget must be a number of minutes above 0, got 0"),
        (["--budget", "1", "--plan", "x.json"], "leave one of them out"),
        (["--plan", "nothing.json"], "nothing.json: not a JSON file"),
    ],
)
def test_bad_budgets_and_plans_are_one_line(interp, induction, tmp_path, options, message):
    called = interp("audit", induction, "--out", tmp_path / "out", *options)
    assert (called.code, called.err.count("\n")) == (2, 1)
    assert message in called.err
    assert not (tmp_path / "out").exists()


def test_ctrl_c_in_the_middle_is_one_line_and_nothing_is_written(interp, induction, tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("analyses.audit.run.Causal", interrupt)
    called = interp("audit", induction, "--out", tmp_path / "out")
    assert (called.code, called.out, called.err) == (130, "", "interp: interrupted\n")
    assert not (tmp_path / "out").exists()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_slow_audit_shows_its_stages_on_a_terminal_and_nothing_elsewhere(monkeypatch):
    def shown(stderr, estimated):
        monkeypatch.setattr("sys.stderr", stderr)
        with Progress(estimated, True) as bar:
            with bar.stage("behaviour"):
                pass
            with bar.stage("causal"):
                bar.note(heads="12")
        return stderr.getvalue()

    slow = {"behaviour": 30.0, "causal": 90.0}
    text = shown(Terminal(), slow)
    assert "interp: behaviour" in text
    assert "25%" in text
    assert "heads=12" in text
    assert shown(io.StringIO(), slow) == ""
    assert shown(Terminal(), {"behaviour": 0.5, "causal": 1.0}) == ""
