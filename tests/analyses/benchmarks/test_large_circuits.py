"""The rivals of the benchmark answer the same question, and what is printed is what was measured."""

import re

import pytest
import torch

from analyses.benchmarks import large_circuits
from analyses.benchmarks.large_circuits import Size, loop, one_table, our_scores, our_top, random_weights, spread_heads
from analyses.benchmarks.memory import Peak
from interp.circuits import copying_score

TINY = Size(2, 3, 16, 4, 50, rivals=3)


def test_both_copying_scores_are_those_of_the_dense_tables(generator):
    w = random_weights(TINY)
    heads = tuple((layer, head) for layer in range(2) for head in range(3))
    exact = copying_score(w.to(torch.float64), generator, draws=2).eigenvalue.value.flatten()
    assert torch.allclose(our_scores(w), exact, rtol=0, atol=1e-4)
    assert torch.allclose(loop(w, heads).double(), exact, rtol=0, atol=1e-4)
    assert float(exact.std()) > 0.1


def test_the_timed_table_is_one_heads_and_its_largest_entries_are_found():
    table = one_table(TINY)
    assert torch.allclose(our_top(table).value, table.dense().flatten().topk(32).values, rtol=0, atol=1e-7)
    assert table.shape == (50, 50)


def test_heads_of_the_loop_are_spread_over_layers():
    assert spread_heads(TINY) == ((0, 0), (0, 2), (1, 1))
    assert len(spread_heads(large_circuits.FULL)) == large_circuits.FULL.rivals


def test_the_loops_time_is_scaled_to_all_heads_and_printed_with_its_ratio(monkeypatch, capsys):
    ticks = iter(range(1000))
    monkeypatch.setattr("analyses.benchmarks.timing.time.process_time", lambda: float(next(ticks)))
    monkeypatch.setattr(large_circuits, "peak_memory", lambda prepare, call: Peak(1e6, 3e6))
    monkeypatch.setattr(large_circuits, "QUICK", TINY)
    large_circuits.report(rounds=2, quick=True)
    out = capsys.readouterr().out
    copying = next(line for line in out.splitlines() if "copying score of all 6 heads" in line)
    numbers = re.findall(r"[\d.]+(?:e-\d+)?", copying.replace("all 6 heads", ""))
    assert [float(n) for n in numbers[:5]] == [1, 2, 2, 2, 2]  # a second each; 3 of 6 heads, hence twice the loop's
    assert float(numbers[5]) <= 1e-4
    top = next(line for line in out.splitlines() if "top 32 entries" in line)
    assert top.split()[-5:-1] == ["1.000", "1.000", "1.00x", "2"]
    assert "timed on 3 heads and scaled up to 6" in out


@pytest.mark.parametrize("name", ["FULL", "QUICK"])
def test_sizes_hold_as_many_heads_as_the_loop_takes(name):
    size = getattr(large_circuits, name)
    assert len(set(spread_heads(size))) == size.rivals <= size.n_layers * size.n_heads
