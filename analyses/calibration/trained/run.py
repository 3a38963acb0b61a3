"""Every case trained (unless it is on disk) and judged, in processes of one thread each."""

import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from analyses.calibration.trained.cache import is_trained, trained
from analyses.calibration.trained.cases import Case
from analyses.calibration.trained.rows import judge
from analyses.calibration.trained.totals import totals

Row = dict[str, Any]


def calibrate_trained(cases: Sequence[Case], root: Path, jobs: int = 1, progress: bool = True) -> dict[str, Any]:
    """The content of results.json: a row for each case, in order, and the totals.

    Models are kept under `root` as soon as they are trained, so that after Ctrl-C a new run goes on from there;
    judging, which takes a few seconds for each, is done anew. The outcome does not depend on `jobs`.
    """
    left = sum(not is_trained(case, root) for case in cases)
    bar = tqdm(total=len(cases), disable=not progress, unit="model", file=sys.stderr, smoothing=0.05)
    bar.set_description(f"{left} to train" if left else "judging")
    with bar:
        rows = [_counted(bar, row) for row in _rows(cases, root, jobs)]
    return {"command": "python -m analyses.calibration.trained", "rows": rows, "totals": totals(rows)}


def _rows(cases: Sequence[Case], root: Path, jobs: int) -> Any:
    """The rows one by one, as they are done."""
    one = partial(_row, root=root)
    if jobs <= 1:
        yield from map(one, cases)
        return
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _start_worker)
    try:
        yield from pool.map(one, cases)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _row(case: Case, root: Path) -> Row:
    return judge(case, trained(case, root).model).to_dict()


def _counted(bar: tqdm, row: Row) -> Row:
    bar.update()
    return row


def _start_worker() -> None:
    """One thread; Ctrl-C is for the parent to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
