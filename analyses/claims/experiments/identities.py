"""How identities are declared: an error that must vanish beside the error of the wrong way, which must not."""

from analyses.claims.claim import Comparison


def exact(
    condition: str, measure: str, arm: str, value: str, margin: float, *, wrong: str, wrong_arm: str = ""
) -> Comparison:
    """`value` of `arm` is an error of at most `margin`; `wrong`, of the same arm unless another is named, is larger."""
    return Comparison(condition, measure, value, arm, wrong_arm or arm, "exact", margin, control_value=wrong)
