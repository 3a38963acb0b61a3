"""Known claims about small networks as experiments with a control, an interval over seeds and a verdict.

`Claim` says, before anything is run, what is compared with what, which difference would matter, and which way it has
to go; `judge` turns what was measured into a verdict and knows nothing else. The claims themselves are in
`analyses.claims.experiments`, one module a close family.
"""

from analyses.claims.catalogue import all_claims, find_claim
from analyses.claims.claim import Arm, Claim, Comparison, Picture, Row
from analyses.claims.judge import Part, Verdict, judge
from analyses.claims.result import ClaimResult, measured_parts

__all__ = [
    "Arm",
    "Claim",
    "ClaimResult",
    "Comparison",
    "Part",
    "Picture",
    "Row",
    "Verdict",
    "all_claims",
    "find_claim",
    "judge",
    "measured_parts",
]
