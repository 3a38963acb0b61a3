"""Fair timing on a shared machine: the rivals take turns, so that a slow minute slows them all."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds of CPU time of one call: the median over rounds, and the fastest round."""

    median: float
    fastest: float
    rounds: int


def take_turns(
    rivals: Mapping[str, Callable[[], object]], rounds: int = 15, calls: int = 5, warm_up: int = 3
) -> dict[str, Timing]:
    """Time each rival `rounds` times, `calls` calls a round, the rivals in turn within every round.

    CPU time of this process is counted, not wall time: with one thread that leaves out what other programs take.
    """
    for rival in rivals.values():
        for _ in range(warm_up):
            rival()
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, rival in rivals.items():
            start = time.process_time()
            for _ in range(calls):
                rival()
            seconds[name].append((time.process_time() - start) / calls)
    return {name: Timing(statistics.median(s), min(s), rounds) for name, s in seconds.items()}


def ratio(timings: Mapping[str, Timing], slower: str, faster: str) -> float:
    """How many times as long `slower` takes as `faster`, by medians."""
    return timings[slower].median / timings[faster].median
