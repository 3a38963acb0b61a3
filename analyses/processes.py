"""One function of many tasks: processes of one thread each, a progress bar, and an orderly end on Ctrl-C."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

import torch
from tqdm import tqdm

Task = TypeVar("Task")
Result = TypeVar("Result")


def mapped(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    jobs: int,
    progress: bool = True,
    label: str = "",
    unit: str = "model",
) -> list[Result]:
    """`function` of every task, in order, in `jobs` processes; the outcome does not depend on how many.

    Tasks are begun in order, and counted as they end. An error in one task ends everything, and so does Ctrl-C, as
    soon as the tasks in hand are done; no process stays. `function` and tasks are sent to other processes: a function
    of a module, or a `partial` of one.
    """
    bar = tqdm(total=len(tasks), disable=not progress, unit=unit, file=sys.stderr, smoothing=0.05, desc=label or None)
    found: dict[int, Result] = {}
    with bar:
        for index, result in _results(function, tasks, jobs):
            found[index] = result
            bar.update()
    return [found[index] for index in range(len(tasks))]


def _results(function: Callable[[Task], Result], tasks: Sequence[Task], jobs: int) -> Iterator[tuple[int, Result]]:
    """Each task's place with its result, as they end."""
    if jobs <= 1:
        yield from enumerate(map(function, tasks))
        return
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _start_worker)
    try:
        places = {pool.submit(function, task): index for index, task in enumerate(tasks)}
        for done in as_completed(places):
            yield places[done], done.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """One thread; Ctrl-C is for the parent to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
