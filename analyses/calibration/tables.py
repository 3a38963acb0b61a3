"""results.json as a terminal shows it."""

from typing import Any

from analyses.calibration.words import level_text, rate, role_rows, share_text, wrong_rows
from analyses.tables import paragraph, table

Results = dict[str, Any]


def terminal(results: Results) -> str:
    """The bars, then the tables behind them, then what went wrong."""
    return "\n\n".join(
        [
            paragraph(drawn_text(results)),
            "What was to be reached\n" + bars_table(results),
            "Roles\n" + roles_table(results),
            paragraph(ROLES_NOTE),
            "Confidence words\n" + words_table(results),
            "Induction heads found, by noise\n" + noise_table(results),
            paragraph(NOISE_NOTE),
            "How induction heads are fed\n" + mechanisms_table(results),
            paragraph(search_text(results)),
            wrong_text(results),
        ]
    )


ROLES_NOTE = (
    "right when said: precision. found: recall; little noise: models that keep 95 % of their own accuracy. said "
    "where it is not: false positives. Brackets: 95 % intervals over models. A role counts as said from weak on."
)
NOISE_NOTE = (
    "noise: Gaussian, on every weight, in units of the scale at which the model loses 5 % of its own accuracy. kept: "
    "mean accuracy that the models keep of their own."
)


def drawn_text(results: Results) -> str:
    drawn, held = results["drawn"]["all"], results["drawn"]["reporting"]
    counts = " and ".join(
        f"{drawn[group]['heads']} heads of {drawn[group]['models']} models {what}"
        for group, what in {"positive": "with a circuit", "negative": "without induction"}.items()
    )
    reported = " and ".join(str(held[group]["heads"]) for group in ("positive", "negative"))
    return f"{counts} (seed {results['seed']}); reported on the half that chose no threshold: {reported} heads."


def bars_table(results: Results) -> str:
    rows = []
    for each in results["bars"]:
        wanted = f"≤ {each['at_most']:g}" if each["at_most"] < 1 else f"≥ {each['at_least']:g}"
        found = each["found"]
        rows.append(["yes" if each["met"] else "NO", each["bar"], wanted, rate(found), str(found["models"])])
    return table(["met", "what", "wanted", "found", "models"], rows, "lllrr")


def roles_table(results: Results) -> str:
    header = ["role", "right when said", "found, little noise", "found, all noise", "said where it is not"]
    return table(header, [list(row) for row in role_rows(results)], "lrrrr")


def words_table(results: Results) -> str:
    rows = [[word, share_text(found), str(found["models"])] for word, found in results["reliability"].items()]
    return table(["word", "the head has the role", "models"], rows, "lrr")


def noise_table(results: Results) -> str:
    levels = list(next(iter(results["induction"].values()))["recall"])
    rows = []
    for mechanism, found in results["induction"].items():
        rows.append([mechanism, *(rate(found["recall"][level]) for level in levels), level_text(found)])
        rows.append(
            ["  kept", *(f"{kept:.0%}" if (kept := found["kept"][level]) is not None else "" for level in levels)]
        )
    header = ["noise", *levels, "under 90 %"]
    return table(header, [row + [""] * (len(header) - len(row)) for row in rows], "l" + "r" * len(levels) + "l")


def mechanisms_table(results: Results) -> str:
    columns = ["K-composition", "Q-composition", "smeared keys", "mixed", "not identified", "not given", "none"]
    columns = [name for name in columns if any(name in row for row in results["mechanisms"].values())]
    rows = [[made, *(str(row.get(name, 0)) for name in columns)] for made, row in results["mechanisms"].items()]
    header = ["made by", *("not found" if name == "none" else name for name in columns)]
    return table(header, rows, "l" + "r" * len(columns))


def search_text(results: Results) -> str:
    tried = results["search"]["tried"]
    own = tried[0]
    found = (
        f"{own['false_induction']} heads falsely called induction, {own['missed_induction']} induction heads missed, "
        f"{own['others']} other errors"
    )
    if results["search"]["own_is_best"]:
        return f"Of {len(tried)} sets of thresholds, tried on the other half, none does better than ours: {found}."
    best = results["search"]["best"]
    changed = ", ".join(
        f"{name} {value:g} instead of {results['criteria'][name]:g}"
        for name, value in best.items()
        if value != results["criteria"][name]
    )
    return f"Of {len(tried)} sets of thresholds, tried on the other half, ours is not the best ({found}): {changed}."


def wrong_text(results: Results) -> str:
    if not results["wrong"]:
        return (
            "Nothing was missed or falsely given on circuits with little noise, and no head falsely called induction."
        )
    header = ["model", "name", "head", "what", "the audit said", "noise (kept)"]
    return "What went wrong with little noise\n" + table(header, [list(row) for row in wrong_rows(results)], "rlllll")
