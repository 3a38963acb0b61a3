"""What running a claim gives: every value per seed, the parts that follow from them, and the verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analyses.claims.claim import Claim, Comparison, Row
from analyses.claims.judge import Part, Verdict, judge
from interp.errors import InputError


@dataclass(frozen=True)
class ClaimResult:
    """Rows `[arm][seed]` of a claim, and what they say."""

    claim: Claim
    seeds: tuple[int, ...]
    budget: float
    rows: Mapping[str, Sequence[Row]]

    @property
    def parts(self) -> tuple[Part, ...]:
        return measured_parts(self.claim, self.rows)

    @property
    def verdict(self) -> Verdict:
        return judge(self.parts, bool(self.claim.untestable))


def measured_parts(claim: Claim, rows: Mapping[str, Sequence[Row]]) -> tuple[Part, ...]:
    """The claim's comparisons with the values that the arms gave; `InputError` where a row lacks a value."""
    return tuple(_part(claim, comparison, rows) for comparison in claim.comparisons)


def _part(claim: Claim, c: Comparison, rows: Mapping[str, Sequence[Row]]) -> Part:
    treated = tuple(number_in(claim, c.treated, row, c.value) for row in rows[c.treated])
    control = tuple(number_in(claim, c.control, row, c.control_value or c.value) for row in rows[c.control])
    return Part(c.condition, c.measure, treated, control, c.kind, c.margin, c.scale, c.resolution)


def number_in(claim: Claim, arm: str, row: Row, name: str) -> float:
    """A row's entry; `InputError` where it is missing or no number."""
    value = row.get(name)
    if not isinstance(value, int | float):
        raise InputError(f"claim {claim.name}: arm {arm} gave no number {name!r}, only {', '.join(row)}")
    return float(value)
