"""When do the blocks of a net find what they end with, with shortcuts and without?"""

import math

from analyses.claims.claim import Arm, Claim, Comparison, Picture
from analyses.claims.experiments.residual_depth import PLAIN_20, RESIDUAL_20

SOONER = math.log(1.25)
"""A quarter more steps."""
ARMS: dict[str, Arm] = {"plain": PLAIN_20, "residual": RESIDUAL_20}

CLAIMS = (
    Claim(
        name="shortcuts-let-blocks-settle-sooner",
        numbers=(100,),
        statement="Shortcuts let the optimiser solve some layers faster.",
        source="He et al. 2015, arXiv:1512.03385, section 4.1: residual nets ease optimisation at the early stage",
        arms=ARMS,
        comparisons=tuple(
            Comparison(
                f"blocks of stage {stage}", "step at which outputs are 80 % of the way to their last",
                f"settled stage {stage}", "plain", "residual", "greater", SOONER, scale="log ratio",
            )
            for stage in (1, 2, 3)
        ),
        why=(
            "The same net without shortcuts. The way is measured from what a block gave out before training, since "
            "shortcuts make early and late outputs alike without any learning (linear CKA on 128 images)."
        ),
        picture=Picture("settled by block", "step at which the block settled", "block", "block"),
    ),
)  # fmt: skip
