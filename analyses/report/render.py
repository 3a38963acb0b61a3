"""The page's HTML from its blocks, by a template that escapes everything it is given."""

from analyses import reliability
from analyses.audit.result import versions
from analyses.evidence import CONFIDENCE
from analyses.report import words
from analyses.report.blocks import Interactive, Section
from analyses.report.context import Context
from analyses.report.environment import make_environment, visible_line
from analyses.report.verdicts import rows_of
from interp.documents import STYLE, Part, page


def render(context: Context, sections: tuple[Section, ...]) -> str:
    """The whole document."""
    environment = make_environment()
    report = context.report
    body = environment.get_template("report.html.j2").render(
        conclusion=words.conclusion(report),
        doubts=report.doubts,
        others=words.other_findings(report),
        facts=facts(context),
        rows=rows_of(context),
        confidence={word: reliability.meaning(word, bool(report.criteria.overridden)) for word in CONFIDENCE},
        meanings=words.MEANINGS,
        sections=sections,
        command=context.command,
    )
    style = STYLE + environment.get_template("report.css").render()
    needs_library = any(isinstance(block, Interactive) for section in sections for block in section.blocks)
    return page(f"Audit of {visible_line(context.subject.name)}", [Part(body, needs_library)], style=style)


def facts(context: Context) -> list[tuple[str, str]]:
    """What identifies the model and the audit."""
    subject, report = context.subject, context.report
    trained = "" if subject.step is None else f"{subject.step:,} steps"
    if subject.task is not None:
        trained += f"{' ' if trained else ''}on {subject.task.kind}"
    seeds = [f"audit {report.seed}"]
    if subject.info is not None and "train" in subject.info["config"]:
        seeds.insert(0, f"training {subject.info['config']['train'].get('seed')}")
    found = {
        "model": words.model_in_words(subject.config),
        "trained": trained or "nothing is written down about its training",
        "weights": f"{visible_line(str(subject.checkpoint))} (SHA-256 {subject.model_hash})",
        "seeds": ", ".join(seeds),
        "versions": ", ".join(f"{name} {value}" for name, value in versions().items()),
    }
    return list(found.items())
