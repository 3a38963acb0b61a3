"""Whatever the model: results do not depend on the order or the split of the batch, nor on tokens that come later."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from interp import record
from interp.ablation import head_effects, token_losses
from interp.edges import edge_problem, exact
from interp.heads import score_heads
from interp.lens import direct_logit_attribution
from interp.patching import activation_patches, logit_difference, path_patches
from interp.paths import freeze, logit_paths_of
from interp.weights import weights_of
from tests.drawn import cases, examples, scored_in, seeded, tokens_of
from toy_models.transformer import Transformer

Case = tuple[Transformer, Tensor]
ROUNDING = 1e-9
"""Matrix products of another batch size may add in another order: float64 then differs by rounding."""
DETECTORS = ("previous_token", "current_token", "first_token")


def same(found: Tensor, wanted: Tensor) -> bool:
    return torch.allclose(found, wanted, rtol=ROUNDING, atol=ROUNDING)


def orders(n: int) -> st.SearchStrategy[list[int]]:
    return st.permutations(range(n))


@examples(15)
@given(cases(batch=4), st.data())
def test_each_sequence_keeps_its_head_scores_when_the_batch_is_reordered(case: Case, data: st.DataObject):
    model, tokens = case
    order = data.draw(orders(4))
    before = score_heads(model, tokens, seeded(), DETECTORS)
    after = score_heads(model, tokens[order], seeded(), DETECTORS)
    for name in DETECTORS:
        assert same(after[name].samples, before[name].samples[order])
        assert same(after[name].score, before[name].score)


@examples(20)
@given(cases(batch=4), st.data())
def test_each_sequence_keeps_its_activations_when_the_batch_is_reordered_or_split(case: Case, data: st.DataObject):
    model, tokens = case
    order, whole = data.draw(orders(4)), record(model, tokens)
    moved = record(model, tokens[order])
    parts = [record(model, tokens[rows]) for rows in (slice(0, 1), slice(1, 4))]
    for name, value in whole.items():
        assert same(moved[name], value[order])
        assert same(torch.cat([part[name] for part in parts]), value)


@examples(12)
@given(cases(batch=4), st.data())
def test_losses_and_effects_of_a_head_are_those_of_each_sequence_by_itself(case: Case, data: st.DataObject):
    model, tokens = case
    order = data.draw(orders(4))
    with torch.no_grad():
        whole = token_losses(model(tokens), tokens)
        alone = torch.cat([token_losses(model(row[None]), row[None]) for row in tokens])
    assert same(whole, alone)
    before = head_effects(model, tokens, scored_in(tokens), seeded())
    after = head_effects(model, tokens[order], scored_in(tokens)[order], seeded())
    assert same(after.loss.samples, before.loss.samples[order])


@examples(6)
@given(cases(batch=4, d_mlp=0), st.data())
def test_effects_of_patches_depend_neither_on_the_size_of_a_pass_nor_on_the_order_of_sequences(
    case: Case, data: st.DataObject
):
    model, tokens = case
    other, order = data.draw(tokens_of(model, 4, tokens.shape[1])), data.draw(orders(4))
    right = tokens[:, -1]
    metric = logit_difference(right, (right + 1) % model.config.d_vocab, tokens.shape[1] - 2)

    def activations(rows: list[int], size: int) -> Tensor:
        chosen = metric.select(torch.tensor(rows))
        found = activation_patches(
            model,
            tokens[rows],
            other[rows],
            chosen,
            seeded(),
            names="blocks.*.attn.hook_z",
            by=("head",),
            control=False,
            batch_size=size,
        )
        return found.effect.samples

    def paths(rows: list[int], size: int) -> Tensor:
        chosen = metric.select(torch.tensor(rows))
        found = path_patches(
            model,
            tokens[rows],
            other[rows],
            chosen,
            seeded(),
            receivers=["logits", "L0H0.K"],
            control=False,
            batch_size=size,
        )
        return found.table.effect.samples.nan_to_num()

    for measure in (activations, paths):
        whole = measure([0, 1, 2, 3], 128)
        assert same(measure([0, 1, 2, 3], 3), whole)
        assert same(measure(order, 128), whole[order])


@examples(10)
@given(cases(batch=3), st.data())
def test_parts_of_paths_components_and_edges_belong_to_their_sequence_alone(case: Case, data: st.DataObject):
    model, tokens = case
    order = data.draw(orders(3))
    before, after = (logit_paths_of(freeze(model, rows)) for rows in (tokens, tokens[order]))
    size = 1e-9 * max(1.0, float(before.logit.abs().max()))
    assert (after.logit - before.logit[:, order]).abs().max() <= size
    parts, moved = (direct_logit_attribution(model, rows) for rows in (tokens, tokens[order]))
    assert same(moved.logit, parts.logit[:, order])
    if model.config.n_layers * model.config.n_heads <= 3:
        w = weights_of(model, fold=False)
        found = [
            exact(edge_problem(w, rows, scored_in(rows), corrupted=rows.flip(1))).samples
            for rows in (tokens, tokens[order])
        ]
        assert found[0] is not None
        assert found[1] is not None
        assert same(found[1], found[0][order])


@examples(25)
@given(cases(), st.data())
def test_later_tokens_change_no_earlier_activation(case: Case, data: st.DataObject):
    model, tokens = case
    kept = data.draw(st.integers(1, tokens.shape[1] - 1))
    changed = tokens.clone()
    changed[:, kept:] = (changed[:, kept:] + 1) % model.config.d_vocab
    before, after = record(model, tokens), record(model, changed)
    for name, value in before.items():
        if name.endswith(("attn_scores", "pattern")):
            assert torch.equal(after[name][:, :, :kept], value[:, :, :kept]), name
        else:
            assert torch.equal(after[name][:, :kept], value[:, :kept]), name


@examples(20)
@given(cases(), st.data())
def test_padding_at_the_end_changes_nothing_before_it(case: Case, data: st.DataObject):
    model, tokens = case
    kept = data.draw(st.integers(2, tokens.shape[1]))
    with torch.no_grad():
        short, long = model(tokens[:, :kept]), model(tokens)
    assert same(long[:, :kept], short)
    assert same(token_losses(long, tokens)[:, :kept], token_losses(short, tokens[:, :kept]))
