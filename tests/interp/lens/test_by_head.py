"""What heads bring to the logit lens, on models where it is known, and beside a twin that edits weights."""

import math
from copy import deepcopy

import pytest
import torch

from interp.errors import InputError
from interp.heads import olsson_protocol, predictable_positions, repeated_tokens
from interp.heads.stimuli import random_tokens
from interp.lens import lens_by_head, logit_lens
from interp.lens.by_head import FRESH, OTHERS
from toy_models.config import TransformerConfig
from toy_models.handmade import make
from toy_models.transformer import Transformer

PROTOCOL = olsson_protocol(16, 34, 0)
PREDICTABLE = predictable_positions(PROTOCOL, 8)
COPY = math.log1p(15 * math.exp(-12))


@pytest.fixture
def tokens(generator):
    return repeated_tokens(PROTOCOL, 8, generator)


def fresh(generator):
    return torch.nn.functional.pad(random_tokens(8, 32, PROTOCOL.symbols, generator), (1, 0))


def test_answer_of_handmade_induction_becomes_readable_behind_layer_1(tokens, generator):
    found = lens_by_head(make("induction_k").model, tokens, generator, PREDICTABLE, fresh(generator))
    assert found.readable.point == found.readable.latest == "blocks.1.hook_resid_post"
    assert found.before.mean.tolist() == pytest.approx([-math.log(16)] * 2, abs=1e-9)
    assert found.after.mean.tolist() == pytest.approx([-math.log(16), -COPY], abs=1e-9)
    assert found.rise[1].mean == pytest.approx(math.log(16) - COPY, abs=1e-9)
    assert found.brought.score[0, 0] == pytest.approx(0.0, abs=1e-9)
    torch.testing.assert_close(found.alone.score, found.brought.score)  # one head for each layer


def test_head_writes_its_mean_over_scored_predictions_instead(tokens, generator):
    """The induction head's mean logit of a token is 12 times its share among the right ones."""
    found = lens_by_head(make("induction_k").model, tokens, generator, PREDICTABLE)
    right = tokens[PREDICTABLE]
    logits = 12 * torch.bincount(right, minlength=16).double() / len(right)
    losses = logits.exp().sum().log() - logits[tokens]
    without = (losses * PREDICTABLE).sum(1) / PREDICTABLE.sum(1)
    torch.testing.assert_close(found.brought.samples[:, 1, 0], without - COPY, rtol=0, atol=1e-9)
    assert FRESH not in found.brought.nulls


def test_heads_that_share_the_work_bring_little_beside_each_other_and_much_alone(tokens, generator):
    found = lens_by_head(make("induction_both").model, tokens, generator, PREDICTABLE, fresh(generator))
    assert float(found.brought.score[1].max()) < 0.1
    assert float(found.alone.score[1].min()) > 2.5
    torch.testing.assert_close(found.brought.nulls[OTHERS][1], found.brought.score[1].flip(0))
    assert float(found.alone.nulls[FRESH][1].max()) < 0  # what they copy there is not what comes


def twin(model, tokens, scored, layer, silent):
    """Loss behind a layer, by a model of so many layers whose heads `silent` have no output, but a constant one."""
    cut = deepcopy(model)
    cut.blocks = cut.blocks[: layer + 1]
    with torch.no_grad():
        z = {}
        hook = cut.blocks[layer].attn.hook_z.register_forward_hook(lambda m, i, out: z.update(z=out))
        cut(tokens)
        hook.remove()
        for index in silent:
            head = z["z"][:, :-1, index] @ cut.blocks[layer].attn.W_O[index]
            per_sequence = (head * scored[:, 1:, None]).sum(1) / scored[:, 1:].sum(1, keepdim=True)
            cut.blocks[layer].attn.b_O += per_sequence.mean(0)
            cut.blocks[layer].attn.W_O[index] = 0
        log_p = cut(tokens)[:, :-1].double().log_softmax(-1)
    losses = -log_p.gather(-1, tokens[:, 1:, None])[..., 0]
    return (losses * scored[:, 1:]).sum(1) / scored[:, 1:].sum(1)


@pytest.mark.parametrize("normalization", ["none", "LN"])
def test_heads_bring_what_models_that_end_there_lose_without_them(normalization, generator):
    config = TransformerConfig(
        n_layers=2, n_heads=3, d_model=12, d_head=4, d_vocab=16, n_ctx=34, init_range=0.6, normalization=normalization
    )
    model = Transformer(config, torch.Generator().manual_seed(2))
    tokens = repeated_tokens(PROTOCOL, 8, generator)
    found = lens_by_head(model, tokens, generator, PREDICTABLE)
    for layer in range(2):
        everything = twin(model, tokens, PREDICTABLE, layer, [0, 1, 2])
        for index in range(3):
            others = [other for other in range(3) if other != index]
            lost = twin(model, tokens, PREDICTABLE, layer, [index]) - twin(model, tokens, PREDICTABLE, layer, [])
            won = everything - twin(model, tokens, PREDICTABLE, layer, others)
            torch.testing.assert_close(found.brought.samples[:, layer, index], lost, rtol=0, atol=1e-4)
            torch.testing.assert_close(found.alone.samples[:, layer, index], won, rtol=0, atol=1e-4)


def test_log_probabilities_around_layers_are_those_of_the_logit_lens(generator):
    config = TransformerConfig(n_layers=2, d_vocab=16, n_ctx=34, d_mlp=20, init_range=0.1)
    model = Transformer(config, torch.Generator().manual_seed(1))
    tokens = repeated_tokens(PROTOCOL, 8, generator)
    found, lens = (
        lens_by_head(model, tokens, generator, PREDICTABLE),
        logit_lens(model, tokens, generator, PREDICTABLE),
    )
    loss = dict(zip(lens.points, lens.loss.mean.tolist(), strict=True))
    before = [-loss["blocks.0.hook_resid_pre"], -loss["blocks.0.hook_resid_post"]]
    after = [-loss["blocks.0.hook_resid_mid"], -loss["blocks.1.hook_resid_mid"]]  # in front of the MLP
    assert found.before.mean.tolist() == pytest.approx(before, abs=1e-4)
    assert found.after.mean.tolist() == pytest.approx(after, abs=1e-4)


def test_fresh_tokens_of_another_shape_are_refused(tokens, generator):
    with pytest.raises(InputError, match=r"must have the tokens' shape \[8, 33\], got \[8, 32\]"):
        lens_by_head(make("induction_k").model, tokens, generator, PREDICTABLE, tokens[:, 1:])
