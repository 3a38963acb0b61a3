"""Verdicts and their reasons in words."""

from collections.abc import Sequence
from typing import Any

from analyses.claims.judge import Outcome, Part, Word
from analyses.report.numbers import shown as short

WORDS: tuple[Word, ...] = (
    "holds",
    "holds with a condition",
    "does not hold here",
    "undecided at this budget",
    "cannot be tested at this scale",
)
MEANINGS: dict[str, str] = {
    "holds": "every comparison came out as claimed",
    "holds with a condition": "some comparisons came out as claimed, others did not",
    "does not hold here": "every interval lies on the other side, or wholly within what would not matter",
    "undecided at this budget": "the intervals reach from one answer to the other: it takes more seeds or training",
    "cannot be tested at this scale": "out of reach of small models; what is checked instead stands beside it",
}
TOPICS: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("Basics", tuple(range(1, 7))),
    ("Divergence and cross-entropy", (*range(7, 11), 99)),
    ("Residual nets", (*range(11, 22), 90, 100)),
    ("Normalisation", (*range(22, 33), 91, 92, 101, 104)),
    ("Dropout", tuple(range(33, 39))),
    ("Generative models", (*range(39, 68), 94, 95, 98, 102, 103)),
    ("Optimisation", (*range(68, 75), 93)),
    ("Transformers", (*range(75, 90), 96, 97)),
)


TOPIC_NAMES = (*(name for name, _ in TOPICS), "Others")


def topic_of(numbers: Sequence[int]) -> str:
    """Under which heading a claim stands, by its first number."""
    return next((topic for topic, rows in TOPICS if numbers and numbers[0] in rows), TOPIC_NAMES[-1])


def reason(part: Part) -> str:
    """Why one comparison came out as it did."""
    if part.kind == "exact":
        return EXACT[part.outcome]
    estimate = part.estimate
    if estimate is None:
        return "one seed gives no interval" if len(part.treated) < 2 else "a value is not finite"
    if part.kind == "equivalent":
        return EQUIVALENT[part.outcome]
    if part.outcome == "holds":
        return "the interval lies above 0 and the mean reaches the margin"
    if part.outcome == "does not hold here":
        opposite = estimate.high < 0
        return "the interval lies on the opposite side" if opposite else "the whole interval is smaller than the margin"
    return "the interval contains 0" if estimate.low <= 0 else "the mean is smaller than the margin"


def effect_words(part: Part) -> str:
    """The effect with its interval, or the largest error, and what it is held against."""
    if part.kind == "exact":
        return f"{part.condition}: largest error {short(max(part.treated))} ({needed(part)})"
    estimate = part.estimate
    if estimate is None:
        return f"{part.condition}: no interval ({needed(part)})"
    interval = f"{short(estimate.mean)} [{short(estimate.low)}, {short(estimate.high)}]"
    return f"{part.condition}: {interval} ({needed(part)})"


def needed(part: Part) -> str:
    """What the effect is held against."""
    log = " in log ratio" if part.scale == "log ratio" else ""
    sign = {"greater": "at least ", "equivalent": "within ±", "exact": "at most "}[part.kind]
    return f"{sign}{short(part.margin)}{log}"


EXACT: dict[Outcome, str] = {
    "holds": "every error is within the tolerance, every error of the wrong way beyond it",
    "does not hold here": "an error exceeds the tolerance",
    "undecided at this budget": "the wrong way errs no more than the tolerance, so it could not have been told",
}
EQUIVALENT: dict[Outcome, str] = {
    "holds": "the whole interval lies within the margin",
    "does not hold here": "the whole interval lies outside the margin",
    "undecided at this budget": "the interval crosses the margin",
}


def counted(words: Sequence[str]) -> str:
    """ "3 hold, 1 does not ...": how many got which verdict, in the order of `WORDS`."""
    counts = {word: words.count(word) for word in WORDS if word in words}
    return ", ".join(f"{n} {word if n == 1 else PLURALS[word]}" for word, n in counts.items())


PLURALS: dict[str, str] = {
    "holds": "hold",
    "holds with a condition": "hold with a condition",
    "does not hold here": "do not hold here",
    "undecided at this budget": "undecided at this budget",
    "cannot be tested at this scale": "cannot be tested at this scale",
}


def placebo_text(placebo: dict[str, Any] | None) -> str:
    """What the control against itself gave; empty where there is none."""
    if placebo is None:
        return ""
    seeds = "seeds of its own for each draw" if placebo["fresh"] else f"one pool of {len(placebo['seeds'])} seeds"
    said = []
    if placebo["holds"] is not None:
        partly = placebo["with_a_condition"]
        also = f" (and for some of its comparisons in {partly})" if placebo["compared"] > 1 else ""
        said.append(f"was said to hold in {placebo['holds']} of {placebo['draws']} draws{also}")
    for each in placebo["equivalent"]:
        half = "n/a" if each["half_width"] is None else f"{each['half_width']:.2g}"
        said.append(
            f"lay within the margin of {each['margin']:g} in {each['within']} of {placebo['draws']} draws for "
            f"{each['condition']}, the interval being ± {half} wide"
        )
    return f"The control arm against itself, with {seeds}, {'; '.join(said)}."


def placebo_cell(placebo: dict[str, Any] | None) -> str:
    """Draws said to hold, of all, and in part; of claims of equivalence the least that lay within the margin."""
    if placebo is None:
        return ""
    if placebo["holds"] is not None:
        partly = placebo["with_a_condition"]
        return f"{placebo['holds']} of {placebo['draws']}" + (f" ({partly} in part)" if partly else "")
    return f"within {min(each['within'] for each in placebo['equivalent'])} of {placebo['draws']}"
