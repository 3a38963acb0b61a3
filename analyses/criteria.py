"""What counts as an induction head, and as each other role: named thresholds, each with where it comes from.

An audit writes these values into report.json beside every number they were compared with. Those marked "ours" are
choices, not findings: change them with `dataclasses.replace`, or in a file that `interp audit --criteria` reads, and
audit again.
"""

import difflib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from analyses.evidence import CONFIDENCE, Confidence
from interp.errors import InputError

ROLES: dict[str, str] = {
    "induction": "after [A][B] ... [A] attends to [B], and by that raises [B]",
    "copy-suppression": "attends to earlier tokens that the model already predicts, and lowers them",
    "anti-copying": "attends as an induction head does, and lowers the token it attends to",
    "prefix-matching": "attends as an induction head does, without raising the token that followed",
    "previous-token": "attends to the token before",
    "duplicate-token": "attends to earlier copies of the present token",
    "current-token": "attends to its own position",
    "first-token": "attends to the first position, where attention rests that has nothing to do",
    "positional": "attends by position alone, to other places than these three",
    "virtual-head": "part of a virtual head: the later one's values read what the earlier one moved",
    "copying": "raises the tokens it attends to",
    "idle": "writes next to nothing that matters on these tokens",
    "unexplained": "removing it costs loss, and none of these roles says why",
    "none": "none of these",
}
"""The roles a head can have, and what each means."""
VERSION = 2
"""Of the criteria; raised together with that of report.json when one changes its meaning or goes away."""


@dataclass(frozen=True)
class Criteria:
    """Thresholds of the audit; SOURCES says where each comes from."""

    pattern_mass: float = 0.4
    null_margin: float = 0.2
    period_mass: float = 0.3
    push_margin: float = 0.2
    null_quantile: float = 0.99
    positional_margin: float = 0.2
    positional_share: float = 0.9
    token_match: float = 0.5
    loss_share: float = 0.02
    no_loss_share: float = 0.005
    idle_output: float = 0.05
    value_share: float = 0.3
    feed_drop: float = 0.3
    feed_rest: float = 0.1
    feed_least: float = 0.05
    circuit_lost: float = 0.9
    circuit_kept: float = 0.8
    interval_level: float = 0.95
    expect_confidence: Confidence = "moderate"

    @classmethod
    def from_file(cls, path: Path) -> "Criteria":
        """The defaults with what a JSON file overrides, such as {"pattern_mass": 0.5}.

        `InputError` for a file that cannot be read, another version of the criteria, a name that is none of theirs, or
        a value of the wrong type or out of range.
        """
        return read_criteria(path)

    @property
    def overridden(self) -> dict[str, Any]:
        """What differs from the defaults: the name with its value here and by default."""
        own, usual = asdict(self), asdict(Criteria())
        return {name: {"value": own[name], "default": usual[name]} for name in own if own[name] != usual[name]}

    def template(self) -> dict[str, Any]:
        """All values by name, as `from_file` reads them."""
        return {"version": VERSION, **asdict(self)}

    def to_dict(self) -> dict[str, Any]:
        """Values, sources, and the meaning of the confidence words, for report.json."""
        return {
            "version": VERSION,
            "values": asdict(self),
            "overridden": self.overridden,
            "sources": SOURCES,
            "roles": ROLES,
            "confidence": dict(CONFIDENCE),
        }


SOURCES: dict[str, str] = {
    "pattern_mass": (
        "mean attention from which a detector names a head; 0.4 is the detection threshold of ARENA 1.2 for heads of a "
        "two-layer attention-only model (previous-token, induction, first-token), here per eligible query"
    ),
    "null_margin": (
        "ours: the score must exceed the same entries read without the repetition, and shuffled attention, by half the "
        "pattern threshold; a head that attends by position alone does not"
    ),
    "period_mass": "ours: prefix matching must reach this at every period tried, or it is a positional habit",
    "push_margin": (
        "ours: nats by which a head's own output must move the next token's logit against other tokens'; of 16 sets of "
        "thresholds the one with 0.2 here made the fewest errors on the choosing half of the calibration's models"
    ),
    "null_quantile": "ours: a weight score must exceed this quantile of its own null",
    "positional_margin": (
        "ours: positions alone must imply so much more attention where the role says than an even spread puts there"
    ),
    "positional_share": (
        "ours: share of a pattern, beyond even attention, that must be the same in all sequences for the head to "
        "attend by position alone, and share of its effect that must be left with that mean pattern in its place"
    ),
    "token_match": "ours: share of the vocabulary whose own token gets the highest score in the token-space QK circuit",
    "loss_share": (
        "ours: removing the head must cost this share of what the model gains on the tokens it scores (chance loss "
        "minus its loss), with the whole interval above 0"
    ),
    "no_loss_share": (
        "ours: below this share (of the model's gain, or of what its predictions say), with its whole interval, "
        "removing the head changes nothing that matters"
    ),
    "idle_output": (
        "ours: a head whose output varies by so little beside the residual stream, or whose OV circuit is so small "
        "beside the largest, writes next to nothing"
    ),
    "value_share": (
        "ours: share of what a head moves that an earlier head must have brought, and of its effect on predictions "
        "that must go when it cannot read that, for the two to be a virtual head"
    ),
    "feed_drop": (
        "ours: taking an earlier head out of the K (or Q) input alone must remove this share of the prefix matching, "
        "for it to be named as a feeder"
    ),
    "feed_rest": (
        "ours: the feeders that are named must keep the prefix matching together but for this share, all other earlier "
        "heads taken out of the input; more are named until they do"
    ),
    "feed_least": "ours: share of the prefix matching that a feeder must bring, for it to be named only beside others",
    "circuit_lost": (
        "ours: without the heads that are named in induction and their feeders, this share of what the model gains "
        "from the order of tokens must be gone, with the whole interval, or the audit says that it has a doubt"
    ),
    "circuit_kept": "ours: with these heads alone this share must be left, with the whole interval, or it says so",
    "interval_level": "the usual 95 %",
    "expect_confidence": "ours: from which confidence on a head counts for --expect",
}
RANGES: dict[str, tuple[float, float]] = {"push_margin": (0.0, 100.0), "loss_share": (0.0, 10.0)}
"""What a value may lie between, both ends included; from 0 to 1 where nothing is said."""
INSIDE = ("null_quantile", "interval_level")
"""Those that must lie strictly between 0 and 1."""


def read_criteria(path: Path) -> Criteria:
    """`Criteria.from_file`."""
    try:
        given: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"the criteria cannot be read from {path}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path} is not the JSON of criteria: {error}") from None
    if not isinstance(given, dict):
        raise InputError(f'{path} must hold an object such as {{"pattern_mass": 0.5}}, got {type(given).__name__}')
    version = given.pop("version", VERSION)
    if version != VERSION:
        raise InputError(f"{path} has criteria of version {version!r}, this is version {VERSION}")
    return Criteria(**{name: checked(path, name, value) for name, value in given.items()})


def checked(path: Path, name: str, value: Any) -> Any:
    """The value of one criterion; `InputError` if there is no such criterion or it cannot have this value."""
    known = [field.name for field in fields(Criteria)]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
        raise InputError(f"{path}: there is no criterion {name!r}; {hint}")
    if name == "expect_confidence":
        words = ("weak", "moderate", "strong")
        if value not in words:
            raise InputError(f"{path}: {name} must be one of {', '.join(words)}, got {value!r}")
        return value
    low, high = RANGES.get(name, (0.0, 1.0))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{path}: {name} must be a number from {low:g} to {high:g}, got {value!r}")
    inside = low < value < high if name in INSIDE else low <= value <= high
    if not inside:
        between = "between 0 and 1" if name in INSIDE else f"from {low:g} to {high:g}"
        raise InputError(f"{path}: {name} must be a number {between}, got {value!r}")
    return float(value)
