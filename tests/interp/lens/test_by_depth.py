import dataclasses
import itertools
import math
from typing import get_args

import pytest
import torch
import torch.nn.functional as F

from interp.errors import InputError
from interp.hooks import intervene, record
from interp.lens import direct_logit_attribution, lens_logits, logit_lens, residual_points
from interp.weights import weights_of
from tests.reference_transformer import random_model, random_tokens
from toy_models.config import Normalization, Positions, TransformerConfig
from toy_models.handmade.catalogue import make

SMALL = TransformerConfig(
    n_layers=2, n_heads=2, d_model=8, d_head=4, d_vocab=11, n_ctx=9, positions="standard", normalization="LN"
)


def bridge(**options):
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    config = TransformerBridgeConfig(d_model=8, d_head=4, n_layers=2, n_ctx=9, n_heads=2, d_vocab=11, **options)
    made = TransformerBridge.boot_native(config, dtype=torch.float64)
    with torch.no_grad():
        for i, parameter in enumerate(made.parameters()):
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(i), dtype=torch.float64)
            parameter += 0.3 * noise
    return made.eval()


@pytest.mark.parametrize("normalization", get_args(Normalization))
@pytest.mark.parametrize("positions", get_args(Positions))
def test_attribution_adds_up_to_the_logit_of_every_token(positions: Positions, normalization: Normalization):
    for mlp, biases in itertools.product((0, 5), (False, True)):
        config = dataclasses.replace(
            SMALL,
            positions=positions,
            normalization=normalization,
            d_mlp=mlp,
            biases=biases,
            tied_embeddings=not biases,
        )
        model, tokens = random_model(config), random_tokens(config)
        logits = model(tokens).detach()
        for target in (0, 4, 10):
            parts = direct_logit_attribution(model, tokens, torch.full_like(tokens, target))
            largest = float(logits.abs().max())
            assert float((parts.logit.sum(0) - logits[..., target]).abs().max()) <= 1e-9 * largest
            relative = logits[..., target] - logits.mean(-1)
            assert float((parts.relative.sum(0) - relative).abs().max()) <= 1e-9 * largest
            assert parts.error <= 1e-9 * largest


def test_each_part_is_what_taking_it_away_takes_from_the_logit_with_the_scale_held():
    model, tokens = random_model(dataclasses.replace(SMALL, d_mlp=5)), random_tokens(SMALL)
    parts = direct_logit_attribution(model, tokens)
    assert parts.components == (
        "embed", "pos_embed", "L0H0", "L0H1", "L0 bias", "L0 MLP", "L1H0", "L1H1", "L1 bias", "L1 MLP", "final bias",
    )  # fmt: skip
    run = record(model, tokens, names=["blocks.1.attn.hook_z", "blocks.1.hook_resid_post", "ln_final.hook_scale"])
    assert torch.allclose(parts.scale, run["ln_final.hook_scale"][:, :-1, 0])
    written = run["blocks.1.attn.hook_z"][:, :, 1] @ model.blocks[1].attn.W_O[1]
    w = weights_of(model, fold=False)
    assert w.ln_final_w is not None
    x = (written - written.mean(-1, keepdim=True)) / run["ln_final.hook_scale"] * w.ln_final_w
    expected = (x @ w.W_U)[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]
    assert torch.allclose(parts.logit[parts.components.index("L1H1")], expected, atol=1e-10)


def test_a_model_without_layers_is_its_embeddings_and_biases():
    config = dataclasses.replace(SMALL, n_layers=0)
    model, tokens = random_model(config), random_tokens(config)
    parts = direct_logit_attribution(model, tokens)
    assert parts.components == ("embed", "pos_embed", "final bias")
    logits = model(tokens).detach()[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]
    assert torch.allclose(parts.logit.sum(0), logits, atol=1e-10)


@pytest.mark.parametrize(
    "options",
    [
        {"attn_only": True, "normalization_type": "LN"},
        {"attn_only": False, "normalization_type": "LN", "d_mlp": 6, "act_fn": "gelu"},
        {"attn_only": True, "normalization_type": None, "positional_embedding_type": "rotary"},
    ],
)
def test_attribution_of_a_bridge_adds_up_to_its_logits(options):
    model, tokens = bridge(**options), random_tokens(SMALL)
    parts = direct_logit_attribution(model, tokens)
    logits = model(tokens).detach()[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]
    assert float((parts.logit.sum(0) - logits).abs().max()) <= 1e-9 * float(logits.abs().max())


def test_the_handmade_copying_head_makes_the_whole_prediction(generator):
    handmade = make("induction_k")
    parts = direct_logit_attribution(handmade.model, handmade.example_tokens)
    means = parts.mean(generator, handmade.repeated[:, :-1])
    (head,) = handmade.truth.heads("induction")
    index = parts.components.index(f"L{head[0]}H{head[1]}")
    # The next token's logit is the gain, 12, and all others are 0.
    assert float(means.mean[index]) == pytest.approx(12 * 15 / 16, abs=1e-6)
    others = [i for i in range(len(parts.components)) if i != index]
    assert float(means.mean[others].abs().max()) <= 1e-9
    assert float(means.low[index]) <= float(means.mean[index]) <= float(means.high[index])


def test_attribution_means_count_scored_positions_only(generator):
    model, tokens = random_model(SMALL), random_tokens(SMALL, batch=3)
    parts = direct_logit_attribution(model, tokens)
    scored = torch.zeros_like(parts.targets, dtype=torch.bool)
    scored[0, 2] = scored[1, 3] = scored[1, 5] = True
    expected = torch.stack([parts.relative[:, 0, 2], parts.relative[:, 1, [3, 5]].mean(1)]).mean(0)
    assert torch.allclose(parts.mean(generator, scored).mean, expected)
    assert parts.mean(generator, scored).n == 2
    with pytest.raises(InputError, match="2 sequences"):
        parts.mean(generator, scored & (torch.arange(3)[:, None] == 0))
    with pytest.raises(InputError, match="targets' shape"):
        parts.mean(generator, scored[:, 1:])


def test_targets_that_cannot_be_are_refused():
    model, tokens = random_model(SMALL), random_tokens(SMALL)
    for targets, message in (
        (tokens + 20, "outside the vocabulary"),
        (tokens - 12, "target -.* outside the vocabulary"),
        (tokens[:1], "targets must be"),
        (torch.cat([tokens, tokens], dim=1), "targets must be"),
    ):
        with pytest.raises(InputError, match=message):
            direct_logit_attribution(model, tokens, targets)
    with pytest.raises(InputError, match="at least 2 tokens"):
        direct_logit_attribution(model, tokens[:, :1])


@pytest.mark.parametrize("normalization", get_args(Normalization))
def test_the_lens_at_the_last_point_is_the_model(normalization: Normalization, generator):
    model = random_model(dataclasses.replace(SMALL, normalization=normalization, d_mlp=5))
    tokens = random_tokens(SMALL, batch=5)
    lens = logit_lens(model, tokens, generator)
    log_p = model(tokens).detach().log_softmax(-1)[:, :-1]
    losses = F.nll_loss(log_p.transpose(1, 2), tokens[:, 1:], reduction="none").mean(1)
    assert lens.points[-1] == "blocks.1.hook_resid_post"
    assert float(lens.loss.mean[-1]) == pytest.approx(float(losses.mean()), abs=1e-10)
    assert float(lens.kl.mean[-1]) == pytest.approx(0, abs=1e-10)
    rank = (log_p > log_p.gather(-1, tokens[:, 1:, None])).sum(-1).double().mean()
    assert float(lens.rank.mean[-1]) == pytest.approx(float(rank))
    probability = log_p.gather(-1, tokens[:, 1:, None]).exp().mean()
    assert float(lens.probability.mean[-1]) == pytest.approx(float(probability))


def test_the_lens_in_the_middle_reads_the_residual_stream_through_the_final_norm(generator):
    model, tokens = random_model(SMALL), random_tokens(SMALL, batch=4)
    lens = logit_lens(model, tokens, generator, points=("blocks.0.hook_resid_post",))
    residual = record(model, tokens, names=["blocks.0.hook_resid_post"])["blocks.0.hook_resid_post"]
    logits = model.unembed(model.ln_final(residual), model.embed.W_E).detach()
    assert torch.allclose(lens_logits(weights_of(model, fold=False), residual), logits, atol=1e-12)
    q, p = logits.log_softmax(-1)[:, :-1], model(tokens).detach().log_softmax(-1)[:, :-1]
    assert float(lens.kl.mean) == pytest.approx(float(F.kl_div(q, p, log_target=True, reduction="sum")) / (4 * 6))
    shuffled = -q.gather(-1, tokens[:, 1:, None].roll(1, dims=0)).mean()
    assert float(lens.shuffled_loss.mean) == pytest.approx(float(shuffled))
    assert lens.uniform_loss == pytest.approx(math.log(11))
    entropy = -(p.exp() * p).sum(-1).mean()
    assert float(lens.uniform_kl.mean) == pytest.approx(math.log(11) - float(entropy))
    assert float(lens.kl.low) <= float(lens.kl.mean) <= float(lens.kl.high)


def test_ablating_the_last_layer_changes_the_model_but_not_the_lens_before_it(generator):
    model, tokens = random_model(SMALL), random_tokens(SMALL, batch=4)
    before = logit_lens(model, tokens, generator)
    with intervene(model, {"blocks.1.hook_attn_out": torch.zeros_like}):
        after = logit_lens(model, tokens, generator)
    assert torch.equal(before.loss.mean[:-1], after.loss.mean[:-1])
    assert float((before.loss.mean[-1] - after.loss.mean[-1]).abs()) > 1e-3
    assert float(after.loss.mean[-1]) == pytest.approx(float(after.loss.mean[-2]))


def test_points_are_every_value_of_the_residual_stream_once():
    cases: list[tuple[Positions, int, list[str]]] = [
        ("standard", 0, ["hook_embed", "blocks.0.hook_resid_pre", "blocks.0.hook_resid_post"]),
        ("rotary", 0, ["hook_embed", "blocks.0.hook_resid_post"]),
        ("none", 5, ["hook_embed", "blocks.0.hook_resid_mid", "blocks.0.hook_resid_post"]),
    ]
    for positions, mlp, expected in cases:
        config = dataclasses.replace(SMALL, n_layers=1, positions=positions, d_mlp=mlp)
        assert list(residual_points(weights_of(random_model(config)))) == expected


def test_only_scored_positions_count(generator):
    model, tokens = random_model(SMALL), random_tokens(SMALL, batch=3)
    scored = torch.zeros_like(tokens, dtype=torch.bool)
    scored[0, 3] = scored[2, 1] = scored[2, 6] = True
    scored[1, 0] = True  # nothing predicts the first token
    lens = logit_lens(model, tokens, generator, scored)
    log_p = model(tokens).detach().log_softmax(-1)
    losses = [-float(log_p[b, i - 1, tokens[b, i]]) for b, i in ((0, 3), (2, 1), (2, 6))]
    assert float(lens.loss.mean[-1]) == pytest.approx((losses[0] + (losses[1] + losses[2]) / 2) / 2)
    assert lens.loss.n == 2
    with pytest.raises(InputError, match="at least 2 sequences with a scored position, got 1"):
        logit_lens(model, tokens[:2], generator, scored[:2])
    with pytest.raises(InputError, match="tokens' shape"):
        logit_lens(model, tokens, generator, scored[:, 1:])


def test_the_handmade_model_knows_its_answer_only_at_the_end(generator):
    handmade = make("induction_k")
    lens = logit_lens(handmade.model, handmade.example_tokens, generator, handmade.repeated.roll(1, dims=1))
    loss = dict(zip(lens.points, lens.loss.mean.tolist(), strict=True))
    assert loss["hook_embed"] == pytest.approx(math.log(16))
    assert loss["blocks.0.hook_resid_post"] == pytest.approx(math.log(16))
    assert loss["blocks.1.hook_resid_post"] < 1e-3


def test_the_lens_works_on_a_bridge(generator):
    model, tokens = bridge(attn_only=False, normalization_type="LN", d_mlp=6), random_tokens(SMALL, batch=3)
    lens = logit_lens(model, tokens, generator)
    assert lens.points[1:3] == ("blocks.0.hook_resid_pre", "blocks.0.hook_resid_mid")
    assert float(lens.kl.mean[-1]) == pytest.approx(0, abs=1e-9)
    assert float(lens.kl.mean[0]) > 1e-3
    written = lens.to_dict()
    assert written["points"][0] == "hook_embed"
    assert written["loss"]["mean"] == lens.loss.mean.tolist()


def test_chance_is_every_token_alike_and_a_random_order(generator):
    model = make("induction_k").model
    tokens = torch.randint(1, 16, (3, 6), generator=generator)
    found = logit_lens(model, tokens, generator)
    assert found.uniform_probability == pytest.approx(1 / 16)
    assert found.uniform_rank == pytest.approx(15 / 2)
    assert found.to_dict()["uniform_rank"] == found.uniform_rank
