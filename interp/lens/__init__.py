"""What the residual stream would predict if the model ended early, and which component says what in the end."""

from interp.lens.attribution import Attribution, direct_logit_attribution
from interp.lens.by_depth import LogitLens, lens_logits, logit_lens, residual_points
from interp.lens.by_head import LensByHead, lens_by_head
from interp.lens.readable import Readable
from interp.lens.tuned import TunedLens, tuned_lens
from interp.lens.tuned_held_out import HeldOut, held_out
from interp.lens.tuned_readable import BroughtBy, brought_by, first_readable

__all__ = [
    "Attribution",
    "BroughtBy",
    "HeldOut",
    "LensByHead",
    "LogitLens",
    "Readable",
    "TunedLens",
    "brought_by",
    "direct_logit_attribution",
    "first_readable",
    "held_out",
    "lens_by_head",
    "lens_logits",
    "logit_lens",
    "residual_points",
    "tuned_lens",
]
