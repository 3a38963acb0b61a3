"""The rivals of the benchmark do the same work: equal weights give equal logits and equal training steps."""

import torch

from analyses.benchmarks.plain import PlainTransformer, next_token_loss, training_step
from analyses.benchmarks.timing import Timing, ratio, take_turns
from toy_models.config import TransformerConfig
from toy_models.transformer import Transformer

CONFIG = TransformerConfig(n_layers=2, n_heads=2, d_model=12, d_head=5, d_vocab=9, n_ctx=7, normalization="LN")


def twins(generator):
    """Our transformer, with random biases and gains, and the plain one with the same weights."""
    ours, plain = Transformer(CONFIG, generator), PlainTransformer(CONFIG)
    for parameter in ours.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    with torch.no_grad():
        plain.tokens.weight.copy_(ours.W_E)
        plain.positions.weight.copy_(ours.W_pos)
        for block, norm, qkv, out in zip(ours.blocks, plain.norms, plain.qkv, plain.out, strict=True):
            norm.weight.copy_(block.ln1.w)
            norm.bias.copy_(block.ln1.b)
            a = block.attn
            qkv.weight.copy_(torch.cat([W.permute(0, 2, 1).flatten(0, 1) for W in (a.W_Q, a.W_K, a.W_V)]))
            qkv.bias.copy_(torch.cat([b.flatten() for b in (a.b_Q, a.b_K, a.b_V)]))
            out.weight.copy_(a.W_O.flatten(0, 1).T)
            out.bias.copy_(a.b_O)
        plain.final_norm.weight.copy_(ours.ln_final.w)
        plain.final_norm.bias.copy_(ours.ln_final.b)
        plain.unembed.weight.copy_(ours.W_U.T)
        plain.unembed.bias.copy_(ours.b_U)
    return ours, plain


def test_the_plain_transformer_computes_the_same_logits(generator):
    ours, plain = twins(generator)
    tokens = torch.randint(0, 9, (3, 7), generator=generator)
    assert torch.allclose(ours(tokens), plain(tokens), atol=1e-5)


def test_a_training_step_of_both_leads_to_the_same_logits(generator):
    tokens = torch.randint(0, 9, (3, 7), generator=generator)
    before, after = [], []
    for model in twins(generator):
        before.append(model(tokens).detach())
        step = training_step(model, lambda t, model=model: next_token_loss(model(t), t), tokens)
        step()
        after.append(model(tokens).detach())
    assert torch.allclose(*after, atol=1e-4)
    assert float((after[0] - before[0]).abs().max()) > 1e-3


def test_rivals_take_turns_and_the_warm_up_is_not_counted():
    order = []
    timings = take_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2, calls=2, warm_up=1)
    assert order == list("ab" + "aabb" * 2)
    assert timings["a"].rounds == 2


def test_a_ratio_is_that_of_the_medians():
    timings = {"slow": Timing(median=3.0, fastest=0.1, rounds=5), "fast": Timing(median=1.5, fastest=0.1, rounds=5)}
    assert ratio(timings, "slow", "fast") == 2.0


def test_the_median_of_the_rounds_is_kept_beside_the_fastest(monkeypatch):
    clock = iter([0.0, 6.0, 10.0, 12.0, 20.0, 28.0])
    monkeypatch.setattr("analyses.benchmarks.timing.time.process_time", lambda: next(clock))
    assert take_turns({"a": lambda: None}, rounds=3, calls=2, warm_up=0)["a"] == Timing(3.0, 1.0, 3)
