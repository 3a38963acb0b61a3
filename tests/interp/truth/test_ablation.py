"""What the removal of heads costs handmade models, by the library's hooks and ablations, on their example tokens."""

import pytest
import torch
import torch.nn.functional as F

from interp.ablation import head_effects, removal, set_effect
from interp.hooks import intervene, record
from interp.names import Head, pattern_name
from tests.interp.truth_copies import copy_of, every_copy, every_model, stated, wrong

WITHOUT = ("loss without", "next-token loss without", "loss without (patterns held)")


def next_tokens(made):
    """The next token at repeated positions, -1 elsewhere."""
    targets = torch.full_like(made.example_tokens, -1)
    targets[:, :-1] = torch.where(made.repeated[:, :-1], made.example_tokens[:, 1:], -1)
    return targets


def targets_of(made, expected):
    return next_tokens(made) if expected.quantity.startswith("next-token") else made.answers


@torch.no_grad()
def loss_without(made, expected):
    """Loss with the named heads' z set to zero, all patterns held at their values where the quantity says so."""
    model, tokens = made.model, made.example_tokens
    edits = dict(removal(model, tokens, "zero").edits([Head(*head) for head in expected.at]))
    if "patterns held" in expected.quantity:
        names = [pattern_name(layer) for layer in range(model.config.n_layers)]
        held = record(model, tokens, names=names)
        edits |= {name: (lambda value, name=name: held[name]) for name in names}
    with intervene(model, edits):
        logits = model(tokens)
    targets = targets_of(made, expected)
    return float(F.cross_entropy(logits[targets >= 0], targets[targets >= 0]))


@every_copy
@every_model
def test_zeroed_heads_cost_what_the_truth_says_with_patterns_free_and_held(name, copy):
    made = copy_of(name, copy)
    known = stated(made, *WITHOUT)
    assert known or name in ("random_weights", "untrained")
    assert wrong((e, loss_without(made, e)) for e in known) == {}


@every_copy
@pytest.mark.parametrize("name", ["induction_k", "induction_q", "induction_both", "induction_shared", "no_copy"])
def test_head_effects_and_set_effects_by_zero_are_those_of_the_truth(name, copy, generator):
    made = copy_of(name, copy)
    tokens = made.example_tokens
    scored = torch.zeros_like(made.repeated)
    scored[:, 1:] = made.repeated[:, :-1]
    known = [e for e in stated(made, *WITHOUT[:2]) if torch.equal(targets_of(made, e), next_tokens(made))]
    assert known
    effects = head_effects(made.model, tokens, scored, generator, to="zero")
    found = []
    for e in known:
        if len(e.at) == 1:
            effect = float(effects.loss.score[e.at[0]])
        else:
            effect = set_effect(made.model, [Head(*h) for h in e.at], tokens, scored, generator, to="zero").loss.mean
        found.append((e, effects.intact["loss"] + effect))
    assert wrong(found) == {}


@pytest.mark.parametrize(
    "name, survives", [("induction_k", True), ("induction_q", True), ("two_back", False), ("literal_current", False)]
)
def test_a_feeding_head_is_needed_for_patterns_or_for_values(name, survives):
    """Without it the model fails; with patterns held it does not if it feeds keys or queries, and does if values."""
    made = copy_of(name, "as made")
    free, held = (
        next(loss_without(made, e) for e in stated(made, quantity) if e.at == ((0, 0),))
        for quantity in ("loss without", "loss without (patterns held)")
    )
    intact = made.truth.find("loss").value
    assert free > intact + 2
    assert (held < intact + 1e-6) == survives
