"""Results as JSON, one file a claim: what was claimed, measured and judged, and what the page draws."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from analyses.claims.arms import arm_digest, describe, digest_of, module_of
from analyses.claims.cache import encoded
from analyses.claims.claim import Claim
from analyses.claims.drawn import drawn
from analyses.claims.judge import Part, Verdict, judge
from analyses.claims.result import ClaimResult
from analyses.claims.sources import sources_digest
from analyses.output import strict_json
from interp.errors import InputError
from toy_models.atomic import make_folder, write_bytes

FOLDER = Path(__file__).parent / "results"
SCHEMA = "interp-claim"
SAME = ("hash", "seeds", "budget", "device", "torch")
"""What a placebo's result must have in common with the one it is kept for."""
DECLARED = ("name", "numbers", "statement", "source", "why", "slip", "untestable", "trained")


@dataclass(frozen=True)
class Stored:
    """One claim's result as it stands in its file."""

    document: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.document[name]

    @property
    def name(self) -> str:
        return str(self["name"])

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(part_from_json(part) for part in self["parts"])

    @property
    def verdict(self) -> Verdict:
        """As it was stored."""
        return Verdict(**self["verdict"])

    def judged(self) -> Verdict:
        """As the stored values are judged now."""
        return judge(self.parts, bool(self["untestable"]))

    def stale(self, claim: Claim) -> str:
        """Why the numbers may be others now; empty if nothing that they depend on has changed."""
        if self["hash"]["declaration"] != declaration_digest(claim):
            return "declaration changed"
        if self["hash"]["sources"] != claim_sources(claim):
            return "source changed"
        return "" if self["torch"] == torch_release() else f"made with torch {self['torch']}"


def document_of(result: ClaimResult, seconds: Mapping[str, float], device: str = "cpu") -> dict[str, Any]:
    """The content of a claim's file; `seconds` are CPU seconds by arm, over its seeds."""
    claim = result.claim
    return {
        "schema": SCHEMA,
        **{name: getattr(claim, name) for name in DECLARED if name != "numbers"},
        "numbers": list(claim.numbers),
        "seeds": list(result.seeds),
        "budget": result.budget,
        "device": device,
        "torch": torch_release(),
        "hash": {"declaration": declaration_digest(claim), "sources": claim_sources(claim)},
        "cpu_seconds": round(sum(seconds.values()), 2),
        "arms": {
            name: {**describe(arm), "seconds": round(seconds.get(name, 0.0), 2)} for name, arm in claim.arms.items()
        },
        "parts": [
            {"treated_arm": c.treated, "control_arm": c.control, **part_to_json(part)}
            for c, part in zip(claim.comparisons, result.parts, strict=True)
        ],
        "verdict": asdict(result.verdict),
        "picture": drawn(claim, result.rows),
        "placebo": None,
    }


def part_to_json(part: Part) -> dict[str, Any]:
    """Everything that was put in, and the interval and outcome that follow from it."""
    values = asdict(part) | {side: [encoded(v) for v in getattr(part, side)] for side in ("treated", "control")}
    estimate = part.estimate
    interval = None if estimate is None else {key: encoded_or_word(v) for key, v in estimate.to_dict().items()}
    return values | {"interval": interval, "outcome": part.outcome}


def encoded_or_word(value: Any) -> Any:
    return encoded(value) if isinstance(value, float) else value


def part_from_json(values: Mapping[str, Any]) -> Part:
    sides = {side: tuple(float(v) for v in values[side]) for side in ("treated", "control")}
    rest: dict[str, Any] = {
        name: values[name] for name in ("condition", "measure", "kind", "margin", "scale", "resolution")
    }
    return Part(treated=sides["treated"], control=sides["control"], **rest)


def declaration_digest(claim: Claim) -> str:
    """Of all that the claim says of itself, margins and arms included."""
    arms = {name: describe(arm) for name, arm in claim.arms.items()}
    said = {name: getattr(claim, name) for name in DECLARED}
    comparisons = [asdict(c) for c in claim.comparisons]
    picture = None if claim.picture is None else asdict(claim.picture)
    return digest_of({**said, "arms": arms, "comparisons": comparisons, "picture": picture})


def claim_sources(claim: Claim) -> str:
    """Of every source that any of its arms reaches."""
    return sources_digest(*sorted({module_of(arm) for arm in claim.arms.values()}))[:24]


def torch_release() -> str:
    """Without the build, which the numbers on a CPU do not depend on."""
    return torch.__version__.partition("+")[0]


def save(document: Mapping[str, Any], folder: Path) -> Path:
    """Writes one claim's file, whole or not at all; a placebo of the same experiment that was there stays."""
    make_folder(folder)
    path = folder / f"{document['name']}.json"
    before = load(folder).get(document["name"]) if path.exists() else None
    same = before is not None and all(before[name] == document[name] for name in SAME)
    if document["placebo"] is None and before is not None and same:
        document = {**document, "placebo": before["placebo"]}
    write_bytes(path, strict_json(document).encode())
    return path


def load(folder: Path = FOLDER) -> dict[str, Stored]:
    """Every stored result by its claim's name; `InputError` for a file that is none."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{path} is no JSON: {error}") from None
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            raise InputError(f"{path} is not a claim's result; take it out of this folder")
        found[document["name"]] = Stored(document)
    return found


def seconds_known(results: Iterable[Stored], claims: Sequence[Claim]) -> dict[str, float]:
    """CPU seconds of one seed at budget 1.0 by arm, from stored results."""
    by_name = {claim.name: claim for claim in claims}
    known = {}
    for stored in results:
        claim = by_name.get(stored.name)
        for name, arm in claim.arms.items() if claim else ():
            there = stored["arms"].get(name)
            if there:
                known[arm_digest(arm)] = there["seconds"] / (len(stored["seeds"]) * stored["budget"])
    return known
