"""From cases to results.json: every share with its interval, the bars to reach, and each case that went wrong."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from analyses.audit import Criteria
from analyses.audit.result import versions
from analyses.calibration.cases import Case
from analyses.calibration.choosing import Search
from analyses.calibration.draws import LEVELS
from analyses.calibration.scoring import (
    Share,
    confusion,
    falls_at,
    recall_by_level,
    reliability,
    role_scores,
    share,
    swapped,
)
from analyses.criteria import ROLES
from analyses.evidence import CONFIDENCE

SCHEMA_VERSION = 1
JUDGED = tuple(role for role in ROLES if role not in ("none", "unexplained"))
"""Roles that heads are made to have."""
MECHANISMS = ("K-composition", "Q-composition", "smeared keys")
PRECISION, RECALL = 1.0, 0.99
"""To be reached on circuits with little noise."""


def summarise(
    settings: dict[str, Any], cases: Sequence[Case], choosing: Sequence[Case], found: Search
) -> dict[str, Any]:
    """The content of results.json: `cases` are those of the reporting half under the audit's own criteria, `choosing`
    those of the other."""
    easy = [case for case in cases if case.easy]
    circuits = [case for case in easy if case.group == "circuit"]
    return {
        "schema": "interp-calibration",
        "schema_version": SCHEMA_VERSION,
        **settings,
        "drawn": {"all": counted([*choosing, *cases]), "reporting": counted(cases)},
        "criteria": asdict(Criteria()),
        "search": found.to_dict(),
        "bars": bars(cases),
        "reliability": {word: s.to_dict() for word, s in reliability(cases, reversed(CONFIDENCE)).items()},
        "roles": {role: scored(cases, easy, role) for role in JUDGED},
        "pooled": {"circuits with little noise": pooled(circuits), "all": pooled(cases)},
        "induction": by_mechanism(cases),
        "mechanisms": confusion(cases),
        "wrong": wrong(cases),
        "versions": {name: value for name, value in versions().items() if name != "device"},
    }


def counted(cases: Sequence[Case]) -> dict[str, dict[str, int]]:
    """Heads and models with a circuit and without induction; idle heads count in neither."""
    groups = {
        "positive": [case for case in cases if case.positive],
        "negative": [case for case in cases if case.group == "no induction"],
    }
    return {name: {"heads": len(of), "models": len({case.model for case in of})} for name, of in groups.items()}


def scored(cases: Sequence[Case], easy: Sequence[Case], role: str) -> dict[str, Any]:
    """All heads of the reporting half, and those of models with little noise."""
    return {"all": role_scores(cases, role).to_dict(), "easy": role_scores(easy, role).to_dict()}


def pooled(cases: Sequence[Case]) -> dict[str, Any]:
    """Precision and recall over all roles at once: every pair of a head and a role is one case."""
    precision, recall = pooled_shares(cases)
    return {"precision": precision.to_dict(), "recall": recall.to_dict()}


def pooled_shares(cases: Sequence[Case]) -> tuple[Share, Share]:
    pairs = [
        (case.model, told, case.called(role))
        for case in cases
        for role in JUDGED
        if (told := case.truth.told(role)) is not None
    ]
    precision = share((model, told) for model, told, called in pairs if called)
    recall = share((model, called) for model, told, called in pairs if told)
    return precision, recall


def by_mechanism(cases: Sequence[Case]) -> dict[str, Any]:
    """Recall of induction by noise: where it falls, and which noise a level is (median over models)."""
    found = {}
    for mechanism in MECHANISMS:
        made_so = [case for case in cases if case.truth.mechanism == mechanism]
        by_level = recall_by_level(made_so, "induction", LEVELS)
        unit = sorted(case.noise / case.level for case in made_so if case.level)
        found[mechanism] = {
            "recall": {f"{level:g}": s.to_dict() for level, s in by_level.items()},
            "kept": {f"{level:g}": mean_kept(made_so, level) for level in LEVELS},
            "falls_below_90_percent_at": falls_at(by_level),
            "noise_of_level_1": unit[len(unit) // 2] if unit else None,
        }
    return found


def mean_kept(cases: Sequence[Case], level: float) -> float | None:
    kept = [case.kept for case in cases if case.level == level and case.kept is not None]
    return sum(kept) / len(kept) if kept else None


def bars(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """What was to be reached, what was, and whether that is enough."""
    without = [case for case in cases if case.group == "no induction"]
    easy = [case for case in cases if case.easy and case.group == "circuit"]
    false = share((case.model, "induction" in case.given) for case in without)
    induction = role_scores(easy, "induction")
    precision, recall = pooled_shares(easy)
    pairs = [case for case in cases if case.truth.mechanism in ("K-composition", "Q-composition")]
    given = [case for case in pairs if case.called("induction")]
    wrong_way = {id(case) for case in swapped(cases)}
    return [
        bar("no head of a model without induction is called an induction head, not even contested", false, at_most=0.0),
        bar("precision of induction on circuits with little noise", induction.precision, at_least=PRECISION),
        bar("recall of induction on circuits with little noise", induction.recall, at_least=RECALL),
        bar("precision of all roles on circuits with little noise", precision, at_least=PRECISION),
        bar("recall of all roles on circuits with little noise", recall, at_least=RECALL),
        bar("K- and Q-composition swapped", share((c.model, id(c) in wrong_way) for c in given), at_most=0.0),
    ]


def bar(text: str, found: Share, at_least: float = 0.0, at_most: float = 1.0) -> dict[str, Any]:
    met = found.value is not None and at_least <= found.value <= at_most
    return {"bar": text, "at_least": at_least, "at_most": at_most, "met": met, "found": found.to_dict()}


def wrong(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Each role that was missed or falsely given where it counts: with little noise, induction anywhere."""
    found = []
    for case in cases:
        for role in JUDGED:
            told = case.truth.told(role)
            false = told is False and (
                (case.easy and case.called(role)) or (role == "induction" and role in case.given)
            )
            missed = told is True and case.easy and not case.called(role)
            if false or missed:
                found.append(described(case, role, "falsely given" if false else "missed"))
    found += [described(case, "induction", f"said to be by {case.mechanism}") for case in swapped(cases)]
    return found


def described(case: Case, role: str, what: str) -> dict[str, Any]:
    about = {"model": case.model, "seed": case.seed, "name": case.name, "head": case.head, "made_as": case.made_as}
    return about | {"role": role, "what": what, "given": case.given, "noise": case.noise, "kept": case.kept}
