"""Whatever the model: nothing mutates what it gets, hooks are gone whatever happens, random state stays as it was."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from interp import intervene, record
from interp.ablation import head_effects, interactions, pairs_within, removal, set_effect
from interp.circuits import copying_score, top_entries
from interp.circuits.tables import full_ov
from interp.edges import eap, edge_problem
from interp.heads import score_heads
from interp.lens import direct_logit_attribution, logit_lens
from interp.names import Head, z_name
from interp.patching import activation_patches, attribution_patches, logit_difference
from interp.paths import freeze, logit_paths_of
from interp.weights import TransformerWeights, weights_of
from interp.weights.folding import fold
from tests.drawn import cases, examples, models, scored_in, seeded
from toy_models.transformer import Transformer

Case = tuple[Transformer, Tensor]


def hooks_on(model: nn.Module) -> list[str]:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [name for name, module in model.named_modules() for kind in kinds if getattr(module, kind)]


def watched_in(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if getattr(module, "watched", False)]


def metric_of(tokens: Tensor, d_vocab: int) -> Any:
    right = tokens[:, -1]
    return logit_difference(right, (right + 1) % d_vocab, tokens.shape[1] - 2)


def problem_of(model: Transformer, tokens: Tensor) -> Any:
    return edge_problem(weights_of(model, fold=False), tokens, scored_in(tokens), corrupted=tokens.flip(1))


MEASURES: dict[str, Callable[[Transformer, Tensor], object]] = {
    "record": lambda m, t: record(m, t),
    "record with gradients": lambda m, t: record(m, t, grad=True, dtype=torch.float32, positions=[0]),
    "score_heads": lambda m, t: score_heads(m, t, seeded(), ["previous_token", "first_token"]),
    "head_effects by mean": lambda m, t: head_effects(m, t, scored_in(t), seeded()),
    "head_effects by resample": lambda m, t: head_effects(m, t, scored_in(t), seeded(), to="resample"),
    "set_effect": lambda m, t: set_effect(m, [Head(0, 0)], t, scored_in(t), seeded(), to="zero"),
    "logit paths": lambda m, t: logit_paths_of(freeze(m, t, scores=True)),
    "attribution": lambda m, t: direct_logit_attribution(m, t),
    "logit_lens": lambda m, t: logit_lens(m, t, seeded()),
    "activation_patches": lambda m, t: activation_patches(
        m, t, t.flip(1), metric_of(t, m.config.d_vocab), seeded(), names="blocks.0.attn.hook_z", control=False
    ),
    "attribution_patches": lambda m, t: attribution_patches(
        m, t, t.flip(1), metric_of(t, m.config.d_vocab), seeded(), names="blocks.0.attn.hook_z", by=("head",)
    ),
    "eap": lambda m, t: eap(problem_of(m, t)),
}


@pytest.mark.parametrize("name", MEASURES)
def test_a_measurement_leaves_model_tokens_hooks_mode_gradients_and_random_state_alone(name: str):
    @examples(5)
    @given(cases(batch=3))
    def holds(case: Case) -> None:
        model, tokens = case
        state, given_tokens = deepcopy(model.state_dict()), tokens.clone()
        torch.manual_seed(3)
        before = torch.get_rng_state()
        MEASURES[name](model, tokens)
        assert torch.equal(torch.get_rng_state(), before)
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
        assert torch.equal(tokens, given_tokens)
        assert not hooks_on(model)
        assert not watched_in(model)
        assert not model.training
        assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
        assert torch.is_grad_enabled()

    holds()


@examples(15)
@given(models())
def test_weights_are_copies_that_no_circuit_writes_to(model: Transformer):
    w = weights_of(model, fold=False)
    kept = {name: tensor.clone() for name, tensor in w.tensors().items()}
    folded = fold(w)
    copying_score(folded, seeded())
    top_entries(full_ov(folded, (0, 0)), k=3)
    assert all(torch.equal(value, kept[name]) for name, value in w.tensors().items())
    for view in (w, folded):
        for tensor in view.tensors().values():
            tensor.add_(1)
    again: TransformerWeights = weights_of(model, fold=False)
    assert all(torch.equal(value, kept[name]) for name, value in again.tensors().items())


@examples(15)
@given(cases(), st.integers(0, 2))
def test_recorded_values_are_not_written_to_by_later_runs_and_edits_get_copies(case: Case, scale: int):
    model, tokens = case
    run = record(model, tokens)
    kept = {name: value.clone() for name, value in run.items()}
    with torch.no_grad(), intervene(model, {name: lambda value: value.mul_(scale) for name in run}):
        model(tokens)
    record(model, tokens.flip(0))
    assert all(torch.equal(run[name], value) for name, value in kept.items())


@examples(15)
@given(cases(), st.sampled_from([ValueError, KeyboardInterrupt, SystemExit]), st.data())
def test_hooks_are_gone_after_any_exception_in_nested_interventions(
    case: Case, kind: type[BaseException], data: st.DataObject
):
    model, tokens = case
    run = record(model, tokens)
    names = list(run)
    where = data.draw(st.sampled_from(names))

    def fail(value: Tensor) -> Tensor:
        raise kind("stop")

    with (
        pytest.raises(kind, match="stop"),
        intervene(model, {name: lambda value: 2 * value for name in names[:2]}),
        intervene(model, {where: fail}),
    ):
        record(model, tokens)
    assert not hooks_on(model)
    assert not watched_in(model)
    with pytest.raises(kind, match="stop"):
        record(model, tokens, names=where, reduce=fail)
    assert not hooks_on(model)
    assert not watched_in(model)
    again = record(model, tokens)
    assert all(torch.equal(again[name], run[name]) for name in names)
    assert torch.equal(again.output, run.output)


@examples(10)
@given(cases(batch=3))
def test_interactions_and_removals_leave_the_values_they_hold_alone(case: Case):
    model, tokens = case
    how = removal(model, tokens, "mean", hold_patterns=True)
    kept = [value.clone() for value in [*how.instead.values(), *how.held.values()]]
    heads = [Head(0, index) for index in range(model.config.n_heads)]
    with torch.no_grad(), intervene(model, {z_name(0): how.edits(heads)[z_name(0)]}):
        model(tokens)
    with torch.no_grad(), intervene(model, how.edits(heads)):
        model(tokens)
    now = [*how.instead.values(), *how.held.values()]
    assert all(torch.equal(value, before) for value, before in zip(now, kept, strict=True))
    if len(heads) > 1:
        interactions(model, pairs_within(0, model.config.n_heads), tokens, scored_in(tokens), seeded())
    assert not hooks_on(model)
