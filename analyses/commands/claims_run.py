"""`interp claims run` and `interp claims placebo`: what trains, and writes a file for each claim."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from analyses import exits
from analyses.arguments import Claims
from analyses.claims import stored, text
from analyses.claims.arms import check_arms, unique
from analyses.claims.batch import Failure, Outcome, rows_of, run_claims, train_all
from analyses.claims.cache import FOLDER as CACHE
from analyses.claims.cache import Trained
from analyses.claims.claim import Claim
from analyses.claims.placebo import Placebo, draw_seeds, measured_placebo, needs_placebo, placebo_tasks, seeds_for
from analyses.claims.stored import Stored
from analyses.output import check_folder, say, show, to_document
from interp.errors import InputError
from toy_models.device import find_device

FEW = 8
"""Claims up to this many are printed with all their comparisons after a run."""
UNWRITTEN = "nothing was written: these settings are not the default, so results need a folder of their own, --out DIR"
Seeds = tuple[tuple[int, ...], bool]


def run_and_store(arguments: Claims, claims: Sequence[Claim]) -> int:
    """Trains what is not in the cache, judges, writes a file for each claim, and prints the verdicts."""
    device = str(find_device(arguments.device))
    folder = target(arguments, (arguments.seed, arguments.seeds, arguments.budget, device) == (0, 3, 1.0, "cpu"))
    outcome = run_claims(
        claims,
        range(arguments.seed, arguments.seed + arguments.seeds),
        arguments.budget,
        device,
        folder=check_folder(arguments.cache or CACHE),
        jobs=arguments.jobs,
        known=stored.seconds_known(stored.load().values(), claims),
    )
    documents, failures = documents_of(outcome, device)
    write(folder, documents)
    values = {"results": documents, "failures": [failure.what for failure in failures]}
    show(arguments, to_document(arguments, values), run_text(claims, documents))
    return failed(failures, arguments.debug)


def target(arguments: Claims, default: bool) -> Path | None:
    """Where results go: --out, or the folder that comes with the package where they are the ones that belong there."""
    if arguments.out is not None:
        return check_folder(arguments.out)
    return check_folder(stored.FOLDER) if default else None


def write(folder: Path | None, documents: Sequence[Mapping[str, Any]]) -> None:
    """A file for each, unless there is no folder for them."""
    if folder is None:
        return say(UNWRITTEN)
    for document in documents:
        stored.save(document, folder)
    say(f"wrote {len(documents)} results into {folder}")


def documents_of(outcome: Outcome, device: str) -> tuple[list[dict[str, Any]], list[Failure]]:
    """A document for each result; one that cannot be drawn is a failure."""
    documents, failures = [], list(outcome.failures)
    for result in outcome.results:
        try:
            documents.append(stored.document_of(result, outcome.seconds[result.claim.name], device))
        except InputError as error:
            failures.append(Failure(str(error), ""))
    return documents, failures


def run_text(claims: Sequence[Claim], documents: Sequence[dict[str, Any]]) -> str:
    """All comparisons of a few claims, of many the list of verdicts."""
    found = {document["name"]: Stored(document) for document in documents}
    if len(claims) <= FEW:
        return "\n\n".join(text.details(each) for each in found.values())
    return text.listing([claim for claim in claims if claim.name in found], found)


def failed(failures: Sequence[Failure], debug: bool) -> int:
    """One line for each training that raised (with --debug its traceback), and the exit code."""
    for failure in failures:
        if debug and failure.trace:
            print(failure.trace, file=sys.stderr)
        say(failure.what)
    return exits.INTERNAL_ERROR if failures else exits.OK


def placebo_and_store(arguments: Claims, claims: Sequence[Claim]) -> int:
    """Trains control arms with further seeds, judges them against themselves, and adds that to the claims' files."""
    default = (arguments.seed, arguments.draws, arguments.pool) == (0, 20, 8)
    folder = target(arguments, default)
    results = ready(claims, stored.load(folder or stored.FOLDER), strict=bool(arguments.names))
    seeds = {claim.name: seeds_for(claim, found, arguments.draws, arguments.pool) for claim, found in results}
    tasks = [
        task
        for claim, found in results
        for arm in placebo_tasks(claim, found, seeds[claim.name][0]).values()
        for task in arm
    ]
    check_arms([claim for claim, _ in results])
    known = stored.seconds_known([found for _, found in results], claims)
    cache = check_folder(arguments.cache or CACHE)
    trained = train_all(unique(tasks), cache, arguments.jobs, True, known)
    documents, failures = [], [each for each in trained.values() if isinstance(each, Failure)]
    for claim, found in results:
        placebo = judged(claim, found, trained, seeds[claim.name], arguments)
        if placebo is not None:
            documents.append({**found.document, "placebo": placebo.to_dict()})
    write(folder, documents)
    values = {
        "placebos": {document["name"]: document["placebo"] for document in documents},
        "failures": [failure.what for failure in failures],
    }
    show(arguments, to_document(arguments, values), text.placebos([Stored(document) for document in documents]))
    return failed(failures, arguments.debug)


def ready(claims: Sequence[Claim], found: Mapping[str, Stored], strict: bool) -> list[tuple[Claim, Stored]]:
    """Claims that a placebo is for, with their stored results; without one of today a line, or an `InputError`."""
    kept = []
    for claim in claims:
        there = found.get(claim.name)
        problem = ""
        if not needs_placebo(claim):
            problem = "is an identity, which needs no placebo" if strict else ""
        elif there is None:
            problem = f"has no result yet: interp claims run {claim.name}"
        elif stale := there.stale(claim):
            problem = f"has a stale result ({stale}): interp claims run {claim.name}"
        else:
            kept.append((claim, there))
        if problem and strict:
            raise InputError(f"claim {claim.name} {problem}")
        if problem:
            say(f"left out: claim {claim.name} {problem}")
    return kept


def judged(
    claim: Claim, found: Stored, trained: Mapping[str, Trained | Failure], seeds: Seeds, arguments: Claims
) -> Placebo | None:
    """The claim's placebo; None where one of its trainings failed."""
    numbers, fresh = seeds
    generator = torch.Generator().manual_seed(arguments.seed)
    draws = draw_seeds(numbers, fresh, len(found["seeds"]), arguments.draws, generator)
    rows, seconds = rows_of(placebo_tasks(claim, found, numbers), trained)
    if rows is None:
        return None
    by_seed = {name: dict(zip(numbers, each, strict=True)) for name, each in rows.items()}
    return measured_placebo(claim, by_seed, draws, fresh, sum(seconds.values()))
