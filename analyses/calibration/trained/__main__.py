"""`python -m analyses.calibration.trained`: verdicts on models trained from different seeds, against brute force."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from analyses.calibration.trained.cache import FOLDER
from analyses.calibration.trained.cases import all_cases
from analyses.calibration.trained.run import calibrate_trained
from analyses.calibration.trained.tables import terminal, write_block
from analyses.exits import BAD_INPUT, INTERRUPTED, OK
from toy_models.atomic import make_folder, write_json
from toy_models.errors import InputError

RESULTS = Path(__file__).parent / "results.json"
README = Path(__file__).parents[3] / "README.md"


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    options = argparse.ArgumentParser(prog="python -m analyses.calibration.trained", description=__doc__)
    options.add_argument("--jobs", type=int, default=1, help="processes of one thread each (default 1)")
    options.add_argument("--models", type=Path, default=FOLDER, help=f"where models are kept (default {FOLDER})")
    options.add_argument("--only", default="", help="judge the models whose name holds this")
    options.add_argument("--out", type=Path, help="write results.json into this folder instead")
    options.add_argument("--show", action="store_true", help="judge nothing: print the stored results")
    options.add_argument("--readme", action="store_true", help="judge nothing: write the README's block again")
    chosen = options.parse_args(words)
    if chosen.jobs < 1:
        options.error(f"--jobs must be at least 1, got {chosen.jobs}")
    if chosen.only and chosen.out is None:
        options.error("--only judges some of the models: say with --out where their results go")
    return chosen


def main(words: Sequence[str] | None = None) -> int:
    """Runs it; the exit code is one of `analyses.exits`."""
    chosen = parse(words)
    torch.set_num_threads(1)
    try:
        return run(chosen)
    except KeyboardInterrupt:
        print(f"interrupted: models that were trained are kept in {chosen.models}; run it again", file=sys.stderr)
        return INTERRUPTED
    except InputError as error:
        print(error, file=sys.stderr)
        return BAD_INPUT


def run(chosen: argparse.Namespace) -> int:
    if chosen.show or chosen.readme:
        results = json.loads(RESULTS.read_text(encoding="utf-8"))
        if chosen.readme:
            write_block(README, results)
        print(terminal(results))
        return OK
    cases = [case for case in all_cases() if chosen.only in case.name]
    if not cases:
        raise InputError(f"no model's name holds {chosen.only!r}; names are like {all_cases()[0].name!r}")
    results = calibrate_trained(cases, chosen.models, chosen.jobs)
    print(terminal(results) + "\n")
    target = RESULTS if chosen.out is None else chosen.out / RESULTS.name
    make_folder(target.parent)
    write_json(target, results)
    print(f"wrote {target}")
    if chosen.out is None and README.exists():
        write_block(README, results)
        print(f"wrote {README}")
    return OK


if __name__ == "__main__":
    sys.exit(main())
