"""Rows on disk, a JSON file for each training: what is there is not trained again."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyses.claims.arms import Task, arm_digest, describe
from analyses.claims.claim import Arm, Row
from interp.errors import InputError
from toy_models.atomic import make_folder, write_json

FOLDER = Path("runs/claims")


@dataclass(frozen=True)
class Trained:
    """What one training gave, and the CPU seconds it took."""

    row: Row
    seconds: float


def path_of(task: Task, folder: Path) -> Path:
    return folder / f"{arm_digest(task.arm)}-{task.key}.json"


def load(task: Task, folder: Path) -> Trained | None:
    """What is on disk for this training; None if there is nothing, or nothing that can be read."""
    try:
        found = json.loads(path_of(task, folder).read_text(encoding="utf-8"))
        return Trained(row_from_json(found["row"]), float(found["seconds"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def save(task: Task, trained: Trained, folder: Path) -> None:
    """Writes it whole or not at all, also while another process writes the same."""
    make_folder(folder)
    target = path_of(task, folder)
    own = target.with_name(f"{os.getpid()}-{target.name}")
    about = {**describe(task.arm), **task.request}
    write_json(own, {**about, "seconds": trained.seconds, "row": row_to_json(trained.row)})
    os.replace(own, target)


def earlier_seconds(arm: Arm, budget: float, folder: Path) -> float | None:
    """CPU seconds of an earlier training of this arm, whatever its seed and source, scaled to this budget."""
    for path in folder.glob(f"{arm_digest(arm)}-*.json"):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return float(found["seconds"]) * budget / float(found["budget"])
        except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
            continue
    return None


def checked_row(row: Any) -> Row:
    """The same with plain floats; `InputError` for anything but numbers and lists of numbers by name."""
    if not isinstance(row, Mapping) or not row:
        raise InputError(f"an arm must give numbers by name, got {row!r:.80}")
    found: Row = {}
    for name, value in row.items():
        values = value if isinstance(value, list) else [value]
        if not isinstance(name, str) or not all(isinstance(each, int | float) for each in values):
            raise InputError(f"an arm must give a number or a list of numbers as {name!r}, got {value!r:.80}")
        found[name] = [float(each) for each in value] if isinstance(value, list) else float(value)
    return found


def row_to_json(row: Row) -> dict[str, Any]:
    """Numbers that are not finite, which JSON lacks, become the words nan, inf and -inf."""
    return {
        name: [encoded(v) for v in value] if isinstance(value, list) else encoded(value) for name, value in row.items()
    }


def row_from_json(values: Mapping[str, Any]) -> Row:
    return {
        name: [float(v) for v in value] if isinstance(value, list) else float(value) for name, value in values.items()
    }


def encoded(value: float) -> float | str:
    return value if math.isfinite(value) else repr(float(value))
