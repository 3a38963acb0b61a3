"""`interp train`: a transformer's run folder from the options; other kinds of model are in `train_shelf`."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analyses import exits
from analyses.arguments import Train, TrainKind, TrainShelf
from analyses.commands import train_shelf
from analyses.commands.train_resume import check_alone
from analyses.output import say, show, to_document
from analyses.tables import number, table
from toy_models.config import TransformerConfig
from toy_models.errors import InputError
from toy_models.shelf_config import ShelfRunConfig
from toy_models.task_config import TASK_CONFIGS, TaskConfig
from toy_models.tasks import LossEstimate, Task, make_task
from toy_models.train_config import RunConfig, TrainConfig
from toy_models.training import EMERGED, TrainResult, train
from toy_models.training.run_folder import load_any_config


def run(arguments: Train | TrainKind) -> int:
    """Trains into a new folder, or goes on in one."""
    if isinstance(arguments, TrainShelf):
        return train_shelf.run(arguments)
    task = None
    if arguments.resume is not None:
        check_alone(arguments)
        folder, found = arguments.resume, load_any_config(arguments.resume)
        if isinstance(found, ShelfRunConfig):
            return train_shelf.go_on(arguments, folder, found)
        config = found
    else:
        task, config = run_config(arguments)
        folder = arguments.out or Path("runs") / f"{arguments.task}-seed{arguments.seed}"
    say(f"training {config.train.steps} steps on {config.task.kind} into {folder}; Ctrl-C keeps what was learnt")
    result = train(config, folder, task=task, resume=arguments.resume is not None)
    text = f"{report(result, folder)}\n\nnext: interp audit {shlex.quote(str(folder))}"
    show(arguments, to_document(arguments, summary(result, folder)), text)
    return exits.OK


def run_config(arguments: Train) -> tuple[Task, RunConfig]:
    """The run that the options describe, and its task; text is read here, which decides its vocabulary."""
    task = make_task(task_config(arguments))
    model = TransformerConfig(**asdict(arguments.model) | {"d_vocab": task.d_vocab, "n_ctx": task.n_ctx})
    options = asdict(arguments.train) | {"seed": arguments.seed, "device": arguments.device}
    return task, RunConfig(model, task.config, TrainConfig(**options))


def task_config(arguments: Train) -> TaskConfig:
    """The config of the chosen task; `InputError` when options of another task were given."""
    for kind, cls in TASK_CONFIGS.items():
        options = getattr(arguments, kind.replace("-", "_"))
        if kind != arguments.task and options != type(options)():
            raise InputError(f"--{kind} options belong to --task {kind}, but the task is {arguments.task}")
        if kind == arguments.task:
            chosen = cls(**asdict(options))
    return chosen


def summary(result: TrainResult, folder: Path) -> dict[str, Any]:
    """What came of the run, for JSON; `seed` is the run's own."""
    return {
        "run": folder,
        "seed": result.config.train.seed,
        "config": result.config,
        "step": result.step,
        "stopped_early": result.stopped_early,
        "emerged_step": result.emerged_step,
        "seconds": result.seconds,
        "loss": result.losses.all,
        "predictable_loss": result.losses.predictable,
        "target": result.target,
        "gap_closed": gap_closed(result),
    }


def gap_closed(result: TrainResult) -> float | None:
    """Share of the gap between chance and the optimum on predictable positions."""
    loss = result.losses.predictable
    return None if loss is None else result.target.gap_closed(loss)


def report(result: TrainResult, folder: Path) -> str:
    """The losses beside what can be reached, and whether the behaviour has emerged."""
    model, train_config = result.config.model, result.config.train
    early = " (stopped early)" if result.stopped_early else ""
    lines = [
        f"{folder}: {model.n_layers} layers x {model.n_heads} heads on {result.config.task.kind}, "
        f"{result.step} of {train_config.steps} steps{early} in {result.seconds:.0f} s",
        "",
        "Held-out loss, nats per token",
        table(["", "all positions", "predictable positions"], loss_rows(result), "lrr"),
        "",
    ]
    closed = gap_closed(result)
    if closed is None:
        lines.append("The best possible loss on this task is not known, so neither is whether it was learnt.")
    else:
        step = result.emerged_step
        when = "which it never was" if step is None else f"first seen at step {step}"
        lines.append(
            f"{closed:.1%} of the gap between chance and the optimum is closed (emerged means {EMERGED:.0%}, {when})."
        )
    return "\n".join(lines)


def loss_rows(result: TrainResult) -> list[list[str]]:
    """The model's losses, then those to compare them with."""
    target, bound = result.target, result.target.order_free
    rows = [["model", number(result.losses.all), number(result.losses.predictable)]]
    if target.optimum is not None:
        rows.append(["best possible (Bayes)", "", plus_minus(target.optimum)])
    if bound is not None:
        low = "" if bound.lower in (None, bound.upper) else f"{plus_minus(bound.lower)} to "
        rows.append(["best by counting tokens alone", "", low + plus_minus(bound.upper)])
    return [*rows, ["chance (ln of the vocabulary)", number(target.chance), number(target.chance)]]


def plus_minus(loss: LossEstimate) -> str:
    """Mean ± standard error; the mean alone where it is exact."""
    return number(loss.mean) + (f" ± {loss.standard_error:.1g}" if loss.n else "")
