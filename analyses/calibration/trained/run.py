"""Every case trained (unless it is on disk) and judged, in processes of one thread each."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from analyses.calibration.trained.cache import is_trained, trained
from analyses.calibration.trained.cases import Case
from analyses.calibration.trained.rows import judge
from analyses.calibration.trained.totals import totals
from analyses.processes import mapped

Row = dict[str, Any]


def calibrate_trained(cases: Sequence[Case], root: Path, jobs: int = 1, progress: bool = True) -> dict[str, Any]:
    """The content of results.json: a row for each case, in order, and the totals.

    Models are kept under `root` as soon as they are trained, so that after Ctrl-C a new run goes on from there;
    judging, which takes a few seconds for each, is done anew. The outcome does not depend on `jobs`.
    """
    left = sum(not is_trained(case, root) for case in cases)
    rows = mapped(partial(_row, root=root), cases, jobs, progress, f"{left} to train" if left else "judging")
    return {"command": "python -m analyses.calibration.trained", "rows": rows, "totals": totals(rows)}


def _row(case: Case, root: Path) -> Row:
    return judge(case, trained(case, root).model).to_dict()
