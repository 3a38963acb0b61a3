"""Whatever the model: removing or patching nothing changes nothing, and patching everything gives the other run."""

import dataclasses
from copy import deepcopy

import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from interp import intervene, record
from interp.ablation import head_effects, removal
from interp.edges import graph_of
from interp.hooks import ablate
from interp.names import Head, z_name
from interp.patching import PatchMap, activation_patches, kl_from, patch_paths
from interp.weights import weights_of
from tests.drawn import cases, configs, examples, scored_in, seeded, tokens_of
from toy_models.config import TransformerConfig
from toy_models.transformer import Transformer

Case = tuple[Transformer, Tensor]
POINTS = ("hook_resid_pre", "hook_resid_post", "hook_attn_out", "attn.hook_z", "attn.hook_pattern", "attn.hook_v")


@torch.no_grad()
def logits_of(model: Transformer, tokens: Tensor) -> Tensor:
    return model(tokens)


def without_head(model: Transformer, head: Head) -> Transformer:
    """The same model with one head's W_O at zero: it writes nothing, b_O stays."""
    copy = deepcopy(model)
    with torch.no_grad():
        copy.blocks[head.layer].attn.W_O[head.index] = 0
    return copy


@examples(12)
@given(cases())
def test_replacing_every_value_by_itself_leaves_the_logits_to_the_last_bit(case: Case):
    model, tokens = case
    with torch.no_grad():
        run = record(model, tokens)
    watched = {name: (lambda value: value) for name in run}
    with torch.no_grad(), intervene(model, watched):
        assert torch.equal(model(tokens), run.output)
    same = {name: run[name] for name in run}
    with torch.no_grad(), intervene(model, same):
        assert torch.equal(model(tokens), run.output)


@examples(25)
@given(cases())
def test_removing_no_head_has_no_edits_and_removing_a_head_that_writes_nothing_changes_nothing(case: Case):
    model, tokens = case
    assert removal(model, tokens, "mean").edits([]) == {}
    silent = without_head(model, Head(0, 0))
    before = logits_of(silent, tokens)
    for to in ("zero", "mean"):
        with torch.no_grad(), intervene(silent, removal(silent, tokens, to).edits([Head(0, 0)])):
            assert torch.equal(silent(tokens), before)


@examples(25)
@given(cases())
def test_all_heads_ablated_by_zero_give_the_logits_of_the_model_whose_heads_write_nothing(case: Case):
    model, tokens = case
    silent = model
    for layer in range(model.config.n_layers):
        for index in range(model.config.n_heads):
            silent = without_head(silent, Head(layer, index))
    every = {z_name(layer): ablate(range(model.config.n_heads)) for layer in range(model.config.n_layers)}
    with torch.no_grad(), intervene(model, every):
        found = model(tokens)
    assert torch.equal(found, logits_of(silent, tokens))
    if not model.config.d_mlp and not model.config.biases and model.config.normalization == "none":
        w = weights_of(model)
        start = w.W_E[tokens] + (0 if w.W_pos is None else w.W_pos[: tokens.shape[1]])
        assert torch.allclose(found, start @ w.W_U, rtol=1e-12, atol=1e-12)


@examples(25)
@given(cases(), st.data())
def test_the_effect_of_removing_a_head_is_that_of_the_model_without_it(case: Case, data: st.DataObject):
    model, tokens = case
    head = Head(
        data.draw(st.integers(0, model.config.n_layers - 1)), data.draw(st.integers(0, model.config.n_heads - 1))
    )
    effects = head_effects(model, tokens, scored_in(tokens), seeded(), to="zero")

    def loss(of: Transformer) -> Tensor:
        log_probs = logits_of(of, tokens)[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
        return -log_probs[:, ::2].mean(1)  # the tokens at 1, 3, 5 ...

    wanted = loss(without_head(model, head)) - loss(model)
    assert torch.allclose(effects.loss.samples[:, head.layer, head.index], wanted, rtol=1e-9, atol=1e-9)


@examples(25)
@given(cases(), st.data())
def test_patching_a_whole_point_of_the_residual_stream_gives_the_other_run(case: Case, data: st.DataObject):
    model, tokens = case
    other = data.draw(tokens_of(model, len(tokens), tokens.shape[1]))
    points = ("blocks.0.hook_resid_pre", f"blocks.{model.config.n_layers - 1}.hook_resid_post")
    theirs = record(model, other, names=points)
    for point in points:  # shortformer positions reach the heads by another way, but are the same in both runs
        with torch.no_grad(), intervene(model, {point: theirs[point]}):
            assert torch.equal(model(tokens), theirs.output)


@examples(12)
@given(cases(), st.data())
def test_patching_every_path_gives_the_other_run_and_none_or_its_own_the_same_run(case: Case, data: st.DataObject):
    model, tokens = case
    other = data.draw(tokens_of(model, len(tokens), tokens.shape[1]))
    edges = graph_of(weights_of(model, fold=False)).edges
    mine, theirs = logits_of(model, tokens), logits_of(model, other)
    size = max(1.0, float(mine.abs().max()), float(theirs.abs().max()))
    assert (patch_paths(model, tokens, other, edges) - theirs).abs().max() < 1e-8 * size
    assert (patch_paths(model, tokens, tokens, edges) - mine).abs().max() < 1e-8 * size
    assert torch.equal(patch_paths(model, tokens, other, []), mine)


@examples(12)
@given(cases(), st.data())
def test_activations_patched_from_the_same_run_have_no_effect_and_from_another_all_of_it(
    case: Case, data: st.DataObject
):
    model, tokens = case
    other = data.draw(tokens_of(model, len(tokens), tokens.shape[1]))
    point = f"blocks.0.{data.draw(st.sampled_from(POINTS))}"
    metric = kl_from(logits_of(model, other.flip(0)))

    def effect(clean: Tensor, name: str) -> PatchMap:
        # noising with other == base: what is put in is what was there
        return activation_patches(model, tokens, clean, metric, seeded(), names=name, direction="noising")

    # A watched pattern is computed step by step, else by the fused kernel: the two differ by rounding.
    rounding = 1e-10 if point.endswith("pattern") else 0.0
    assert effect(tokens, point).effect.samples.abs().max() <= rounding
    assume(float((metric(logits_of(model, other)) - metric(logits_of(model, tokens))).abs().max()) > 1e-6)
    whole = effect(other, "blocks.0.hook_resid_pre")
    gap = metric(logits_of(model, other)) - metric(logits_of(model, tokens))
    assert torch.allclose(whole.effect.samples[:, 0], gap, rtol=1e-9, atol=1e-9)


@examples(15)
@given(cases(smeared_keys=False))
def test_patterns_that_are_held_keep_their_values_when_heads_are_removed(case: Case):
    model, tokens = case
    how = removal(model, tokens, "zero", hold_patterns=True)
    before = record(model, tokens, names="blocks.*.attn.hook_pattern")
    everything = [Head(layer, 0) for layer in range(model.config.n_layers)]
    with intervene(model, how.edits(everything)):
        after = record(model, tokens, names="blocks.*.attn.hook_pattern")
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_the_drawn_models_cover_every_option():
    """Were a strategy to stop drawing some option, the properties above would hold of less than they say."""
    seen: dict[str, set[object]] = {}

    @examples(100)
    @given(configs())
    def collect(config: TransformerConfig) -> None:
        for name, value in dataclasses.asdict(config).items():
            seen.setdefault(name, set()).add(value)

    collect()
    assert seen["positions"] == {"standard", "shortformer", "rotary", "none"}
    assert seen["normalization"] == {"none", "LN", "LNPre", "RMS", "RMSPre"}
    assert seen["n_layers"] == {1, 2, 3}
    assert seen["n_heads"] == {1, 2, 3, 4}
    assert seen["d_mlp"] == {0, 3}
    for name in ("smeared_keys", "biases", "tied_embeddings", "learned_positions"):
        assert seen[name] == {True, False}
