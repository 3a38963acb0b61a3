"""Claims run in tests: what does not hold of them."""

from collections.abc import Sequence

from analyses.claims import Claim
from analyses.claims.running import run_claim


def not_holding(claims: Sequence[Claim], seeds: Sequence[int] = (0,), budget: float = 1.0) -> list[str]:
    """Every comparison whose outcome is another than "holds", as "claim: condition: outcome"."""
    return [
        f"{claim.name}: {part.condition}: {part.outcome}"
        for claim in claims
        for part in run_claim(claim, seeds, budget).parts
        if part.outcome != "holds"
    ]
