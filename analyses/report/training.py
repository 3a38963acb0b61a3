"""How the model learned, where its run folder says so."""

from itertools import pairwise
from typing import Any

from analyses.report.blocks import Block, Caution, Cell, Section, Table, sentence
from analyses.report.context import Context
from analyses.report.drawing import picture
from analyses.report.numbers import number, whole
from interp.plots import training_curve
from toy_models.tasks.base import LossEstimate
from toy_models.training.metrics_log import Record
from toy_models.training.target import EMERGED, Target

ALONE = "This checkpoint stands alone: it belongs to no run folder, so nothing is known of how it learned."


def section(context: Context) -> Section:
    """The curve with the lines that give it a meaning; a line where there are no metrics."""
    subject = context.subject
    blocks: list[Block] = []
    values: dict[str, Any] = {}
    if subject.run is None:
        blocks.append(Caution(ALONE))
    elif not (records := increasing(subject.records)):
        blocks.append(Caution("The run's metrics.jsonl holds no step with a loss, so there is no curve to draw."))
    else:
        result = (subject.info or {}).get("result") or {}
        blocks += curve(subject.target, records, result, subject.step)
        values = {"target": subject.target, "result": result}
    return Section(
        "training",
        "How it learned",
        "The loss by training step: grey over all tokens, blue over those that can be predicted from context, beside "
        "the least loss that any reader can reach (optimum), the best that counting tokens without their order can "
        "reach (yellow: its bounds, with two standard errors), and guessing (chance).",
        f"The ability counts as emerged when {EMERGED:.0%} of the way from chance to the optimum is closed on held-out "
        "sequences; a loss below the yellow band cannot come from counting alone.",
        tuple(blocks),
        values,
    )


def increasing(records: tuple[Record, ...]) -> list[Record]:
    """Records with a held-out loss (or, if there are none, a training loss), each step once."""
    with_loss = [r for r in records if "eval_loss" in r] or [r for r in records if "loss" in r]
    return [later for earlier, later in pairwise([{"step": -1}, *with_loss]) if later["step"] > earlier["step"]]


def curve(target: Target | None, records: list[Record], result: dict[str, Any], step: int | None) -> list[Block]:
    """Figure and table."""
    prefix = "eval_" if "eval_loss" in records[0] else ""
    steps = [record["step"] for record in records]
    predictable = [record.get(f"{prefix}predictable_loss") for record in records]
    known = all(loss is not None for loss in predictable)
    optimum = None if target is None or target.optimum is None else target.optimum.mean
    emerged = result.get("emerged_step")
    figure = training_curve(
        steps,
        [record[f"{prefix}loss"] for record in records],
        [float(loss) for loss in predictable if loss is not None] if known else None,
        optimum=optimum,
        order_free=None if target is None else counting_band(target),
        chance=None if target is None else target.chance,
        emerged=emerged,
        title="Loss by training step",
        protocol=f"{'Held-out sequences' if prefix else 'Training batches'}, {len(records)} measurements.",
    )
    blocks: list[Block] = [picture("training", figure, "Loss by training step beside optimum and chance")]
    if step is not None and step < steps[-1]:
        blocks.append(sentence("The model of this report is the checkpoint of step ", whole(step), " of this run."))
    blocks.append(emergence(emerged, optimum))
    return [*blocks, *([losses(target, result)] if target is not None else [])]


def counting_band(target: Target) -> tuple[float, float] | None:
    """Between which losses the best counting reader lies, two standard errors included."""
    bound = target.order_free
    low = None if bound is None else bound.lower or target.optimum
    if bound is None or low is None:
        return None
    return low.mean - 2 * low.standard_error, bound.upper.mean + 2 * bound.upper.standard_error


def emergence(step: int | None, optimum: float | None) -> Block:
    if step is not None:
        return sentence("The ability emerged: first seen at step ", whole(step), ".")
    if optimum is None:
        return sentence("The least possible loss on this task is not known, so neither is whether it was learned.")
    return sentence("The ability did not emerge in this run, or the run is not finished.")


def losses(target: Target, result: dict[str, Any]) -> Table:
    """What the model reached beside what can be reached."""
    rows: list[tuple[Cell, ...]] = []
    if result.get("eval_predictable_loss") is not None:
        rows.append(("model, at the end of the run", number(result["eval_predictable_loss"]), ""))
    if target.optimum is not None:
        rows.append(("best possible (Bayes)", *estimate_cells(target.optimum)))
    bound = target.order_free
    if bound is not None and bound.lower not in (None, bound.upper):
        rows.append(("best by counting alone, at least", *estimate_cells(bound.lower)))
    if bound is not None:
        at_most = "" if bound.lower == bound.upper else ", at most"
        rows.append((f"best by counting alone{at_most}", *estimate_cells(bound.upper)))
    rows.append(("chance (logarithm of the vocabulary)", number(target.chance), ""))
    return Table(("loss on predictable tokens, nats", "value", "± standard error"), tuple(rows), numeric=(1, 2))


def estimate_cells(loss: LossEstimate) -> tuple[Cell, Cell]:
    """Mean and standard error; no error where the value is exact."""
    return number(loss.mean), number(loss.standard_error) if loss.n else ""
