"""The part of normalisation: exact where it is affine, in closed form where it is not, and two ways that agree."""

import dataclasses

import pytest
import torch

from interp.errors import InputError
from interp.hooks import intervene, record
from interp.lens import lens_logits
from interp.norms import (
    Read,
    affine_error,
    direct_effects,
    folding_account,
    held_scales,
    normalised,
    read_scales,
    reads_of,
    removed_effects,
)
from interp.weights import weights_of
from tests.reference_transformer import random_model, random_tokens
from toy_models.config import TransformerConfig

SMALL = TransformerConfig(
    n_layers=2, n_heads=2, d_model=8, d_head=4, d_vocab=11, n_ctx=9, normalization="LN", norm_eps=1e-12, d_mlp=5
)
KINDS = ("LN", "LNPre", "RMS", "RMSPre")


def of_kind(normalization, **options):
    return random_model(dataclasses.replace(SMALL, normalization=normalization, **options))


def vectors(generator, n=20, d=8):
    return torch.randn(n, d, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("normalization", KINDS)
@pytest.mark.parametrize("read", reads_of(weights_of(random_model(SMALL))), ids=str)
def test_with_the_scale_held_a_read_is_affine_and_with_it_free_it_is_not(generator, normalization, read):
    w = weights_of(of_kind(normalization), fold=False)
    x, y = vectors(generator), vectors(generator)
    scale = torch.rand(20, generator=generator, dtype=torch.float64) + 0.5
    assert affine_error(lambda v: normalised(w, read, v, scale), x, y) < 1e-14
    assert affine_error(lambda v: normalised(w, read, v), x, y) > 0.1


@pytest.mark.parametrize("normalization", KINDS)
def test_a_held_read_is_linear_but_for_the_bias_of_ln(generator, normalization):
    w, read = weights_of(of_kind(normalization), fold=False), Read(1, "attention")
    scale, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, 8, dtype=torch.float64)
    at_zero = normalised(w, read, zero, scale)[0]
    expected = w.ln1_b[1] if normalization == "LN" else zero[0]
    torch.testing.assert_close(at_zero, expected, rtol=0, atol=0)


def test_reads_are_what_the_model_makes_of_its_stream_with_scales_as_its_own_hooks_say(generator):
    model, tokens = of_kind("LN"), random_tokens(SMALL)
    w, scales = weights_of(model, fold=False), read_scales(model, tokens, generator)
    run = record(model, tokens, names=["blocks.*.ln*.hook_scale", "ln_final.hook_scale", "blocks.1.hook_resid_post"])
    assert [str(read) for read in scales.reads] == ["L0 attention", "L0 MLP", "L1 attention", "L1 MLP", "unembedding"]
    for read, values in zip(scales.reads, scales.values, strict=True):
        torch.testing.assert_close(values, run[read.scale_name][..., 0])
    logits = normalised(w, Read(None, "unembedding"), run["blocks.1.hook_resid_post"]) @ w.W_U + w.b_U
    torch.testing.assert_close(logits, model(tokens).detach())


@pytest.mark.parametrize("normalization", ["LNPre", "RMS"])
def test_what_one_scale_misses_is_the_squared_error_of_the_best_single_scale(generator, normalization):
    model, tokens = of_kind(normalization), random_tokens(SMALL)
    scales = read_scales(model, tokens, generator)
    x = record(model, tokens, names="blocks.1.hook_resid_post")["blocks.1.hook_resid_post"]
    x = x - x.mean(-1, keepdim=True) if normalization == "LNPre" else x
    given = x / scales.values[-1][..., None]
    shares = []
    for one, wanted in zip(x, given, strict=True):
        best = torch.linalg.lstsq(one.reshape(-1, 1), wanted.reshape(-1, 1)).solution
        shares.append((wanted.reshape(-1, 1) - one.reshape(-1, 1) @ best).square().sum() / wanted.square().sum())
    assert float(scales.missed.mean[-1]) == pytest.approx(float(torch.stack(shares).mean()), rel=1e-6)
    assert float(scales.missed.mean[-1]) > 0.001


def test_the_folding_account_says_what_centring_takes_out_and_how_far_gains_are_from_one():
    w = weights_of(of_kind("LN"), fold=False)
    even = torch.ones_like(w.W_E) * torch.arange(11.0, dtype=torch.float64)[:, None]
    account = folding_account(dataclasses.replace(w, W_E=even, W_O=w.W_O - w.W_O.mean(-1, keepdim=True)))
    assert account.centred["W_E"] == pytest.approx(1)
    assert account.centred["W_O"] == pytest.approx(0, abs=1e-30)
    folded = weights_of(of_kind("LN"))
    kept = float(folded.W_pos.square().sum() / w.W_pos.square().sum())
    assert account.centred["W_pos"] == pytest.approx(1 - kept)
    assert account.gains["unembedding"] == (float(w.ln_final_w.min()), float(w.ln_final_w.max()))
    assert account.gains["L1 MLP"] == (float(w.ln2_w[1].min()), float(w.ln2_w[1].max()))
    assert (account.chance, account.sentences) == (1 / 8, folded.folded)
    assert folding_account(weights_of(of_kind("RMSPre"), fold=False)).centred == {}


def test_a_random_writer_loses_about_one_over_d_model_to_centring():
    wide = random_model(dataclasses.replace(SMALL, d_model=64, d_vocab=500))
    account = folding_account(weights_of(wide, fold=False))
    assert account.centred["W_E"] == pytest.approx(account.chance, rel=0.1)


@pytest.mark.parametrize("normalization", ["LN", "RMS"])
def test_in_one_layer_what_hooks_remove_is_what_leaves_the_final_stream_scale_held_or_free(generator, normalization):
    model = of_kind(normalization, n_layers=1, d_mlp=0)
    tokens = random_tokens(SMALL, batch=4)
    scored = torch.arange(7).expand(4, -1) > 2
    direct = direct_effects(model, tokens, generator, scored, to="zero")
    hooked = removed_effects(model, tokens, scored, generator, to="zero")
    assert direct.components == ("embed", "pos_embed", "L0H0", "L0H1")
    for name in ("held", "free", "through"):
        torch.testing.assert_close(getattr(direct, name).mean[2:], getattr(hooked, name).mean[0])
    assert float(direct.through.mean.abs().min()) > 1e-4


def test_effects_are_those_of_the_formulas_for_a_head_of_the_first_layer(generator):
    model, tokens = of_kind("LN"), random_tokens(SMALL, batch=4)
    found, w = direct_effects(model, tokens, generator), weights_of(model, fold=False)
    run = record(model, tokens, names=["blocks.0.attn.hook_z", "blocks.1.hook_resid_post"])
    u = (run["blocks.0.attn.hook_z"][:, :-1, 1] @ w.W_O[0, 1]).detach()
    x = run["blocks.1.hook_resid_post"][:, :-1].detach()
    less = x - (u - u.mean((0, 1)))
    rate = x.std(-1, correction=0, keepdim=True) / less.std(-1, correction=0, keepdim=True)

    def ln_p(logits):
        return logits.log_softmax(-1).gather(-1, tokens[:, 1:, None]).mean()

    bias = w.ln_final_b @ w.W_U + w.b_U
    free = lens_logits(w, less)
    held = (free - bias) / rate + bias
    index = found.components.index("L0H1")
    intact = ln_p(lens_logits(w, x))
    assert float(found.free.mean[index]) == pytest.approx(float(intact - ln_p(free)), rel=1e-9)
    assert float(found.held.mean[index]) == pytest.approx(float(intact - ln_p(held)), rel=1e-9)


def test_what_is_written_where_nothing_reads_acts_through_the_scale_alone(generator):
    model, tokens = of_kind("RMSPre", n_layers=1, d_mlp=0, biases=False), random_tokens(SMALL, batch=4)
    with torch.no_grad():
        model.unembed.W_U[0] = 0  # nothing reads number 0, which head 1 alone writes
        model.blocks[0].attn.W_O[1, :, 1:] = 0
    found = direct_effects(model, tokens, generator)
    index = found.components.index("L0H1")
    assert float(found.held.mean[index]) == pytest.approx(0, abs=1e-14)
    assert abs(float(found.free.mean[index])) > 1e-3
    assert float(found.through.mean[index]) == pytest.approx(float(found.free.mean[index]))
    assert abs(float(found.random_held.mean[index])) > 1e-3


def test_with_scales_and_patterns_held_the_logits_are_affine_in_the_embedding(generator):
    model, tokens = of_kind("LN", d_mlp=0), random_tokens(SMALL)
    pattern = record(model, tokens, names="blocks.*.attn.hook_pattern")
    patterns = {name: pattern[name] for name in pattern}
    shape = (2, 7, 8)
    x, y = (torch.randn(shape, generator=generator, dtype=torch.float64).flatten(1) for _ in range(2))

    def logits(held):
        def run(flat):
            with torch.no_grad(), intervene(model, {**held, "hook_embed": flat.view(shape)}):
                return model(tokens)

        return run

    assert affine_error(logits({**held_scales(model, tokens), **patterns}), x, y) < 1e-13
    assert affine_error(logits(patterns), x, y) > 0.05


def test_what_has_no_scale_or_no_pair_of_sequences_is_refused(generator):
    plain, tokens = of_kind("none"), random_tokens(SMALL)
    for ask in (
        lambda: read_scales(plain, tokens, generator),
        lambda: direct_effects(plain, tokens, generator),
        lambda: removed_effects(plain, tokens, torch.arange(7).expand(2, -1) > 1, generator),
        lambda: folding_account(weights_of(plain)),
    ):
        with pytest.raises(InputError, match="no normalisation, so there is no scale"):
            ask()
    with pytest.raises(InputError, match="two of each at least"):
        read_scales(of_kind("LN"), tokens[:1], generator)
    with pytest.raises(InputError, match="does not read at L2 MLP"):
        normalised(weights_of(of_kind("LN"), fold=False), Read(2, "MLP"), vectors(generator))
    with pytest.raises(InputError, match="cannot be compared with anything"):
        affine_error(torch.zeros_like, vectors(generator), vectors(generator))
