"""Whether the audit doubts a circuit that does not account for the gain, and only then."""

from dataclasses import replace

import pytest

from analyses.audit import Criteria, audit
from analyses.audit.completeness import completeness
from analyses.audit.in_context import measure_in_context
from analyses.commands.audit_text import doubts as printed
from interp.in_context.carried import Carried, Shares
from interp.names import Head
from interp.stats import Estimate
from toy_models.handmade import make

pytest_plugins = ("tests.reports", "tests.handmade_audits")


def estimate(mean, half=0.01):
    return Estimate(mean, mean - half, mean + half, 32, 0.95, "made up")


def carried(lost, kept):
    """Shares of the whole gain, by mean and by resample."""
    by = {to: Shares(estimate(a), estimate(b), to) for to, a, b in zip(("mean", "resample"), lost, kept, strict=True)}
    return Carried((), estimate(4.0), by, None)


def judged(lost=(1.0, 1.0), kept=(1.0, 1.0), gain=4.0, named="L1H0", counting=2.0):
    return completeness(estimate(gain), counting, 4.0, named, carried(lost, kept), Criteria())


def test_shares_are_those_of_the_gain_above_what_counting_brings():
    found = judged(lost=(0.5, 1.0), kept=(0.9, 0.5))
    assert found.gained == 2.0
    assert [found.lost[to].mean for to in ("mean", "resample")] == pytest.approx([1.0, 2.0])
    assert [found.kept[to].mean for to in ("mean", "resample")] == pytest.approx([0.8, 0.0])
    assert (found.kept["mean"].low, found.kept["mean"].high) == pytest.approx((0.78, 0.82))


def test_a_circuit_that_takes_all_and_keeps_all_is_not_doubted():
    assert judged().doubts == ()
    assert judged().keeps_enough


@pytest.mark.parametrize(
    ("shares", "words", "enough"),
    [
        ({"lost": (0.4, 1.0)}, "without L1H0, 0.80 [0.78, 0.82] of what the model gains from order goes", True),
        ({"kept": (1.0, 0.88)}, "with L1H0 alone, 0.76 [0.74, 0.78] of what the model gains from order stays", False),
        ({"kept": (0.9, 1.0)}, "order stays (removed by mean), not surely 0.8", False),
        ({"named": ""}, "the model gains 2.00 nats from the order of tokens, and no head is named that does it", True),
    ],
)
def test_a_circuit_that_falls_short_is_doubted(shares, words, enough):
    assert len(judged(**shares).doubts) == 1
    assert words in judged(**shares).doubts[0]
    assert judged(**shares).keeps_enough is enough


@pytest.mark.parametrize("gain", [1.5, 2.005, 2.15])
def test_what_counting_brings_as_well_is_no_gain_from_order(gain):
    assert judged(named="", gain=gain).doubts == ()
    assert completeness(estimate(2.005), 2.0, None, "", None, Criteria()).doubts == (), "nor without a known optimum"
    assert judged(kept=(0.0, 0.0), gain=gain).doubts == ()


@pytest.mark.parametrize("name", ["induction_k", "induction_q", "induction_both", "induction_smeared"])
def test_the_true_circuit_of_a_handmade_model_is_not_doubted(handmade_audits, name):
    assert handmade_audits[name].doubts == ()
    assert handmade_audits[name].in_context.completeness.kept["resample"].low > 0.95
    assert handmade_audits[name].in_context.support is None


def test_a_head_that_a_circuit_lacks_is_found_and_said_to_take_part(handmade_audits):
    report = handmade_audits["induction_k"]
    verdicts = [replace(v, claims=tuple(replace(c, feeders=()) for c in v.claims)) for v in report.verdicts]
    found = measure_in_context(make("induction_k").model, report.battery, verdicts, Criteria(), seed=0)
    assert str(found.circuit) == "L1H0"
    assert found.support.heads == (Head(0, 0),)
    assert found.support.enough
    assert "with L1H0 alone" in found.doubts[0]
    assert found.doubts[-1].startswith("L0H0 takes part beside them: heads were added one by one until 1.00 [")
    assert found.to_dict()["support"]["heads"] == ["L0H0"]


def test_a_model_whose_induction_heads_are_not_named_is_doubted_and_it_is_printed_first():
    blind = audit(make("induction_k").model, bos=0, criteria=Criteria(pattern_mass=0.9, null_margin=0.999))
    assert blind.heads("induction") == []
    assert len(blind.doubts) == 1
    assert "no head is named that does it" in blind.doubts[0]
    assert blind.to_dict()["doubts"] == list(blind.doubts)
    assert printed(blind)[0].startswith("Doubts\n  the model gains")


def test_an_untrained_model_is_not_doubted(untrained_audit):
    assert untrained_audit.doubts == ()
