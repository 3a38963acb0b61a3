"""Which token a head raises, on models whose heads are known."""

import pytest
import torch

from interp.errors import InputError
from interp.heads import Protocol, next_token_push, predictable_positions, repeated_tokens
from interp.heads.push import PRESENT, TYPICAL
from interp.hooks import record
from interp.weights import weights_of
from toy_models.config import TransformerConfig
from toy_models.handmade import make
from toy_models.transformer import Transformer


def push_of(name, generator):
    handmade = make(name)
    protocol = Protocol(2, 15, handmade.model.config.d_vocab, bos=0)
    tokens = repeated_tokens(protocol, 8, generator)
    mask = predictable_positions(protocol, 8)
    weights = weights_of(handmade.model)
    return next_token_push(handmade.model, weights, tokens, mask, generator, protocol="test"), handmade.truth


def test_the_handmade_induction_head_raises_the_next_token_by_its_gain(generator):
    push, truth = push_of("induction_k", generator)
    layer, index = next(head for head, role in truth.roles.items() if role == "induction")
    d_vocab = 16
    assert float(push.score[layer, index]) == pytest.approx(12 * (1 - 1 / d_vocab), abs=1e-3)
    assert float(push.nulls[PRESENT][layer, index]) == pytest.approx(-12 / d_vocab, abs=1e-3)


def test_the_literal_reading_raises_the_present_token_and_not_the_next(generator):
    push, _ = push_of("literal_current", generator)
    assert float(push.score[1].max()) < 0
    assert float(push.nulls[PRESENT][1].max()) > 10
    assert float(push.score[1] - push.nulls[TYPICAL][1]) == pytest.approx(0, abs=1e-3)


def test_anti_copying_lowers_the_next_token(generator):
    push, truth = push_of("anti_copying", generator)
    layer, index = next(head for head, role in truth.roles.items() if role == "anti-copying")
    assert float(push.interval.high[layer, index]) < -1


@pytest.mark.parametrize("normalization", ["none", "LN", "RMSPre"])
def test_push_equals_the_slow_sum_over_queries(normalization, generator):
    config = TransformerConfig(
        n_layers=2, n_heads=3, d_model=12, d_head=4, d_vocab=9, n_ctx=10, normalization=normalization, init_range=0.6
    )
    model = Transformer(config, generator).double()
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    tokens = torch.randint(0, 9, (3, 10), generator=generator)
    mask = torch.rand(3, 10, generator=generator) < 0.5
    mask[:, 4] = True
    push = next_token_push(model, weights_of(model), tokens, mask, generator, protocol="test")
    cache = record(model, tokens, names=["*hook_z", "blocks.1.hook_resid_post", "ln_final*"])
    resid = cache["blocks.1.hook_resid_post"]
    gain, scale = torch.ones(12, dtype=torch.float64), torch.ones(3, 10, 1, dtype=torch.float64)
    if normalization != "none":
        scale = cache["ln_final.hook_scale"]
        gain = getattr(model.ln_final, "w", None) if normalization == "LN" else gain
    assert resid.shape == (3, 10, 12)
    W_U = model.W_U.detach()
    for layer in range(2):
        for head in range(3):
            out = cache[f"blocks.{layer}.attn.hook_z"][:, :, head] @ model.W_O[layer, head].detach()
            out = out - out.mean(-1, keepdim=True) if normalization == "LN" else out
            logits = (out / scale * gain.detach()) @ W_U
            logits = logits - logits.mean(-1, keepdim=True)
            for name, value in {"next": push.score, PRESENT: push.nulls[PRESENT], TYPICAL: push.nulls[TYPICAL]}.items():
                each = []
                for b in range(3):
                    at = [i for i in range(9) if mask[b, i + 1]]
                    chosen = {
                        "next": [logits[b, i, tokens[b, i + 1]] for i in at],
                        PRESENT: [logits[b, i, tokens[b, i]] for i in at],
                        TYPICAL: [logits[b, i, tokens[b]].median() for i in at],
                    }[name]
                    each.append(sum(chosen) / len(at))
                assert float(value[layer, head]) == pytest.approx(float(sum(each) / 3), abs=1e-10)


def test_a_sequence_without_predictable_token_is_refused(generator):
    model = make("induction_k").model
    tokens = torch.ones(2, 5, dtype=torch.long)
    with pytest.raises(InputError, match="predictable"):
        next_token_push(model, weights_of(model), tokens, tokens < 0, generator, protocol="test")
