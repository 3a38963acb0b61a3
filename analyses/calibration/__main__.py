"""`python -m analyses.calibration`: how often the audit is right, on models whose circuit is known."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from analyses.audit import Criteria
from analyses.calibration.cases import Case
from analyses.calibration.choosing import candidates, search
from analyses.calibration.draws import draw_models
from analyses.calibration.pool import audit_all
from analyses.calibration.readme import write_block
from analyses.calibration.stored import RESULTS, load_results
from analyses.calibration.summary import summarise
from analyses.calibration.tables import terminal
from analyses.exits import BAD_INPUT, INTERRUPTED, OK
from toy_models.atomic import make_folder, write_json
from toy_models.errors import InputError

MODELS, WITHOUT = 322, 152
README = Path(__file__).parents[2] / "README.md"


def calibrate(
    models: int, without: int, seed: int, jobs: int, progress: bool = True
) -> tuple[dict[str, Any], list[Case]]:
    """Draws, audits and scores; the content of results.json, and every case under the audit's own criteria."""
    draws = draw_models(models, without, seed)
    tasks = [(draw, candidates() if draw.half == "choosing" else (Criteria(),)) for draw in draws]
    found = audit_all(tasks, jobs, progress)
    choosing = [cases for draw, cases in zip(draws, found, strict=True) if draw.half == "choosing"]
    halves = {"choosing": choosing, "reporting": [cases for cases in found if len(cases) == 1]}
    own = {half: [case for cases in each for case in cases[0]] for half, each in halves.items()}
    command = "python -m analyses.calibration"
    if (models, without, seed) != (MODELS, WITHOUT, 0):
        command += f" --models {models} --without {without} --seed {seed}"
    settings = {"command": command, "seed": seed, "models": models, "without": without}
    return summarise(settings, own["reporting"], own["choosing"], search(choosing)), [
        *own["choosing"],
        *own["reporting"],
    ]


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    options = argparse.ArgumentParser(prog="python -m analyses.calibration", description=__doc__)
    options.add_argument("--models", type=int, default=MODELS, help=f"models with a circuit (default {MODELS})")
    options.add_argument("--without", type=int, default=WITHOUT, help=f"models without induction (default {WITHOUT})")
    options.add_argument("--seed", type=int, default=0, help="of the draws (default 0)")
    options.add_argument("--jobs", type=int, default=1, help="processes of one thread each (default 1)")
    options.add_argument("--out", type=Path, help="write results.json and cases.json into this folder instead")
    options.add_argument("--show", action="store_true", help="audit nothing: print the stored results")
    options.add_argument("--readme", action="store_true", help="audit nothing: write the README's block again")
    chosen = options.parse_args(words)
    for name, least in {"models": 4, "without": 4, "jobs": 1, "seed": 0}.items():
        if getattr(chosen, name) < least:
            options.error(f"--{name} must be at least {least}, got {getattr(chosen, name)}")
    return chosen


def main(words: Sequence[str] | None = None) -> int:
    """Runs it; the exit code is one of `analyses.exits`."""
    chosen = parse(words)
    torch.set_num_threads(1)
    try:
        return run(chosen)
    except KeyboardInterrupt:
        print("interrupted: nothing was written", file=sys.stderr)
        return INTERRUPTED
    except InputError as error:
        print(error, file=sys.stderr)
        return BAD_INPUT


def run(chosen: argparse.Namespace) -> int:
    if chosen.show or chosen.readme:
        results = load_results()
        if chosen.readme:
            write_block(README, results)
        print(terminal(results))
        return OK
    results, cases = calibrate(chosen.models, chosen.without, chosen.seed, chosen.jobs)
    print(terminal(results) + "\n")
    for path in written(chosen.out, results, cases):
        print(f"wrote {path}")
    return OK


def written(out: Path | None, results: dict[str, Any], cases: list[Case]) -> list[Path]:
    """Writes the results, each case beside them or into runs/, and, where they are the stored ones, the README."""
    folder = Path("runs/calibration") if out is None else out
    target = RESULTS if out is None else folder / RESULTS.name
    make_folder(folder)
    write_json(folder / "cases.json", [case.to_dict() for case in cases])
    write_json(target, results)
    if out is not None or not README.exists():
        return [target, folder / "cases.json"]
    write_block(README, results)
    return [target, folder / "cases.json", README]


if __name__ == "__main__":
    sys.exit(main())
