import dataclasses
from typing import Any, get_args

import pytest
import torch

from interp.errors import InputError
from interp.hooks import record
from interp.paths import freeze, logit_paths_of, score_paths_of
from tests.frozen_twin import Twin
from tests.reference_transformer import random_model, random_tokens
from toy_models.bridge import to_bridge
from toy_models.config import Normalization, Positions, TransformerConfig

SMALL = TransformerConfig(
    n_layers=2, n_heads=2, d_model=8, d_head=4, d_vocab=11, n_ctx=9, positions="standard", normalization="LN", d_mlp=5
)


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "positions, normalization", [*zip(get_args(Positions) * 2, get_args(Normalization) * 2, strict=False)]
)
def test_what_is_held_is_what_the_model_computes(positions: Positions, normalization: Normalization):
    config = dataclasses.replace(SMALL, positions=positions, normalization=normalization, smeared_keys=True)
    model, tokens = random_model(config), random_tokens(config)
    run, slow = freeze(model, tokens, scores=True), Twin(model, tokens)
    for layer in range(2):
        assert_same(run.patterns[layer], torch.stack(slow.patterns[layer], dim=1))
        assert_same(run.scores[layer].softmax(-1), run.patterns[layer])
        assert_same(run.scales[layer], slow.scales[layer][..., 0])
        centred = "LN" in normalization
        out = slow.mlp_outs[layer]
        assert_same(run.mlp_outs[layer], out - out.mean(-1, keepdim=True) if centred else out)
    assert_same(run.final_scale, slow.final_scale[..., 0])
    assert_same(run.logits, model(tokens).detach())
    assert freeze(model, tokens).scores == ()


def test_what_others_wrote_and_what_heads_wrote_make_the_residual_stream():
    model, tokens = random_model(SMALL), random_tokens(SMALL)
    run = freeze(model, tokens)
    points = ["blocks.0.hook_resid_pre", "blocks.1.hook_resid_pre", "blocks.1.hook_resid_post"]
    seen = record(model, tokens, names=[*points, "blocks.*.attn.hook_z"])
    for end, (layer, point) in enumerate(zip((0, 1, None), points, strict=True)):
        written = run.written_before(layer)
        assert set(written) == {"token", "position", *["bias"][:end], *(f"L{i} MLP" for i in range(end))}
        heads = [torch.einsum("bphd,hdm->bpm", seen[f"blocks.{i}.attn.hook_z"], run.weights.W_O[i]) for i in range(end)]
        residual = seen[point] - seen[point].mean(-1, keepdim=True)  # the heads' part is that of the model's own run
        assert_same(sum(written.values()) + sum(heads), residual)
        if end:
            assert_same(written["bias"], run.weights.b_O[:end].sum(0).expand_as(residual))


def test_some_sequences_of_a_run_are_the_run_of_these_sequences():
    model, tokens = random_model(SMALL), random_tokens(SMALL, batch=4)
    part, alone = freeze(model, tokens, scores=True).select(slice(1, 3)), freeze(model, tokens[1:3], scores=True)
    for name in ("tokens", "final_scale", "logits"):
        assert_same(getattr(part, name), getattr(alone, name))
    for name in ("patterns", "scores", "scales", "mlp_outs"):
        for here, there in zip(getattr(part, name), getattr(alone, name), strict=True):
            assert_same(here, there)


BRIDGES: list[tuple[dict[str, Any], torch.dtype, float]] = [
    ({}, torch.float64, 1e-9),
    ({}, torch.float32, 1e-4),
    ({"positions": "rotary", "normalization": "RMSPre", "d_mlp": 0}, torch.float64, 1e-9),
    ({"normalization": "RMS"}, torch.float64, 1e-6),  # TransformerLens computes this one in float32
]


@pytest.mark.parametrize("options, dtype, tolerance", BRIDGES)
def test_terms_of_a_transformer_lens_model_add_up_and_are_those_of_ours(options, dtype, tolerance):
    config = dataclasses.replace(SMALL, **options)
    model, tokens = random_model(config).to(dtype), random_tokens(config)
    bridge = to_bridge(model)
    logits = bridge(tokens).detach()
    run, ours = (freeze(each, tokens, scores=True) for each in (bridge, model))
    paths, twins = (logit_paths_of(each, torch.full_like(tokens, 3)) for each in (run, ours))
    largest = float(logits.abs().max())
    assert float((paths.logit.sum(0) - logits[..., 3]).abs().max()) <= tolerance * largest
    assert paths.paths == twins.paths
    torch.testing.assert_close(paths.relative, twins.relative, rtol=0, atol=max(tolerance, 1e-6) * largest)
    found, same = score_paths_of(run, (1, 1)), score_paths_of(ours, (1, 1))
    angles_in_float32 = config.positions == "rotary"
    assert found.error <= (1e-6 if angles_in_float32 else tolerance)
    torch.testing.assert_close(found.queries, same.queries, rtol=0, atol=max(tolerance, 1e-5) * largest)
    torch.testing.assert_close(found.keys, same.keys, rtol=0, atol=max(tolerance, 1e-5) * largest)


def test_a_run_in_float32_stays_in_float32():
    run = freeze(random_model(SMALL).float(), random_tokens(SMALL), scores=True)
    kept = [run.final_scale, run.logits, *run.patterns, *run.scores, *run.scales, *run.mlp_outs]
    assert {tensor.dtype for tensor in kept} == {torch.float32}
    assert not any(tensor.requires_grad for tensor in kept)


TOKENS: list[tuple[Any, str]] = [
    (torch.zeros(0, 4, dtype=torch.int64), r"at least one of each, got \[0, 4\]"),
    (torch.zeros(2, 0, dtype=torch.int64), r"got \[2, 0\]"),
    (torch.zeros(4, dtype=torch.int64), r"tokens must be \[batch pos\]"),
    (torch.full((2, 4), 11), r"token 11 is outside the vocabulary 0\.\.10"),
    (torch.full((2, 4), -1), r"token -1 is outside"),
    (torch.zeros(2, 10, dtype=torch.int64), "sequences of 10 tokens do not fit the model's context of 9"),
]


@pytest.mark.parametrize("tokens, message", TOKENS)
def test_tokens_that_the_model_cannot_read_are_refused_before_it_runs(tokens, message, monkeypatch):
    monkeypatch.setattr("interp.paths.frozen.record", lambda *_, **__: pytest.fail("the model ran"))
    with pytest.raises(InputError, match=message):
        freeze(random_model(SMALL), tokens)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name_before_the_model_runs(value, monkeypatch):
    model = random_model(SMALL)
    with torch.no_grad():
        model.blocks[1].attn.W_O[0, 0, 0] = value
    monkeypatch.setattr("interp.paths.frozen.record", lambda *_, **__: pytest.fail("the model ran"))
    with pytest.raises(InputError, match=r"blocks.1.attn.W_O has 1 of"):
        freeze(model, random_tokens(SMALL))


def test_models_whose_weights_mean_something_else_are_refused():
    with pytest.raises(InputError, match="got Linear"):
        freeze(torch.nn.Linear(2, 2), random_tokens(SMALL))


def test_results_print_in_one_line(generator):
    model = random_model(TransformerConfig(n_layers=2, n_heads=2, d_model=8, d_head=4, d_vocab=11, n_ctx=9))
    run = freeze(model, torch.randint(11, (2, 7), generator=generator), scores=True)
    scores = score_paths_of(run, "L1H0")
    targets = torch.eye(7, dtype=torch.bool).roll(1, 0).tril().expand(2, -1, -1)
    shown = [repr(each) for each in (run, logit_paths_of(run), scores, scores.contrast(targets))]
    assert all(len(text) < 120 and "tensor" not in text for text in shown)
    assert shown[0] == "FrozenRun(2 layers x 2 heads, tokens [2, 7])"
    assert shown[2].startswith("ScorePaths(L1H0, ")
