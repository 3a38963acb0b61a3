"""Every edge open is the model, every edge shut is the other run, and in between is what hooks on the model give."""

import dataclasses
import itertools
from typing import get_args

import pytest
import torch

from interp.edges import graph_of, run_graph
from interp.edges.graph_run import Nudge, Outputs, embeddings
from interp.errors import InputError
from interp.hooks import intervene
from interp.weights import weights_of
from tests.edge_twin import logits_by_hooks
from tests.reference_transformer import random_model, random_tokens
from toy_models.bridge import to_bridge
from toy_models.config import Normalization, Positions, TransformerConfig

SMALL = TransformerConfig(
    n_layers=2, n_heads=2, d_model=8, d_head=4, d_vocab=11, n_ctx=9, positions="standard", normalization="LN"
)
GRID = list(itertools.product(get_args(Positions), get_args(Normalization), (False, True)))
FEW = [("none", "RMS", False), ("standard", "LN", True), ("shortformer", "RMSPre", True), ("rotary", "none", True)]


def named(p):
    return f"{p[0]}-{p[1]}-{'all' if p[2] else 'plain'}"


def changed(positions, normalization, everything):
    """With everything: smeared keys, biases and MLPs."""
    return dataclasses.replace(
        SMALL,
        positions=positions,
        normalization=normalization,
        smeared_keys=everything,
        biases=everything,
        d_mlp=6 * everything,
    )


def made(*kind):
    """A random model in float64, its graph, its weights, tokens and other tokens."""
    config = changed(*kind)
    model = random_model(config)
    w = weights_of(model, fold=False)
    return model, graph_of(w), w, random_tokens(config), random_tokens(config, seed=2)


@pytest.fixture(params=GRID, ids=named)
def case(request):
    return made(*request.param)


@pytest.fixture(params=FEW, ids=named)
def one_case(request):
    return made(*request.param)


def close(a, b, tolerance=1e-9):
    return float((a - b).detach().abs().max()) <= tolerance * max(1.0, float(b.detach().abs().max()))


def drawn_masks(graph, seed=3):
    return torch.rand(len(graph.edges), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_with_every_edge_open_the_logits_are_the_models_whatever_stands_in(case):
    model, graph, w, tokens, corrupted = case
    others = run_graph(w, graph, embeddings(w, graph, corrupted))[1]
    start = embeddings(w, graph, tokens)
    for found in (run_graph(w, graph, start)[0], run_graph(w, graph, start, torch.ones(len(graph.edges)), others)[0]):
        assert close(found, model(tokens))


def test_with_every_edge_shut_the_logits_are_those_of_the_other_run(case):
    model, graph, w, tokens, corrupted = case
    others = run_graph(w, graph, embeddings(w, graph, corrupted))[1]
    found, written = run_graph(w, graph, embeddings(w, graph, tokens), torch.zeros(len(graph.edges)), others)
    assert close(found, model(corrupted))
    n = graph.n_embeddings
    assert close(written.senders[n:], others.senders[n:])
    assert not close(found, model(tokens), 1e-3)


def test_edges_half_open_give_what_hooks_on_the_model_give(case):
    model, graph, w, tokens, corrupted = case
    others = run_graph(w, graph, embeddings(w, graph, corrupted))[1]
    masks = drawn_masks(graph)
    if graph.positions == "shortformer":  # after the normalisation, where hooks on inputs do not reach
        masks[[i for i, edge in enumerate(graph.edges) if edge.sender == "position"]] = 1
    twin = logits_by_hooks(
        model,
        graph,
        tokens,
        dict(zip(graph.edges, masks.tolist(), strict=True)),
        dict(zip(graph.senders, others.senders, strict=True)),
    )
    found, _ = run_graph(w, graph, embeddings(w, graph, tokens), masks, others)
    assert close(found, twin)
    assert not close(found, model(tokens), 1e-3)


@pytest.mark.parametrize("positions", ["standard", "shortformer"])
def test_positions_shut_everywhere_are_a_model_without_positions(positions):
    config = changed(positions, "RMS", True)
    model, tokens = random_model(config), random_tokens(config)
    w = weights_of(model, fold=False)
    graph = graph_of(w)
    masks = torch.tensor([float(edge.sender != "position") for edge in graph.edges], dtype=torch.float64)
    found, _ = run_graph(w, graph, embeddings(w, graph, tokens), masks)
    with torch.no_grad():
        model.pos_embed.W_pos.zero_()
    assert close(found, model(tokens))


def test_shortformer_positions_half_open_are_a_table_in_between():
    """Every edge from positions at m mixes this table with the one that stands in."""
    config = changed("shortformer", "LN", False)
    model, tokens = random_model(config), random_tokens(config)
    w = weights_of(model, fold=False)
    graph = graph_of(w)
    assert w.W_pos_attn is not None
    masks = torch.tensor([0.3 if edge.sender == "position" else 1.0 for edge in graph.edges], dtype=torch.float64)
    start = embeddings(w, graph, tokens)
    assert start.added is not None
    others = run_graph(w, graph, start)[1]
    flat = start.added.mean((1, 2), keepdim=True)
    found, _ = run_graph(w, graph, start, masks, Outputs(others.senders, flat))
    table = model.pos_embed.W_pos
    with torch.no_grad():
        table.copy_(0.3 * table + 0.7 * table[: tokens.shape[1]].mean(0))
    assert close(found, model(tokens))


@pytest.mark.parametrize("channel", ["Q", "K"])
def test_shortformer_positions_are_taken_out_of_one_heads_queries_or_keys(channel):
    """Shutting position -> L1H1.K takes p W_K out of that head's keys alone; hooks after the projection reach it."""
    model, graph, w, tokens, _ = made("shortformer", "LN", True)
    masks = torch.ones(len(graph.edges))
    masks[graph.find(f"position -> L1H1.{channel}")] = 0
    found, _ = run_graph(w, graph, embeddings(w, graph, tokens), masks)
    gone = model.pos_embed.W_pos[: tokens.shape[1]] @ getattr(model.blocks[1].attn, f"W_{channel}")[1]

    def without(value):
        value[:, :, 1] -= gone
        return value

    with torch.no_grad(), intervene(model, {f"blocks.1.attn.hook_{channel.lower()}": without}):
        assert close(found, model(tokens))
    assert not close(found, model(tokens), 1e-3)


def test_a_nudge_is_the_derivative_by_the_masks_at_the_intact_model(one_case):
    """d/dm at m = 1 equals d/dsize at 0 towards out - other, summed over sequences."""
    _, graph, w, tokens, corrupted = one_case
    others = run_graph(w, graph, embeddings(w, graph, corrupted))[1]
    start = embeddings(w, graph, tokens)
    _, written = run_graph(w, graph, start)
    masks = torch.ones(len(graph.edges), dtype=torch.float64, requires_grad=True)
    size = torch.zeros(len(tokens), len(graph.edges), dtype=torch.float64, requires_grad=True)
    (by_mask,) = torch.autograd.grad(run_graph(w, graph, start, masks, others)[0].square().sum(), masks)
    nudged, _ = run_graph(w, graph, start, None, others, Nudge(size, written.minus(others)))
    (by_size,) = torch.autograd.grad(nudged.square().sum(), size)
    assert close(by_size.sum(0), by_mask)
    assert float(by_mask.abs().max()) > 1e-3


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_transformer_lens_models_run_with_their_own_activation(activation):
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    config = TransformerBridgeConfig(
        d_model=8, d_head=4, n_layers=2, n_ctx=9, n_heads=2, d_vocab=11, d_mlp=12, act_fn=activation,
        normalization_type="LN", seed=1,
    )  # fmt: skip
    bridge = TransformerBridge.boot_native(config, dtype=torch.float64).eval()
    w = weights_of(bridge, fold=False)
    graph, tokens = graph_of(w), random_tokens(SMALL)
    assert close(run_graph(w, graph, embeddings(w, graph, tokens))[0], bridge(tokens))


def test_our_model_as_a_bridge_runs_the_same():
    model = random_model(changed("rotary", "RMS", False))
    w, tokens = weights_of(to_bridge(model), fold=False), random_tokens(SMALL)
    graph = graph_of(w)
    assert close(run_graph(w, graph, embeddings(w, graph, tokens))[0], model(tokens), 1e-6)


def test_inputs_are_left_as_they_were(one_case):
    _, graph, w, tokens, corrupted = one_case
    others = run_graph(w, graph, embeddings(w, graph, corrupted))[1]
    masks, start = drawn_masks(graph), embeddings(w, graph, tokens)
    before = [masks.clone(), start.senders.clone(), others.senders.clone()]
    run_graph(w, graph, start, masks, others)
    assert all(torch.equal(a, b) for a, b in zip(before, [masks, start.senders, others.senders], strict=True))


def test_results_do_not_depend_on_the_batch(one_case):
    _, graph, w, tokens, corrupted = one_case
    others = run_graph(w, graph, embeddings(w, graph, corrupted))[1]
    whole, _ = run_graph(w, graph, embeddings(w, graph, tokens), drawn_masks(graph), others)
    second = others.map(lambda x: x[:, 1:])
    alone, _ = run_graph(w, graph, embeddings(w, graph, tokens[1:]), drawn_masks(graph), second)
    assert close(alone, whole[1:])


def test_what_cannot_be_run_is_refused():
    w = weights_of(random_model(SMALL), fold=False)
    graph = graph_of(w)
    start = embeddings(w, graph, random_tokens(SMALL))
    with pytest.raises(
        InputError, match=rf"graph has {len(graph.edges)} edges, one mask for each is needed, got \[3\]"
    ):
        run_graph(w, graph, start, torch.ones(3))
    with pytest.raises(InputError, match=r"tokens must lie in 0..10, got 0..11"):
        embeddings(w, graph, torch.tensor([[0, 11]]))
    with pytest.raises(InputError, match="at most 9 positions"):
        embeddings(w, graph, torch.zeros(1, 10, dtype=torch.long))
    mlp = weights_of(random_model(changed("none", "none", True)), fold=False)
    unknown = dataclasses.replace(mlp, activation="swish")
    with pytest.raises(InputError, match=r"MLPs run with relu, gelu, .*, silu, not with 'swish'"):
        run_graph(unknown, graph_of(mlp), embeddings(mlp, graph_of(mlp), random_tokens(SMALL)))
