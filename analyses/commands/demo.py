"""`interp demo`: from nothing to a verdict, with the default model."""

import importlib
import sys
from pathlib import Path

from analyses.arguments import Audit, Demo
from analyses.commands.train import report
from analyses.output import say
from toy_models.checkpoint import RUN
from toy_models.train_config import RunConfig, TrainConfig
from toy_models.training import TrainResult, train
from toy_models.training.run_folder import read_run

FOLDER = Path("runs") / "demo"


def run(arguments: Demo) -> int:
    """Trains the default model, or finds it trained, and audits it; the exit code is the audit's."""
    folder = arguments.out or FOLDER
    result = trained(folder, RunConfig(train=TrainConfig(seed=arguments.seed, device=arguments.device)))
    print(report(result, folder) + "\n", file=sys.stderr if arguments.json else sys.stdout)
    say(f"auditing the model in {folder}")
    audit = importlib.import_module("analyses.commands.audit")
    return audit.run(
        Audit(
            model=folder,
            out=folder,
            seed=arguments.seed,
            device=arguments.device,
            threads=arguments.threads,
            json=arguments.json,
            debug=arguments.debug,
        )
    )


def trained(folder: Path, config: RunConfig) -> TrainResult:
    """The run of this config in `folder`: found finished, gone on with, or begun.

    Raises `InputError` when the folder holds another run (naming the first difference) or something else.
    """
    if not (folder / RUN).exists():
        say(f"training the default model ({config.train.steps} steps) into {folder}; Ctrl-C keeps what was learnt")
    elif read_run(folder)["result"] is not None:
        say(f"using the finished run in {folder}")
    else:
        say(f"going on with the run in {folder}")
    return train(config, folder, resume=True)
