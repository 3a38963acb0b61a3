"""Whatever the model: parts add up to the whole, in float64 to rounding error."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from interp import record
from interp.edges import edge_problem, graph_of, run_graph
from interp.lens import direct_logit_attribution
from interp.names import Head, attn_out_name, mlp_out_name, resid_post_name, scores_name, z_name
from interp.paths import freeze, logit_paths_of, score_paths_of
from interp.weights import weights_of
from tests.drawn import cases, examples, scored_in
from toy_models.transformer import Transformer

ROUNDING = 1e-9
"""Share of the largest number involved; float64 rounds at 2e-16, and sums of some hundred terms cancel."""


def near(found: Tensor, wanted: Tensor, *sizes: Tensor) -> bool:
    """Equal to rounding, measured against the largest of the numbers that were added up."""
    largest = max(1.0, *(float(each.abs().max()) for each in (found, wanted, *sizes)))
    return bool((found - wanted).abs().max() <= ROUNDING * largest)


@examples(40)
@given(cases())
def test_the_parts_of_all_paths_add_up_to_the_logits_of_the_model(case: tuple[Transformer, Tensor]):
    model, tokens = case
    paths = logit_paths_of(freeze(model, tokens))
    with torch.no_grad():
        logits = model(tokens)[:, :-1]
    target = logits.gather(-1, tokens[:, 1:, None])[..., 0]
    assert paths.complete
    assert near(paths.logit.sum(0), target, paths.logit)
    assert near(paths.relative.sum(0), target - logits.mean(-1), paths.relative)


@examples(40)
@given(cases(), st.data())
def test_the_parts_of_all_pairs_of_paths_add_up_to_the_scores_before_the_softmax(
    case: tuple[Transformer, Tensor], data: st.DataObject
):
    model, tokens = case
    head = Head(
        data.draw(st.integers(0, model.config.n_layers - 1)), data.draw(st.integers(0, model.config.n_heads - 1))
    )
    paths = score_paths_of(freeze(model, tokens, scores=True), head)
    seen = record(model, tokens, names=scores_name(head.layer))[scores_name(head.layer)][:, head.index]
    allowed = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool).tril()
    sizes = paths.queries.norm(dim=-1).sum(0).max() * paths.keys.norm(dim=-1).sum(0).max()
    assert near(paths.total()[:, allowed], seen[:, allowed], sizes)
    assert torch.equal(seen.isneginf(), ~allowed.expand_as(seen))


@examples(40)
@given(cases())
def test_what_components_add_to_a_logit_adds_up_to_it_with_the_biases(case: tuple[Transformer, Tensor]):
    model, tokens = case
    found = direct_logit_attribution(model, tokens)
    with torch.no_grad():
        logits = model(tokens)[:, :-1]
    target = logits.gather(-1, tokens[:, 1:, None])[..., 0]
    assert near(found.logit.sum(0), target, found.logit)
    assert near(found.relative.sum(0), target - logits.mean(-1), found.relative)


@examples(40)
@given(cases())
def test_embeddings_heads_biases_and_mlps_add_up_to_the_residual_stream(case: tuple[Transformer, Tensor]):
    model, tokens = case
    w, run = weights_of(model, fold=False), record(model, tokens)
    total = w.W_E[tokens] + (0 if w.W_pos is None else w.W_pos[: tokens.shape[1]])
    sizes = [total]
    for layer in range(w.n_layers):
        heads = torch.einsum("bphd,hdm->bphm", run[z_name(layer)], w.W_O[layer])
        assert near(heads.sum(2) + w.b_O[layer], run[attn_out_name(layer)], heads)
        total = total + heads.sum(2) + w.b_O[layer]
        total = total + (run[mlp_out_name(layer)] if w.W_in is not None else 0)
        sizes += [heads, total]
        assert near(total, run[resid_post_name(layer)], *sizes)


@examples(40)
@given(cases())
def test_with_every_edge_open_the_graph_gives_the_logits_and_shut_ones_what_stands_in(
    case: tuple[Transformer, Tensor],
):
    model, tokens = case
    w, corrupted = weights_of(model, fold=False), tokens.flip(0, 1)
    with torch.no_grad():
        intact, other = model(tokens), model(corrupted)
    graph = graph_of(w)
    problem = edge_problem(w, tokens, scored_in(tokens), corrupted=corrupted)
    for masks, wanted in ((problem.ones(), intact), (0 * problem.ones(), other)):
        logits, _ = run_graph(w, graph, problem.start, masks, problem.others)
        assert near(logits, wanted)
    assert torch.allclose(problem.costs(problem.ones()), problem.intact_costs(), rtol=1e-9, atol=1e-9)
