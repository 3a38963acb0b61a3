"""Rows counted: how many models meet each bar, and how often one is missed without the audit having said so."""

from collections.abc import Callable, Sequence
from typing import Any

from analyses.calibration.trained.rows import BARS
from interp.stats import clopper_pearson

Rows = Sequence[dict[str, Any]]
GROUPS: dict[str, Callable[[dict[str, Any]], str]] = {
    "positions": lambda row: row["positions"],
    "width": lambda row: f"d_model {row['d_model']}",
    "heads": lambda row: f"{row['n_layers']} x {row['n_heads']} heads",
}
"""What the models with a gain are broken down by."""


def totals(rows: Rows) -> dict[str, Any]:
    """Shares with exact intervals (Clopper-Pearson), from the rows of results.json.

    `agree`: models that meet all of their bars. `said`: of those that do not, how many have a doubt of the
    audit's own beside them (see `named.Named`); `unsaid` are the others by name.
    """
    gaining = [row for row in rows if row["has_gain"]]
    missed = [row for row in rows if not row["agrees"]]
    return {
        "models": len(rows),
        "seeds": len({row["seed"] for row in rows}),
        "with_gain": _share(gaining, lambda row: row["agrees"]),
        "without_gain": _share([row for row in rows if not row["has_gain"]], lambda row: row["agrees"]),
        "bars": {bar: _share([row for row in gaining if bar in row["bars"]], _meets(bar)) for bar in BARS},
        "missed": [row["name"] for row in missed],
        "unsaid": [row["name"] for row in missed if not row["doubts"]],
        "doubted_where_met": _share([row for row in rows if row["agrees"]], lambda row: bool(row["doubts"])),
        "groups": {name: _grouped(gaining, group) for name, group in GROUPS.items()},
        "best_of_its_size": _share(
            [row for row in gaining if row["others"] is not None], lambda row: row["others"]["rank"] == 1
        ),
    }


def _grouped(rows: Rows, group: Callable[[dict[str, Any]], str]) -> dict[str, Any]:
    names = sorted({group(row) for row in rows}, key=lambda name: [_number(word) for word in name.split()])
    return {name: _share([row for row in rows if group(row) == name], lambda row: row["agrees"]) for name in names}


def _number(word: str) -> tuple[int, str]:
    return (int(word), "") if word.isdigit() else (-1, word)


def _meets(bar: str) -> Callable[[dict[str, Any]], bool]:
    return lambda row: bool(row["bars"][bar])


def _share(rows: Rows, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """How many hold, of how many; no interval of none."""
    count = sum(holds(row) for row in rows)
    if not rows:
        return {"count": 0, "of": 0, "low": None, "high": None}
    estimate = clopper_pearson(count, len(rows))
    return {"count": count, "of": len(rows), "low": estimate.low, "high": estimate.high}
