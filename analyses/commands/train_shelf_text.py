"""What `interp train KIND` says at the end: scores with intervals, beside those of no training and of a constant."""

from pathlib import Path
from typing import Any

from torch import Tensor

from analyses.tables import table
from interp.stats import Estimate, clopper_pearson, student_t_interval
from toy_models.shelf_config import ShelfRunConfig
from toy_models.shelf_models import ShelfModel, make_shelf_model
from toy_models.training import ShelfResult
from toy_models.training.objectives import Objective, score_each
from toy_models.training.seeds import generator_for

LOSSES = {"superposition": "weighted squared error", "dropout-ae": "squared error per pixel"}
"""What the loss of a kind is called; of the others it is cross-entropy."""


def summary(result: ShelfResult[ShelfModel], folder: Path) -> dict[str, Any]:
    """What came of the run, for JSON; every score with its 95 % interval over examples."""
    assert result.config is not None
    objective = result.objective
    scores = {"held-out": scored(result.model, objective, "held-out")}
    if objective.n_train is not None:
        scores["training"] = scored(result.model, objective, "training")
    scores["untrained, held-out"] = scored(untrained(result.config), objective, "held-out")
    return {
        "run": folder,
        "kind": result.config.kind,
        "seed": result.train.seed,
        "config": result.config,
        "parameters": sum(p.numel() for p in result.model.parameters()),
        "step": result.step,
        "seconds": result.seconds,
        "scores": scores,
        "constant": objective.chance(),
    }


def scored(model: ShelfModel, objective: Objective, part: str) -> dict[str, Any]:
    """Each score of a model on "held-out" or "training" examples, with its interval, and their number."""
    examples = objective.examples(part)
    each = score_each(model, objective, examples)
    return {"examples": len(examples), **{name: estimate(name, values) for name, values in each.items()}}


def estimate(name: str, values: Tensor) -> Estimate:
    """Mean with 95 % interval: Clopper and Pearson's of an accuracy, else Student's."""
    if name == "accuracy":
        return clopper_pearson(int(values.sum()), len(values))
    return student_t_interval(values)


def untrained(config: ShelfRunConfig) -> ShelfModel:
    """The model before its first update."""
    return make_shelf_model(config.model, generator_for(config.train.seed, "weights")).eval()


def report(result: ShelfResult[ShelfModel], values: dict[str, Any], folder: Path) -> str:
    """One line that says what was trained, and a table of scores."""
    names = [name for name in ("loss", "accuracy") if name in values["constant"]]
    heads = {"loss": LOSSES.get(values["kind"], "cross-entropy, nats"), "accuracy": "accuracy"}
    rows = [
        [f"{part} ({found['examples']})", *(interval(name, found[name]) for name in names)]
        for part, found in values["scores"].items()
    ]
    rows.append(["best constant answer", *(shown(name, values["constant"][name]) for name in names)])
    epochs = next((f" ({r['epoch']:.3g} epochs)" for r in reversed(result.records) if "epoch" in r), "")
    return "\n".join(
        [
            f"{folder}: {values['kind']}, {values['parameters']:,} parameters, {result.step} steps{epochs} "
            f"in {result.seconds:.1f} s",
            "",
            table(["", *(f"{heads[name]} [95 %]" for name in names)], rows, "lrr"),
        ]
    )


def interval(name: str, found: Estimate) -> str:
    """A score with its interval."""
    low, high = shown(name, found.low), shown(name, found.high)
    return f"{shown(name, found.mean)} [{low}, {high}]"


def shown(name: str, value: float) -> str:
    """A share in per cent, a loss with three figures."""
    return f"{value:.1%}" if name == "accuracy" else f"{value:.3g}"
