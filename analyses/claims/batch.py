"""Many trainings at once: each once, longest first, kept as soon as it is done; one that fails stops no other."""

import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from analyses.claims import cache
from analyses.claims.arms import Task, arm_digest, check_arms, tasks_of, unique
from analyses.claims.cache import Trained, checked_row
from analyses.claims.claim import Arm, Claim, Row
from analyses.claims.result import ClaimResult
from analyses.claims.running import check_request, run_arm
from analyses.processes import mapped
from interp.errors import InputError

UNKNOWN = float("inf")
"""Seconds of what was never trained: it is begun first, for it may be long."""


@dataclass(frozen=True)
class Failure:
    """A training that raised: whose it was and what was said, in one line; `trace` has the rest."""

    what: str
    trace: str


@dataclass(frozen=True)
class Outcome:
    """What a batch of claims gave: a result for each that could be judged, and one line for each failure."""

    results: tuple[ClaimResult, ...]
    seconds: Mapping[str, Mapping[str, float]]
    """CPU seconds of each arm, over its seeds, by claim and arm."""
    failures: tuple[Failure, ...]


def run_claims(
    claims: Sequence[Claim],
    seeds: Sequence[int],
    budget: float = 1.0,
    device: str = "cpu",
    *,
    folder: Path = cache.FOLDER,
    jobs: int = 1,
    progress: bool = True,
    known: Mapping[str, float] | None = None,
) -> Outcome:
    """Every arm of these claims with every seed, from the cache where it is there, and what follows.

    `known` holds CPU seconds for one seed at budget 1.0 by `arm_digest`, for arms that the cache does not know.
    Raises `InputError` for no seeds, repeated seeds, a budget not above 0, or an arm that cannot be cached.
    """
    check_request(seeds, budget)
    check_arms(claims)
    tasks = [task for claim in claims for task in tasks_of(claim, claim.arms, seeds, budget, device)]
    trained = train_all(unique(tasks), folder, jobs, progress, known or {})
    failures = [found for found in trained.values() if isinstance(found, Failure)]
    results, seconds = [], {}
    for claim in claims:
        found = {name: tasks_of(claim, {name: arm}, seeds, budget, device) for name, arm in claim.arms.items()}
        rows, seconds[claim.name] = rows_of(found, trained)
        if rows is None:
            continue
        try:
            result = ClaimResult(claim, tuple(seeds), budget, rows)
            _ = result.verdict
            results.append(result)
        except InputError as error:
            failures.append(Failure(str(error), ""))
    return Outcome(tuple(results), seconds, tuple(failures))


def rows_of(
    tasks: Mapping[str, Sequence[Task]], trained: Mapping[str, Trained | Failure]
) -> tuple[dict[str, list[Row]] | None, dict[str, float]]:
    """Rows and CPU seconds by arm, in the order of its tasks; no rows where a training failed."""
    done = {name: [trained[task.key] for task in each] for name, each in tasks.items()}
    good = {name: [each for each in arm if isinstance(each, Trained)] for name, arm in done.items()}
    seconds = {name: sum(each.seconds for each in arm) for name, arm in good.items()}
    if any(len(good[name]) < len(done[name]) for name in done):
        return None, seconds
    return {name: [each.row for each in arm] for name, arm in good.items()}, seconds


def train_all(
    tasks: Sequence[Task], folder: Path, jobs: int, progress: bool, known: Mapping[str, float]
) -> dict[str, Trained | Failure]:
    """Every training by its key; those on disk are read, the others trained, longest first."""
    found: dict[str, Trained | Failure] = {}
    left = []
    for task in tasks:
        there = cache.load(task, folder)
        if there is None:
            left.append(task)
        else:
            found[task.key] = there
    arms = {arm_digest(task.arm): task for task in left}
    expected = {digest: expected_seconds(task.arm, task.budget, folder, known) for digest, task in arms.items()}
    left.sort(key=lambda task: -expected[arm_digest(task.arm)])
    if progress and left:
        announce(left, len(found), [expected[arm_digest(task.arm)] for task in left])
    try:
        done = mapped(partial(train_one, folder=folder), left, jobs, progress and bool(left), unit="training")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted: what was trained is kept in {folder}; run it again to go on") from None
    return found | {task.key: each for task, each in zip(left, done, strict=True)}


def expected_seconds(arm: Arm, budget: float, folder: Path, known: Mapping[str, float]) -> float:
    """CPU seconds of an earlier training, or those that are known for budget 1.0."""
    earlier = cache.earlier_seconds(arm, budget, folder)
    return known.get(arm_digest(arm), UNKNOWN) * budget if earlier is None else earlier


def announce(left: Sequence[Task], there: int, seconds: Sequence[float]) -> None:
    """What is to be done, for whoever waits."""
    known = [each for each in seconds if each < UNKNOWN]
    first = f", {len(seconds) - len(known)} of them for the first time" if len(known) < len(seconds) else ""
    cost = (
        f"; the others take about {sum(known):.0f} s of CPU time"
        if first
        else f", about {sum(known):.0f} s of CPU time"
    )
    said = f"{len(left)} trainings to do{first}{cost if known else ''}"
    print(f"interp: {said}; {there} are there already", file=sys.stderr, flush=True)


def train_one(task: Task, folder: Path) -> Trained | Failure:
    """One training, written to disk as soon as it is done; whatever it raises is a `Failure`."""
    start = time.process_time()
    try:
        if replace(task).key != task.key:
            raise InputError("its source was changed after the batch began; run it again")
        row = checked_row(run_arm(task.arm, task.seed, task.budget, task.device))
        done = Trained(row, round(time.process_time() - start, 3))
        cache.save(task, done, folder)
        return done
    except Exception as error:
        said = " ".join(str(error).split())
        return Failure(f"{task}: {type(error).__name__}: {said}", traceback.format_exc())
