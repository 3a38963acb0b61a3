"""What breaks when heads, sets of heads, or single edges between heads are removed, with controls."""

from interp.ablation.edges import EdgeEffects, edge_effects
from interp.ablation.heads import HeadEffects, head_effects
from interp.ablation.joint import SetEffect, set_effect
from interp.ablation.losses import token_losses
from interp.ablation.removal import Removal, removal

__all__ = [
    "EdgeEffects",
    "HeadEffects",
    "Removal",
    "SetEffect",
    "edge_effects",
    "head_effects",
    "removal",
    "set_effect",
    "token_losses",
]
