"""A claim's figure, from its stored result: what it asks to be drawn, else its effects beside their margins."""

from typing import Any

from matplotlib.figure import Figure

from analyses.claims.judge import Part
from analyses.claims.stored import Stored
from analyses.report.numbers import shown
from interp.plots import Effect, Errors, curves_by_arm, paired_effects, points_by_arm

FOOT = "One dot a seed; line: 95 % interval of the mean (diamond); blue: where the mean, or the interval, has to lie."
ERRORS = "Errors: one dot a seed, crosses for the wrong way; blue: what is tolerated."


def figure_of(found: Stored) -> tuple[Figure, str]:
    """The figure, and the words that stand for it."""
    picture = found["picture"]
    if picture is None or not picture["arms"]:
        return effects_figure(found)
    first = next(iter(picture["arms"].values()))[0]
    return lines_figure(found, picture) if "x" in first else points_figure(found, picture)


def lines_figure(found: Stored, picture: dict[str, Any]) -> tuple[Figure, str]:
    """Curves by arm."""
    arms = {arm: [(numbers(c["x"]), numbers(c["y"])) for c in seeds] for arm, seeds in picture["arms"].items()}
    figure = curves_by_arm(
        arms,
        x_label=picture["x_label"] or picture["x"],
        y_label=picture["y_label"],
        log_x=picture["log_x"],
        log_y=picture["log_y"],
        protocol=f"Thin: one of {seeds_word(found)}; thick: their mean.",
    )
    ends = "; ".join(f"{arm} ends at {mean_text([y[-1] for _, y in seeds])}" for arm, seeds in arms.items())
    return figure, f"{picture['y_label']} by {picture['x_label'] or picture['x']}: {ends} (means over seeds)"


def points_figure(found: Stored, picture: dict[str, Any]) -> tuple[Figure, str]:
    """Points by arm."""
    arms = {arm: [float(seed["y"]) for seed in seeds] for arm, seeds in picture["arms"].items()}
    figure = points_by_arm(
        arms,
        y_label=picture["y_label"],
        log_y=picture["log_y"],
        protocol=f"A dot for each of {seeds_word(found)}, joined across arms; bars: means.",
    )
    means = "; ".join(f"{arm} {mean_text(values)}" for arm, values in arms.items())
    return figure, f"{picture['y_label']}, means over seeds: {means}"


def effects_figure(found: Stored) -> tuple[Figure, str]:
    """Every comparison's effects, or errors, beside the margin."""
    rows = [row_of(part) for part in found.parts]
    protocol = " ".join(
        text for text, kind in ((FOOT, Effect), (ERRORS, Errors)) if any(isinstance(row, kind) for row in rows)
    )
    said = "; ".join(f"{part.condition}: {effect_text(part)}" for part in found.parts)
    return paired_effects(rows, protocol=protocol), f"Effects beside their margins. {said}"


def row_of(part: Part) -> Effect | Errors:
    """A comparison as a strip of the figure."""
    if part.kind == "exact":
        return Errors(part.condition, part.treated, part.control, part.margin)
    estimate = part.estimate
    interval = None if estimate is None else (estimate.low, estimate.high)
    mean = None if estimate is None else estimate.mean
    return Effect(part.condition, part.effects, mean, interval, part.margin, part.kind)


def effect_text(part: Part) -> str:
    """The effect in a few words."""
    if part.kind == "exact":
        return f"largest error {shown(max(part.treated))}, tolerated {shown(part.margin)}"
    estimate = part.estimate
    if estimate is None:
        return "no interval"
    return f"{shown(estimate.mean)} [{shown(estimate.low)}, {shown(estimate.high)}], margin {shown(part.margin)}"


def numbers(values: Any) -> list[float]:
    """A stored curve, or a single point as a curve of one."""
    return [float(v) for v in values] if isinstance(values, list) else [float(values)]


def mean_text(values: list[float]) -> str:
    return shown(sum(values) / len(values))


def seeds_word(found: Stored) -> str:
    return f"{len(found['seeds'])} seeds" if len(found["seeds"]) > 1 else "one seed"
