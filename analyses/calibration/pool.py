"""Many drawn models audited at once."""

from collections.abc import Sequence

from analyses.audit import Criteria
from analyses.calibration.cases import Case, cases_of
from analyses.calibration.draws import Draw
from analyses.processes import mapped

Task = tuple[Draw, tuple[Criteria, ...]]


def audit_all(tasks: Sequence[Task], jobs: int, progress: bool = True) -> list[list[list[Case]]]:
    """`cases_of` every task, in order, in `jobs` processes; the outcome does not depend on how many."""
    return mapped(_cases, tasks, jobs, progress)


def _cases(task: Task) -> list[list[Case]]:
    return cases_of(*task)
