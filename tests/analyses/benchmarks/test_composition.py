"""The composition benchmark compares like with like, and measures what it says."""

import sys

import pytest
import torch

from analyses.benchmarks import circuits, composition
from analyses.benchmarks.composition import KINDS, Row, Size, bridge_of, our_scores, their_scores
from analyses.benchmarks.memory import Peak, peak_memory
from interp.weights import weights_of

TINY = Size(3, 2, 24, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_both_rivals_give_the_same_scores(kind):
    bridge = bridge_of(TINY)
    ours, theirs = our_scores(weights_of(bridge, fold=False), kind), their_scores(bridge, kind)
    assert float((ours.nan_to_num(0) - theirs).abs().max()) <= 1e-6
    assert float(theirs[0, 0, 1, 0]) > 0.01


def test_the_rivals_models_have_the_same_weights_every_time():
    first, second = (weights_of(bridge_of(TINY), fold=False) for _ in range(2))
    assert torch.equal(first.W_Q, second.W_Q)
    assert first.W_Q.shape == (3, 2, 24, 4)


def hundred_megabytes() -> int:
    return 100_000_000


def fill(n: int) -> None:
    torch.ones(n, dtype=torch.uint8)


def fill_nothing(n: int) -> None:
    return None


def test_peak_memory_is_that_of_the_call_alone():
    filled, idle = peak_memory(hundred_megabytes, fill), peak_memory(hundred_megabytes, fill_nothing)
    assert 95e6 <= filled.added <= 130e6
    assert idle.added <= 10e6
    assert filled.before > 50e6  # torch itself


def fail(n: int) -> None:
    sys.exit(1)


def test_a_process_that_dies_is_an_error():
    with pytest.raises(RuntimeError, match="ended early"):
        peak_memory(hundred_megabytes, fail)


def test_ratios_and_differences_are_printed(monkeypatch, capsys):
    def measured(kind, size, rounds):
        assert (size, rounds) == (composition.QUICK, 3)
        return Row(kind, ours=0.5, theirs=20.0, our_memory=200e6, their_memory=8e9, difference=6e-8)

    monkeypatch.setattr(composition, "measure", measured)
    monkeypatch.setattr(sys, "argv", ["circuits", "--quick", "--rounds", "3"])
    circuits.main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    for kind in KINDS:
        assert [kind, "0.50", "20.00", "40x", "200", "8000", "40x", "6.0e-08"] in rows


def test_one_measurement_holds_both_rivals(monkeypatch):
    peaks = iter([Peak(1e8, 1.5e8), Peak(1e8, 4e8)])
    monkeypatch.setattr(composition, "peak_memory", lambda prepare, call: next(peaks))
    row = composition.measure("K", TINY, rounds=2)
    assert (row.kind, row.our_memory, row.their_memory) == ("K", 0.5e8, 3e8)
    assert 0 < row.ours < 5
    assert 0 < row.theirs < 5
    assert row.difference <= 1e-6
