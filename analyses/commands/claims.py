"""`interp claims`: known claims about small networks, each an experiment with a control and a verdict."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analyses import exits
from analyses.arguments import Claims
from analyses.claims import readme, stored, text
from analyses.claims.cache import FOLDER as CACHE
from analyses.claims.catalogue import all_claims, find_claim
from analyses.claims.claim import Claim
from analyses.claims.stored import Stored
from analyses.commands.claims_run import placebo_and_store, run_and_store
from analyses.output import check_folder, deliver, say, show, to_document
from analyses.report.claims import claims_page
from interp.errors import InputError


def run(arguments: Claims) -> int:
    """Does what was asked; verdicts are no failures, trainings that raise are."""
    actions = {"list": list_claims, "run": run_and_store, "placebo": placebo_and_store, "report": report}
    return actions[arguments.action](arguments, chosen(arguments))


def chosen(arguments: Claims) -> tuple[Claim, ...]:
    """The claims that were named, else all; `InputError` for a name that there is none of."""
    if not arguments.names:
        return all_claims()
    return tuple(find_claim(name) for name in dict.fromkeys(arguments.names))


def list_claims(arguments: Claims, claims: Sequence[Claim]) -> int:
    """Names, stored verdicts, and whether they are stale."""
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


def report(arguments: Claims, claims: Sequence[Claim]) -> int:
    """A table of verdicts, a page with a figure for each claim, and every result as JSON."""
    found = results_in(arguments.results)
    there = [found[claim.name] for claim in claims if claim.name in found]
    folder = check_folder(arguments.out or CACHE)
    if arguments.readme:
        for path in readme.write_readme(found, readme.README):
            say(f"wrote {path}")
    html = claims_page(claims, found, "interp claims report")
    values = {
        "results": [each.document for each in there],
        "stale": {claim.name: found[claim.name].stale(claim) for claim in claims if claim.name in found},
        "not_run": [claim.name for claim in claims if claim.name not in found],
    }
    return deliver(arguments, folder, values, text.report(claims, found), {"claims.html": html})
