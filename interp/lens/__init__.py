"""What the residual stream would predict if the model ended early, and which component says what in the end."""

from interp.lens.attribution import Attribution, direct_logit_attribution
from interp.lens.by_depth import LogitLens, lens_logits, logit_lens, residual_points

__all__ = [
    "Attribution",
    "LogitLens",
    "direct_logit_attribution",
    "lens_logits",
    "logit_lens",
    "residual_points",
]
