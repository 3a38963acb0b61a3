"""`interp claims`: known claims about small networks, each an experiment with a control and a verdict."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analyses import exits
from analyses.arguments import Claims
from analyses.claims import stored, text
from analyses.claims.batch import Failure, Outcome, run_claims
from analyses.claims.cache import FOLDER as CACHE
from analyses.claims.catalogue import all_claims, find_claim
from analyses.claims.claim import Claim
from analyses.claims.stored import Stored
from analyses.output import check_folder, say, show, to_document
from interp.errors import InputError
from toy_models.device import find_device

FEW = 8
"""Claims up to this many are printed with all their comparisons after a run."""


def run(arguments: Claims) -> int:
    """Does what was asked; verdicts are no failures, trainings that raise are."""
    actions = {"list": list_claims, "run": run_and_store}
    return actions[arguments.action](arguments)


def chosen(arguments: Claims) -> tuple[Claim, ...]:
    """The claims that were named, else all; `InputError` for a name that there is none of."""
    if not arguments.names:
        return all_claims()
    return tuple(find_claim(name) for name in dict.fromkeys(arguments.names))


def list_claims(arguments: Claims) -> int:
    """Names, stored verdicts, and whether they are stale."""
    claims = chosen(arguments)
    found = results_in(arguments.results)
    show(
        arguments,
        to_document(arguments, {"claims": [listed(claim, found) for claim in claims]}),
        text.listing(claims, found),
    )
    return exits.OK


def listed(claim: Claim, found: dict[str, Stored]) -> dict[str, Any]:
    """A claim in the JSON of a list."""
    there = found.get(claim.name)
    verdict = None if there is None else there["verdict"]
    stale = None if there is None else there.stale(claim)
    return {
        "name": claim.name,
        "numbers": claim.numbers,
        "statement": claim.statement,
        "source": claim.source,
        "verdict": verdict,
        "stale": stale,
    }


def results_in(folder: Path | None) -> dict[str, Stored]:
    """Stored results; `InputError` for a folder that was named and is not there."""
    if folder is not None and not folder.is_dir():
        raise InputError(f"--results names a folder of results, and there is none at {folder}")
    return stored.load(folder or stored.FOLDER)


def run_and_store(arguments: Claims) -> int:
    """Trains what is not in the cache, judges, writes a file for each claim, and prints the verdicts."""
    claims = chosen(arguments)
    device = str(find_device(arguments.device))
    folder = target(arguments, device)
    outcome = run_claims(
        claims,
        range(arguments.seed, arguments.seed + arguments.seeds),
        arguments.budget,
        device,
        folder=cache_folder(arguments),
        jobs=arguments.jobs,
        known=stored.seconds_known(stored.load().values(), claims),
    )
    documents, failures = documents_of(outcome, device)
    if folder is not None:
        for document in documents:
            stored.save(document, folder)
    values = {"results": documents, "failures": [failure.what for failure in failures]}
    show(arguments, to_document(arguments, values), run_text(claims, documents))
    say(f"wrote {len(documents)} results into {folder}" if folder else UNWRITTEN)
    return failed(failures, arguments.debug)


UNWRITTEN = "nothing was written: with other seeds, budget or device the results need a folder of their own, --out DIR"


def target(arguments: Claims, device: str) -> Path | None:
    """Where results go: --out, or the folder that comes with the package where they are the ones that belong there."""
    if arguments.out is not None:
        return check_folder(arguments.out)
    default = (arguments.seed, arguments.seeds, arguments.budget, device) == (0, 3, 1.0, "cpu")
    return check_folder(stored.FOLDER) if default else None


def cache_folder(arguments: Claims) -> Path:
    return check_folder(arguments.cache or CACHE)


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
    return text.listing(claims, found)


def failed(failures: Sequence[Failure], debug: bool) -> int:
    """One line for each training that raised (with --debug its traceback), and the exit code."""
    for failure in failures:
        if debug and failure.trace:
            print(failure.trace, file=sys.stderr)
        say(failure.what)
    return exits.INTERNAL_ERROR if failures else exits.OK
