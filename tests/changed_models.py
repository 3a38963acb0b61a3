"""A handmade model in which everything is changed that its function does not depend on."""

import torch

from toy_models.handmade.model import Handmade
from toy_models.handmade.variants import in_another_basis, in_other_head_bases, with_heads_permuted, with_idle_heads


def changed(handmade: Handmade, generator: torch.Generator) -> Handmade:
    """Another basis of the residual stream and of every head, an idle head in each layer, heads in another order."""
    handmade = in_other_head_bases(in_another_basis(with_idle_heads(handmade), generator), generator)
    return with_heads_permuted(handmade, generator)
