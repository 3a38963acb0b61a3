"""The part that normalisation plays: what folding does to the weights, the scale that stays, and what runs through it.

LN and RMS divide what is read from the residual stream by one number per position. Gains, biases and centring are
linear and can be folded into the weights; the division cannot. With the scale held at its value a read is affine; how
much of an effect runs through the scale is what the same change does with the scale held, against let free.
"""

from interp.norms.direct import DirectEffects, direct_effects
from interp.norms.folded import FoldingAccount, folding_account
from interp.norms.reads import Read, affine_error, normalised, reads_of
from interp.norms.removed import RemovedEffects, held_scales, removed_effects
from interp.norms.scales import ReadScales, read_scales

__all__ = [
    "DirectEffects",
    "FoldingAccount",
    "Read",
    "ReadScales",
    "RemovedEffects",
    "affine_error",
    "direct_effects",
    "folding_account",
    "held_scales",
    "normalised",
    "read_scales",
    "reads_of",
    "removed_effects",
]
