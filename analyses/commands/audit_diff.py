"""`interp audit --diff BEFORE AFTER`: two audits compared, heads matched by what they do."""

from pathlib import Path

from analyses import exits
from analyses.arguments import Audit
from analyses.criteria import Criteria
from analyses.diff.compare import diff
from analyses.diff.sources import audited
from analyses.diff.text import text
from analyses.output import check_folder, say, strict_json, write_files
from toy_models.errors import InputError

FILE = "diff.json"


def run(arguments: Audit, before: Path, criteria: Criteria) -> int:
    """Audits what is not audited yet, compares, writes diff.json."""
    refuse_options(arguments)
    after = arguments.model
    for path in (before, after):
        if not path.exists():
            raise InputError(f"{path} does not exist: expected a run or checkpoint folder, or a report.json")
    if arguments.criteria is not None and before.is_file() and after.is_file():
        raise InputError("--criteria is for folders, which are audited now: reports keep the verdicts that they hold")
    folder = check_folder(arguments.out or (after.parent if after.is_file() else after))
    first, second = (
        audited(path, arguments.seed, criteria, arguments.skip, arguments.device) for path in (before, after)
    )
    found = diff(first, second, arguments.seed)
    document = strict_json(found.to_dict())
    write_files(folder, {FILE: document})
    if arguments.json:
        print(document, end="")
        say(f"wrote {folder / FILE}")
    else:
        print(f"{text(found)}\n\nwrote {folder / FILE}")
    return exits.OK


def refuse_options(arguments: Audit) -> None:
    """Options that mean nothing here are not silently ignored."""
    if arguments.expect or arguments.confidence is not None:
        raise InputError("--expect and --confidence judge one audit, --diff compares two: leave one of them out")
    for option, changed in {
        "--budget": arguments.budget is not None,
        "--plan": arguments.plan is not None,
        "--lens": arguments.lens != "logit",
    }.items():
        if changed:
            raise InputError(f"{option} is an option of one audit: make its report.json so, and give that to --diff")
    if "behaviour" in arguments.skip:
        raise InputError("--diff matches heads by what they do: leave out --skip behaviour")
