"""What breaks when heads, units, sets of them or single edges are removed or attend as in textbooks, with controls."""

from interp.ablation.edges import EdgeEffects, edge_effects, fewest_enough
from interp.ablation.heads import HeadEffects, head_effects
from interp.ablation.ideal_patterns import IdealPattern
from interp.ablation.idealised import Recovery, idealised_edits, idealised_recovery
from interp.ablation.joint import SetEffect, set_effect
from interp.ablation.losses import token_losses
from interp.ablation.metric import metric_effects
from interp.ablation.reader import HeadOutputs, head_outputs
from interp.ablation.redundancy import Interactions, interactions, pairs_within
from interp.ablation.removal import Removal, removal
from interp.ablation.unit_controls import ClassEffect, Controls, UnitRemoval, unit_removal
from interp.ablation.units import Unit, UnitEffects, UnitSetEffect, unit_effects, unit_set_effect

__all__ = [
    "ClassEffect",
    "Controls",
    "EdgeEffects",
    "HeadEffects",
    "HeadOutputs",
    "IdealPattern",
    "Interactions",
    "Recovery",
    "Removal",
    "SetEffect",
    "Unit",
    "UnitEffects",
    "UnitRemoval",
    "UnitSetEffect",
    "edge_effects",
    "fewest_enough",
    "head_effects",
    "head_outputs",
    "idealised_edits",
    "idealised_recovery",
    "interactions",
    "metric_effects",
    "pairs_within",
    "removal",
    "set_effect",
    "token_losses",
    "unit_effects",
    "unit_removal",
    "unit_set_effect",
]
