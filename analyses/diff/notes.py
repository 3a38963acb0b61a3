"""What makes two audits differ in more than the model: tasks, vocabularies, protocols, criteria, missing scores."""

from typing import Any

from analyses.diff.audited import PROFILE, Audited


def notes_on(before: Audited, after: Audited) -> tuple[str, ...]:
    """One sentence for each."""
    notes = [
        differing("the vocabularies", before.config.get("d_vocab"), after.config.get("d_vocab"), " tokens"),
        differing("the contexts", before.config.get("n_ctx"), after.config.get("n_ctx"), " positions"),
        differing("the training tasks", task(before), task(after)),
        protocols(before, after),
        differing("the audits' seeds", before.document["seed"], after.document["seed"]),
        criteria(before, after),
        differing("what was left out to keep within a budget", left_out(before), left_out(after), verb="differs"),
        *(missing(each) for each in (before, after)),
    ]
    return tuple(filter(None, notes))


def differing(what: str, before: object, after: object, unit: str = "", verb: str = "differ") -> str:
    """Nothing where they are equal, or one is unknown."""
    if before == after or None in (before, after):
        return ""
    return f"{what} {verb}: {before}{unit} before, {after}{unit} after"


def left_out(audited: Audited) -> str | None:
    """By the audit's plan; None where no plan is known."""
    plan = audited.document.get("plan")
    return None if not plan else "; ".join(plan.get("left_out", ())) or "nothing"


def task(audited: Audited) -> str | None:
    saved = audited.document["subject"].get("task")
    return None if saved is None else str(saved["kind"])


def protocols(before: Audited, after: Audited) -> str:
    """Where scores were not measured on the same kind of sequences."""
    names = [name for name in PROFILE if name in before.profile and name in after.profile]
    if all(before.profile[name].protocol == after.profile[name].protocol for name in names):
        return ""
    first, second = (each.document["measurements"]["heads"]["protocol"] for each in (before, after))
    if first == second:
        return ""
    return f"the heads were measured on other sequences: {first} before, {second} after"


def criteria(before: Audited, after: Audited) -> str:
    first, second = (each.document["criteria"]["values"] for each in (before, after))
    names = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    if not names:
        return ""
    return "the criteria differ, so roles may too: " + ", ".join(
        f"{name} {said(first.get(name))} and {said(second.get(name))}" for name in names
    )


def said(value: Any) -> str:
    return "missing" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def missing(audited: Audited) -> str:
    """Scores and kinds of evidence that an audit lacks."""
    lacks = [name.replace("_", " ") for name in PROFILE if name not in audited.profile]
    lacks += [f"{kind} evidence" for kind in audited.document["skipped"]]
    return f"{audited.name} has no {', '.join(lacks)}" if lacks else ""
