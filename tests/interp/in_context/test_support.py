"""Heads that a set lacks: known for circuits that were set by hand."""

import pytest
import torch

from interp.errors import InputError
from interp.heads import olsson_protocol, predictable_positions, repeated_tokens
from interp.in_context import carried_share, support, supporting_heads
from interp.names import Head
from toy_models.handmade import make
from toy_models.handmade.transforms import add_idle_heads

PROTOCOL = olsson_protocol(16, 34, 0)
PREDICTABLE = predictable_positions(PROTOCOL, 8)


@pytest.fixture
def tokens(generator):
    return repeated_tokens(PROTOCOL, 8, generator)


def found(model, heads, tokens, generator, **options):
    return supporting_heads(model, [Head(*head) for head in heads], tokens, PREDICTABLE, generator, **options)


@pytest.mark.parametrize("given", [[(0, 0)], [(1, 0)]])
@pytest.mark.parametrize("name", ["induction_k", "induction_q"])
def test_half_of_a_circuit_lacks_the_other_half_and_no_idle_head(name, given, tokens, generator):
    model = add_idle_heads(make(name).model, 2)
    beside = found(model, given, tokens, generator)
    assert beside.heads == tuple({Head(0, 0), Head(1, 0)} - {Head(*given[0])})
    assert beside.enough
    assert beside.kept.mean == pytest.approx(1, abs=1e-6)


def test_a_whole_circuit_lacks_nothing(tokens, generator):
    beside = found(make("induction_k").model, [(0, 0), (1, 0)], tokens, generator)
    assert beside.heads == ()
    assert beside.kept.mean == pytest.approx(1, abs=1e-6)


def test_heads_that_later_ones_made_superfluous_are_taken_out_again(tokens, generator, monkeypatch):
    """Shares as in a table: A alone brings most, then B and C, which do without A."""
    A, B, C = Head(0, 0), Head(1, 0), Head(1, 1)
    shares = {(A,): 0.5, (B,): 0.3, (C,): 0.3, (A, B): 0.7, (A, C): 0.6, (B, C): 1.0, (A, B, C): 1.0}
    table = {frozenset(heads): share for heads, share in shares.items()}
    monkeypatch.setattr(support._Search, "gain", gain_by(table))
    assert found(make("induction_both").model, [], tokens, generator).heads == (B, C)


def gain_by(table):
    return lambda self, named, added: table.get(frozenset(named.union(added)), 0.0) * self.whole


def test_the_share_is_that_of_the_gain_above_counting(tokens, generator):
    model, half = make("induction_both").model, [Head(0, 0), Head(1, 0)]
    shares = carried_share(model, half, tokens, PREDICTABLE, generator, most=0)
    gain, kept = shares.gain.mean, shares.by["mean"].kept.mean
    counting = 0.5 * gain * kept
    beside = found(model, half, tokens, generator, counting=counting, least=0.0)
    assert beside.heads == ()
    assert beside.kept.mean == pytest.approx((gain * kept - counting) / (gain - counting))


def test_a_gain_that_counting_brings_as_well_has_no_support_and_heads_must_be_there(tokens, generator):
    model = make("induction_k").model
    assert found(model, [(0, 0)], tokens, generator, counting=100.0) is None
    with pytest.raises(InputError, match="L5H0"):
        found(model, [(5, 0)], tokens, generator)


def test_the_model_is_left_as_it_was(tokens, generator):
    model = make("induction_k").model
    before = model(tokens)
    found(model, [(0, 0)], tokens, generator)
    assert torch.equal(model(tokens), before)
