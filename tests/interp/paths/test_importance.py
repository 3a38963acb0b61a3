import dataclasses
import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from interp.errors import InputError
from interp.names import Head
from interp.paths import freeze, logit_paths_of, term_importance, term_importance_of, virtual_head_effect
from interp.paths.frozen_terms import order_residuals
from tests.frozen_twin import Twin, term
from tests.reference_transformer import random_model, random_tokens
from toy_models.config import TransformerConfig
from toy_models.handmade import make, names, variants

SMALL = TransformerConfig(
    n_layers=3, n_heads=2, d_model=8, d_head=4, d_vocab=11, n_ctx=9, positions="standard", normalization="LN", d_mlp=5
)
COPIES = {
    "as built": lambda made, _: made,
    "another basis": variants.in_another_basis,
    "other head bases": variants.in_other_head_bases,
    "heads permuted, idle heads": lambda made, g: variants.with_heads_permuted(variants.with_idle_heads(made), g),
}
PAIR = ((0, 1), (2, 0))


@pytest.fixture(scope="module", params=[{}, {"normalization": "none", "positions": "rotary", "d_mlp": 0}])
def case(request):
    """A random model's frozen run, its importance, its slow twin, and which tokens are scored."""
    config = dataclasses.replace(SMALL, **request.param)
    model, tokens = random_model(config), random_tokens(config, batch=3)
    scored = torch.tensor([[1] * 7, [0, 1, 0, 0, 1, 1, 0], [0] * 7], dtype=torch.bool)
    run = freeze(model, tokens)
    found = term_importance_of(run, torch.Generator().manual_seed(0), scored)
    return run, found, Twin(model, tokens), scored


def loss_of(logits, run, scored):
    """Mean over sequences with a scored token of the mean loss of their scored tokens."""
    losses = F.cross_entropy(logits[:, :-1].mT, run.tokens[:, 1:], reduction="none")
    rows = [row[mask].mean() for row, mask in zip(losses, scored[:, 1:], strict=True) if mask.any()]
    return float(torch.stack(rows).mean())


def up_to(slow, order, without=()):
    """Logits of all terms of at most `order` heads, by inclusion-exclusion over sets of heads."""
    heads = [head for head in slow.heads if head not in without]
    sets = itertools.chain(*(itertools.combinations(heads, size) for size in range(order + 1)))
    return sum(term(slow.logits, chosen) for chosen in sets)


def test_losses_by_order_are_those_of_the_terms_of_at_most_so_many_heads(case):
    run, found, slow, scored = case
    expected = [loss_of(up_to(slow, order), run, scored) for order in range(4)]
    assert found.losses.mean.tolist() == pytest.approx(expected, abs=1e-9)
    assert expected[-1] == pytest.approx(loss_of(run.logits, run, scored), abs=1e-9)
    assert found.uniform_loss == pytest.approx(math.log(11))
    steps = [after - before for before, after in itertools.pairwise([math.log(11), *expected])]
    assert found.steps.mean.tolist() == pytest.approx(steps, abs=1e-9)
    assert found.losses.n == 2


def test_residuals_by_order_are_the_sums_of_the_paths_of_at_most_so_many_heads(case):
    run, _, _, _ = case
    paths = logit_paths_of(run, torch.full_like(run.tokens, 4))
    for order, residual in enumerate(order_residuals(run)):
        logit = (residual / run.final_scale[..., None] @ run.weights.W_U + run.weights.b_U)[..., 4]
        expected = sum(part for path, part in zip(paths.paths, paths.logit, strict=True) if path.order <= order)
        torch.testing.assert_close(logit, expected, rtol=0, atol=1e-9)


def test_effects_of_layers_and_heads_are_those_of_runs_with_heads_left_out(case):
    run, found, slow, scored = case

    def loss(logits):
        return loss_of(logits, run, scored)

    direct, singles, model = loss(slow.logits(())), loss(up_to(slow, 1)), loss(run.logits)
    for layer in range(3):
        own = [(layer, 0), (layer, 1)]
        alone = slow.logits(()) + sum(term(slow.logits, (head,)) for head in own)
        assert float(found.layer_alone.mean[layer]) == pytest.approx(loss(alone) - direct, abs=1e-9)
        others = singles - loss(up_to(slow, 1, own))
        assert float(found.layer_given_others.mean[layer]) == pytest.approx(others, abs=1e-9)
        for head in own:
            assert found.head_alone[head].mean == pytest.approx(loss(slow.logits([head])) - direct, abs=1e-9)
            assert found.head_given_others[head].mean == pytest.approx(singles - loss(up_to(slow, 1, [head])), abs=1e-9)
            silent = slow.logits([other for other in slow.heads if other != head])
            assert found.head_paths[head].mean == pytest.approx(model - loss(silent), abs=1e-9)


def test_the_effect_of_a_pair_is_that_of_the_one_term_through_both(case, generator):
    run, found, slow, scored = case
    assert found.pairs == tuple((Head(*a), Head(*b)) for a, b in itertools.product(slow.heads, repeat=2) if a[0] < b[0])
    for i, (earlier, later) in enumerate(found.pairs):
        rest = run.logits - term(slow.logits, (earlier, later))
        effect = loss_of(run.logits, run, scored) - loss_of(rest, run, scored)
        assert found.pair[i].mean == pytest.approx(effect, abs=1e-9)
        assert virtual_head_effect(run, (earlier, later), generator, scored).mean == pytest.approx(effect, abs=1e-9)
    chain = ((0, 1), (1, 0), (2, 1))
    effect = loss_of(run.logits, run, scored) - loss_of(run.logits - term(slow.logits, chain), run, scored)
    assert virtual_head_effect(run, chain, generator, scored).mean == pytest.approx(effect, abs=1e-9)


def test_the_effect_of_a_pair_is_that_of_its_logit_paths(case):
    run, found, _, scored = case
    chain = tuple(Head(*head) for head in PAIR)
    rest = torch.stack(
        [
            run.logits[..., token]
            - sum(part for path, part in zip(p.paths, p.logit, strict=True) if path.heads == chain)
            for token in range(11)
            for p in [logit_paths_of(run, torch.full_like(run.tokens, token), split=False)]
        ],
        dim=-1,
    )
    effect = loss_of(run.logits, run, scored) - loss_of(rest, run, scored)
    assert found.pair[found.pairs.index(chain)].mean == pytest.approx(effect, abs=1e-9)


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("name", names())
def test_losses_of_handmade_models_are_those_of_their_truth(name, copy, generator):
    made = COPIES[copy](make(name), generator)
    truth = made.truth
    if not (made.answers >= 0).any():
        assert not any(e.quantity.startswith("order-") for e in truth.expected)
        return
    found = term_importance(made.model, made.example_tokens, generator, targets=made.answers, pairs=())
    orders = [e for e in truth.expected if e.quantity.startswith("order-")]
    for expected in orders:
        assert expected.holds(float(found.losses.mean[int(expected.quantity[6])])), expected
    own = [e for e in truth.expected if e.quantity == "loss"]
    assert all(e.holds(float(found.losses.mean[-1])) for e in own)
    for expected in truth.expected:
        if expected.quantity == "loss without (patterns held)" and len(expected.at) == 1:
            held = float(found.losses.mean[-1]) - found.head_paths[expected.at[0]].mean
            assert expected.holds(held), expected


def test_most_handmade_models_state_losses_by_order():
    stated = [name for name in names() if any(e.quantity == "order-1 loss" for e in make(name).truth.expected)]
    assert {"induction_k", "induction_q", "two_back", "three_layer_chain", "positional"} <= set(stated)


def test_the_induction_head_counts_by_itself_and_its_feed_only_through_the_pattern(generator):
    made = make("induction_k")
    found = term_importance(made.model, made.example_tokens, generator, targets=made.answers)
    gain = made.truth.find("loss").value - math.log(16)
    assert found.steps.mean.tolist() == pytest.approx([0, gain, 0], abs=1e-9)
    for effects in (found.head_alone, found.head_given_others, found.head_paths):
        assert effects.mean[:, 0].tolist() == pytest.approx([0, gain], abs=1e-9)
    assert found.pair[0].mean == pytest.approx(0, abs=1e-9)


def test_without_layers_there_is_the_direct_path_alone(generator):
    config = dataclasses.replace(SMALL, n_layers=0)
    found = term_importance(random_model(config), random_tokens(config), generator)
    assert found.losses.mean.shape == (1,)
    assert found.head_paths.mean.shape == (0, 2)
    assert (found.pairs, found.pair) == ((), None)


def test_intervals_enclose_their_means_and_everything_can_be_written_down(case):
    _, found, _, _ = case
    for name in ("losses", "steps", "layer_alone", "head_alone", "head_given_others", "head_paths", "pair"):
        effects = getattr(found, name)
        assert bool((effects.low <= effects.mean).all() & (effects.mean <= effects.high).all()), name
        assert found.to_dict()[name]["mean"] == effects.mean.tolist()
    assert found.to_dict()["pairs"][0] == ["L0H0", "L1H0"]


def test_progress_is_told_of_every_pair(generator):
    seen = []

    def progress(pairs):
        seen.extend(pairs)
        return pairs

    run = freeze(random_model(SMALL), random_tokens(SMALL))
    found = term_importance_of(run, generator, pairs=[PAIR], progress=progress)
    assert seen == [(Head(0, 1), Head(2, 0))] == list(found.pairs)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"pairs": [((0, 0), (0, 1))]}, "in the same layer"),
        ({"pairs": [((1, 0), (0, 1))]}, "in a later layer"),
        ({"pairs": [((0, 0), (3, 1))]}, "L3H1 is in layer 3"),
        ({"pairs": [((0, 0),)]}, "a pair is an earlier and a later head, got 1 heads"),
        ({"scored": torch.zeros(2, 7, dtype=torch.bool)}, "at least two of them"),
        ({"scored": torch.ones(2, 6, dtype=torch.bool)}, "scored must have the tokens' shape"),
        ({"targets": torch.full((2, 7), 11)}, "tokens 0..10 or -1"),
        ({"targets": torch.full((2, 7), -2)}, "tokens 0..10 or -1"),
        ({"targets": torch.zeros(2, 6, dtype=torch.int64)}, r"targets must be \[batch pos\] \[2, 7\]"),
        ({"targets": torch.zeros(2, 7, dtype=torch.int64), "scored": torch.ones(2, 7, dtype=torch.bool)}, "exclude"),
    ],
)
def test_what_cannot_be_measured_is_refused(options, message, generator):
    run = freeze(random_model(SMALL), random_tokens(SMALL))
    with pytest.raises(InputError, match=message):
        term_importance_of(run, generator, **options)
