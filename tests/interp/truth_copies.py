"""Handmade models and their copies that compute the same: what the truth says of them must be found by the library."""

import pytest
import torch

from toy_models import handmade
from toy_models.handmade.variants import in_another_basis, in_other_head_bases, with_heads_permuted, with_idle_heads

COPIES = {
    "as made": lambda made, generator: made,
    "another basis": in_another_basis,
    "other head bases": in_other_head_bases,
    "idle and permuted heads": lambda made, generator: with_heads_permuted(with_idle_heads(made), generator),
}
every_model = pytest.mark.parametrize("name", handmade.names())
every_copy = pytest.mark.parametrize("copy", COPIES)


def copy_of(name, copy):
    """A handmade model in float64, changed, with its truth."""
    return COPIES[copy](handmade.make(name), torch.Generator().manual_seed(11))


def stated(made, *quantities):
    """What the truth states of these quantities."""
    return [e for e in made.truth.expected if e.quantity in quantities]


def wrong(pairs):
    """{(quantity, heads): (expected, measured)} of the (expected, measured) that differ by more than the tolerance."""
    return {(e.quantity, e.at): (e.value, measured) for e, measured in pairs if not e.holds(measured)}
