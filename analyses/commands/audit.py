"""`interp audit`: a role for every head, with its evidence; exit codes that a script can stand on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analyses import exits
from analyses.arguments import Audit
from analyses.audit import AuditReport, Expectation, Judgement, audit
from analyses.audit.plan import Plan
from analyses.commands import audit_diff
from analyses.commands.audit_text import text
from analyses.criteria import Criteria
from analyses.evidence import KINDS
from analyses.loading import Subject, load_subject
from analyses.loading.weight_files import read_object
from analyses.output import plain, say, strict_json, write_files
from interp.errors import InputError

CODES = {"holds": exits.OK, "undecided": exits.UNDECIDED, "fails": exits.EXPECTATION_FAILED}


def run(arguments: Audit) -> int:
    """Audits a model, writes report.json (and report.html with its figures), and judges the expectations."""
    criteria = Criteria() if arguments.criteria is None else Criteria.from_file(arguments.criteria)
    if arguments.print_criteria:
        print(strict_json(criteria.template()), end="")
        return exits.OK
    if arguments.diff is not None:
        return audit_diff.run(arguments, arguments.diff, criteria)
    expectations = [Expectation.parse(each) for each in arguments.expect]
    check(arguments)
    plan = None if arguments.plan is None else read_plan(arguments.plan)
    subject = load_subject(arguments.model, arguments.device)
    folder = subject.folder(arguments.out)  # refuses one that cannot be written before the work
    tuned = arguments.lens == "tuned"
    report = audit(
        subject,
        seed=arguments.seed,
        criteria=criteria,
        skip=arguments.skip,
        tuned=tuned,
        budget=arguments.budget,
        plan=plan,
        progress=True,
    )
    judgements = report.judge(expectations, arguments.confidence)
    written = write(arguments, report, subject, folder, judgements)
    if arguments.json:
        print(document(report, judgements), end="")
        for path in written:
            say(f"wrote {path}")
    else:
        print(f"{text(report, subject, judgements)}\n")
        print("\n".join(f"wrote {path}" for path in written))
    return exit_code(judgements)


def check(arguments: Audit) -> None:
    """`InputError` for options that could have no effect."""
    if arguments.budget is not None and arguments.plan is not None:
        raise InputError("--budget makes a plan and --plan gives one: leave one of them out")
    if arguments.confidence is not None and not arguments.expect:
        raise InputError("--confidence says from which confidence on a head counts for --expect: name an --expect too")
    if not set(KINDS) - set(arguments.skip):
        raise InputError(f"--skip leaves out all of {', '.join(KINDS)}: without evidence there is no verdict")


def read_plan(path: Path) -> Plan:
    """The plan of a report.json; `InputError` naming the file if there is none."""
    try:
        return Plan.from_dict(read_object(path))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def exit_code(judgements: Sequence[Judgement]) -> int:
    """0 if every expectation holds, 1 if one surely fails, else 3."""
    outcomes = {judgement.outcome for judgement in judgements}
    return CODES["fails" if "fails" in outcomes else "undecided" if "undecided" in outcomes else "holds"]


def write(
    arguments: Audit, report: AuditReport, subject: Subject, folder: Path, judgements: Sequence[Judgement]
) -> list[Path]:
    """report.json alone, or the page with it and its figures; the paths to name."""
    if not arguments.report:
        write_files(folder, {"report.json": document(report, judgements)})
        return [folder / "report.json"]
    from analyses.report import write_report

    paths = write_report(report, subject, folder, {"expectations": [judged(j) for j in judgements]})
    return [path for path in paths if path.suffix in (".html", ".json")]


def document(report: AuditReport, judgements: Sequence[Judgement]) -> str:
    """report.json without the page's own numbers; what --json prints."""
    return strict_json({**report.to_dict(), "expectations": [judged(j) for j in judgements]})


def judged(judgement: Judgement) -> dict[str, Any]:
    expectation: dict[str, Any] = plain(judgement.expectation)
    found = {"heads": judgement.heads, "possible": judgement.possible, "outcome": judgement.outcome}
    return {**expectation, "confidence": judgement.confidence, **found}
