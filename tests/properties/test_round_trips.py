"""Whatever the model: other descriptions of it compute the same, files and names read back as they were written."""

import tempfile
from pathlib import Path as FilePath

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from analyses.audit.expectations import Expectation
from analyses.criteria import ROLES
from interp import record
from interp.circuits import copying_score
from interp.circuits.tables import full_ov, full_qk
from interp.edges import Edge, Graph
from interp.heads import score_heads
from interp.hooks.targets import find_targets
from interp.names import Head
from interp.weights import weights_of
from tests.drawn import cases, configs, examples, models, seeded
from tests.reference_transformer import logits_from
from toy_models.checkpoint import load_checkpoint, save_checkpoint
from toy_models.config import TransformerConfig, from_dict, to_dict
from toy_models.handmade.transforms import change_basis, change_head_basis, permute_heads
from toy_models.transformer import Transformer

Case = tuple[Transformer, Tensor]
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


@examples(15)
@given(cases(batch=2), st.booleans())
def test_weights_folded_or_not_compute_the_logits_of_the_model(case: Case, fold: bool):
    model, tokens = case
    with torch.no_grad():
        logits = model(tokens)
    found = logits_from(weights_of(model, fold=fold), tokens)
    assert torch.allclose(found, logits, rtol=1e-7, atol=1e-7 * float(logits.abs().max()))


@examples(15)
@given(cases(normalization="none", tied_embeddings=False), st.integers(0, 2**16))
def test_another_basis_of_the_residual_stream_moves_no_number_in_token_space(case: Case, seed: int):
    model, tokens = case
    turned = change_basis(model, seeded(seed), condition=10.0)
    with torch.no_grad():
        logits = model(tokens)
        assert torch.allclose(turned(tokens), logits, rtol=1e-8, atol=1e-8 * float(logits.abs().max()))
    before, after = weights_of(model), weights_of(turned)
    offset = 1 if model.config.positions == "rotary" else None
    for head in [(0, 0), (before.n_layers - 1, before.n_heads - 1)]:
        for table in (full_ov, lambda w, h: full_qk(w, h, offset=offset)):
            mine, theirs = table(before, head).dense(), table(after, head).dense()
            assert torch.allclose(mine, theirs, rtol=1e-8, atol=1e-8 * float(mine.abs().max()))
    scores = [copying_score(w, seeded()).eigenvalue.value for w in (before, after)]
    assert torch.allclose(scores[0], scores[1], rtol=1e-6, atol=1e-6)


@examples(15)
@given(cases(), st.integers(0, 2**16), st.data())
def test_other_bases_and_another_order_of_heads_move_no_pattern(case: Case, seed: int, data: st.DataObject):
    model, tokens = case
    config = model.config
    order = torch.tensor([data.draw(st.permutations(range(config.n_heads))) for _ in range(config.n_layers)])
    moved = permute_heads(model, order)
    if config.positions != "rotary":
        moved = change_head_basis(moved, seeded(seed))
    before, after = record(model, tokens), record(moved, tokens)
    scale = float(before.output.abs().max())
    assert torch.allclose(after.output, before.output, rtol=1e-6, atol=1e-6 * scale)
    for layer in range(config.n_layers):
        name = f"blocks.{layer}.attn.hook_pattern"
        assert torch.allclose(after[name], before[name][:, order[layer]], rtol=1e-6, atol=1e-6)
    scores = [score_heads(m, tokens, seeded(), ["previous_token"])["previous_token"].score for m in (model, moved)]
    assert torch.allclose(scores[1], scores[0].gather(1, order), rtol=1e-6, atol=1e-6)


@examples(25)
@given(models(), st.sampled_from(DTYPES))
def test_a_checkpoint_reads_back_to_the_last_bit(model: Transformer, dtype: torch.dtype):
    model = model.to(dtype)
    tokens = torch.arange(5)[None] % model.config.d_vocab
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(FilePath(folder) / "saved", model, {"any": ["thing", 1.5, None]})
        found = load_checkpoint(FilePath(folder) / "saved")
    assert found.config == model.config
    assert found.metadata == {"any": ["thing", 1.5, None]}
    state, wanted = found.model.state_dict(), model.state_dict()
    assert list(state) == list(wanted)
    assert all(value.dtype == dtype and torch.equal(value, wanted[name]) for name, value in state.items())
    with torch.no_grad():
        assert torch.equal(found.model(tokens), model(tokens))


@examples(50)
@given(configs())
def test_a_config_reads_back_from_its_json_form(config: TransformerConfig):
    assert from_dict(TransformerConfig, to_dict(config)) == config


@examples(50)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_head_reads_back_from_each_of_its_spellings(layer: int, index: int):
    head = Head(layer, index)
    for text in (str(head), str(head).lower(), f"{layer}.{index}", f"a{layer}.h{index}", f" {head} "):
        assert Head.parse(text) == head


@examples(30)
@given(st.sampled_from([role for role in ROLES if role != "none"]), st.integers(1, 10**6))
def test_an_expectation_reads_back_as_it_is_written(role: str, count: int):
    assert Expectation.parse(f"{role}:{count}") == Expectation(role, count)
    assert Expectation.parse(role) == Expectation(role, 1)


@examples(30)
@given(
    st.builds(
        Graph,
        st.integers(1, 3),
        st.integers(1, 4),
        st.booleans(),
        st.sampled_from(["standard", "shortformer", None]),
    )
)
def test_every_edge_of_a_graph_reads_back_from_its_text_and_is_found(graph: Graph):
    assert len(set(map(str, graph.edges))) == len(graph.edges)
    for place, edge in enumerate(graph.edges):
        assert Edge.parse(str(edge)) == edge
        assert graph.find(str(edge)) == place


@examples(30)
@given(*[st.integers(0, 30)] * 4, st.sampled_from("QKV"))
def test_every_spelling_of_an_edge_is_the_same_edge(layer: int, index: int, later: int, other: int, channel: str):
    edge = Edge(str(Head(layer, index)), f"{Head(later, other)}.{channel}")
    for text in (
        f"L{layer}H{index}->L{later}H{other}.{channel}",
        f"L{layer}H{index} → L{later}H{other} {channel}",
        f"{layer}.{index} -> {later}.{other}.{channel}",
        f"a{layer}.h{index}->a{later}.h{other}.{channel.lower()}",
    ):
        assert Edge.parse(text) == edge
    assert Edge.parse("position->logits") == Edge("position", "logits")


@examples(15)
@given(cases())
def test_every_hook_name_that_is_recorded_finds_its_own_point_and_no_other(case: Case):
    model, tokens = case
    for name, value in record(model, tokens).items():
        (targets,) = find_targets(model, name).values()
        assert [target.name for target in targets] == [name]
        alone = record(model, tokens, names=name)
        assert list(alone) == [name]
        assert torch.allclose(alone[name], value, rtol=1e-12, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("text", ["", "L1", "H1", "1.", "L-1H0", "1.3.4", "a1h3", "L1H3 L1H4", "٣.٤", "L1H3\nx"])
def test_what_names_no_head_is_refused(text: str):
    with pytest.raises(ValueError, match="no head is called"):
        Head.parse(text)
