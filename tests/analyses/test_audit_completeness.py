"""Whether the audit doubts a circuit that does not account for the gain, and only then."""

import pytest

from analyses.audit import Criteria, audit
from analyses.audit.completeness import completeness
from analyses.commands.audit_text import doubts as printed
from interp.in_context.carried import Carried, Shares
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


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ({"lost": (1.0, 0.4)}, "without L1H0 0.80 [0.78, 0.82] of what is gained from order goes, not surely 0.9"),
        ({"kept": (0.88, 1.0)}, "with L1H0 alone 0.76 [0.74, 0.78] of what is gained from order stays, not surely 0.8"),
        ({"kept": (1.0, 0.905)}, "(removed by resample): other heads take part"),
        ({"named": ""}, "the model gains 2.00 nats from the order of tokens, and no head is named that does it"),
    ],
)
def test_a_circuit_that_falls_short_by_either_removal_is_doubted(shares, words):
    assert len(judged(**shares).doubts) == 1
    assert words in judged(**shares).doubts[0]


@pytest.mark.parametrize("gain", [1.5, 2.005, 2.15])
def test_what_counting_brings_as_well_is_no_gain_from_order(gain):
    assert judged(named="", gain=gain).doubts == ()
    assert judged(kept=(0.0, 0.0), gain=gain).doubts == ()


@pytest.mark.parametrize("name", ["induction_k", "induction_q", "induction_both", "induction_smeared"])
def test_the_true_circuit_of_a_handmade_model_is_not_doubted(handmade_audits, name):
    assert handmade_audits[name].doubts == ()
    assert min(e.low for e in handmade_audits[name].in_context.completeness.kept.values()) > 0.95


def test_a_model_whose_induction_heads_are_not_named_is_doubted_and_it_is_printed_first():
    blind = audit(make("induction_k").model, bos=0, criteria=Criteria(pattern_mass=0.9, null_margin=0.999))
    assert blind.heads("induction") == []
    assert len(blind.doubts) == 1
    assert "no head is named that does it" in blind.doubts[0]
    assert blind.to_dict()["doubts"] == list(blind.doubts)
    assert printed(blind)[0].startswith("Doubts\n  the model gains")


def test_an_untrained_model_is_not_doubted(untrained_audit):
    assert untrained_audit.doubts == ()
