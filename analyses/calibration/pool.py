"""Many models at once: processes of one thread each, a progress bar, and an orderly end on Ctrl-C."""

import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch
from tqdm import tqdm

from analyses.audit import Criteria
from analyses.calibration.cases import Case, cases_of
from analyses.calibration.draws import Draw

Task = tuple[Draw, tuple[Criteria, ...]]


def audit_all(tasks: Sequence[Task], jobs: int, progress: bool = True) -> list[list[list[Case]]]:
    """`cases_of` every task, in order, in `jobs` processes; the outcome does not depend on how many.

    An error in one task ends everything, and so does Ctrl-C, as soon as the models in hand are done; no process stays.
    """
    bar = tqdm(total=len(tasks), disable=not progress, unit="model", file=sys.stderr, smoothing=0.05)
    with bar:
        if jobs <= 1:
            return [_counted(bar, _cases(task)) for task in tasks]
        pool = ProcessPoolExecutor(jobs, get_context("spawn"), _start_worker)
        try:
            return [_counted(bar, cases) for cases in pool.map(_cases, tasks)]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _counted(bar: tqdm, cases: list[list[Case]]) -> list[list[Case]]:
    bar.update()
    return cases


def _cases(task: Task) -> list[list[Case]]:
    return cases_of(*task)


def _start_worker() -> None:
    """One thread; Ctrl-C is for the parent to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
