"""What was measured and what was not, on the page of an audit that kept to a budget."""

from analyses.report.blocks import Block, Section, sentence
from analyses.report.context import Context
from analyses.report.numbers import number


def section(context: Context) -> Section:
    """The plan in sentences, and how its time was estimated."""
    plan = context.report.plan
    blocks: list[Block] = []
    if plan is not None:
        blocks = [sentence(f"{text[0].upper()}{text[1:]}.") for text in plan.left_out]
        for stage, seconds in (plan.estimated or {}).items():
            blocks.append(sentence(f"Estimated for {stage} evidence: ", number(seconds), " seconds.", quiet=True))
    blocks.append(sentence("The numbers of all heads are in report.json; pages of so many would be slow."))
    return Section(
        "plan",
        "What was not measured",
        "This model is too large to measure everything in the time that was given. One plan was made before the work; "
        "it and the seed determine all numbers, and report.json holds it.",
        "Evidence that was left out is missing, never for or against a role, and confidence is the lower for it. More "
        "minutes (--budget) measure more; --plan report.json measures the same again.",
        tuple(blocks),
    )
