"""A verdict depends on what a model computes, not on its basis, the order of its heads, or idle ones."""

import pytest
import torch

from analyses.audit import Criteria
from analyses.calibration.cases import audit_whole
from toy_models.handmade import make, names
from toy_models.handmade.variants import (
    in_another_basis,
    in_order,
    in_other_head_bases,
    with_idle_heads,
)

SIZE = {"d_vocab": 10, "n_ctx": 22}


def verdicts(model):
    """Every role of every head, with its confidence and mechanism."""
    return {
        verdict.head: [(claim.role, claim.confidence, claim.mechanism) for claim in verdict.roles]
        for verdict in audit_whole(model, 0, Criteria()).verdicts
    }


@pytest.fixture(scope="module")
def plain():
    """The verdicts of handmade models as they are, each made once."""
    found = {}

    def of(name):
        if name not in found:
            made = make(name, **SIZE)
            found[name] = made, verdicts(made.model)
        return found[name]

    return of


@pytest.mark.parametrize("name", names())
def test_verdicts_stay_in_another_basis_with_other_head_bases_renamed_heads_and_idle_ones(plain, name):
    made, before = plain(name)
    generator = torch.Generator().manual_seed(1)
    moved = with_idle_heads(in_other_head_bases(in_another_basis(made, generator, 10.0), generator, 4.0))
    n_heads = moved.model.config.n_heads
    order = torch.arange(n_heads).roll(1).repeat(moved.model.config.n_layers, 1)  # head i is now head i + 1
    after = verdicts(in_order(moved, order).model)
    now = {head: f"{head[:3]}{(int(head[3:]) + 1) % n_heads}" for head in before}
    assert {head: after[now[head]] for head in before} == before


def test_the_mechanism_is_named_alike_in_a_basis_far_from_orthogonal(plain):
    made, before = plain("induction_q")
    after = verdicts(in_another_basis(made, torch.Generator().manual_seed(2), 100.0).model)
    assert after == before
    assert {mechanism for claims in before.values() for _, _, mechanism in claims} == {None, "Q-composition"}


def test_permuted_heads_take_their_verdicts_with_them(plain):
    made, before = plain("induction_both")
    after = verdicts(in_order(made, torch.tensor([[1, 0], [1, 0]])).model)
    renamed = {"L0H0": "L0H1", "L0H1": "L0H0", "L1H0": "L1H1", "L1H1": "L1H0"}
    assert {head: after[now] for head, now in renamed.items()} == before
    assert before["L1H0"] != before["L1H1"]


def test_added_idle_heads_get_no_role_but_idle(plain):
    made, before = plain("induction_k")
    after = verdicts(with_idle_heads(made, 2).model)
    assert {role for head in after.keys() - before for role, _, _ in after[head]} <= {"idle"}
