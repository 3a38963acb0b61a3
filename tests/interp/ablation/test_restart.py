"""Removing heads from their own layer on, against running the whole model; in chunks, against all at once."""

import pytest
import torch

from interp.ablation import head_effects
from interp.ablation.heads import removal_effect
from interp.ablation.losses import scored_masks, sequence_means, target_values
from interp.ablation.removal import removal
from interp.ablation.restart import removed_one_by_one, starting_at
from interp.heads import at_once
from interp.hooks import record
from interp.names import Head
from tests.reference_transformer import random_model, random_tokens
from toy_models.config import TransformerConfig

CONFIG = TransformerConfig(
    n_layers=3, n_heads=2, d_model=8, d_head=4, d_vocab=11, n_ctx=9, positions="standard", normalization="LN", d_mlp=6
)


@pytest.fixture(scope="module")
def case():
    model, tokens = random_model(CONFIG), random_tokens(CONFIG, batch=5, pos=8)
    scored = torch.zeros(5, 8, dtype=torch.bool)
    scored[:, 3:6] = True
    return model, tokens, scored_masks(tokens, scored)


HEADS = [Head(2, 1), Head(0, 0), Head(1, 1), Head(2, 0)]


@pytest.mark.parametrize("to", ["zero", "mean", "resample"])
@pytest.mark.parametrize("hold", [False, True])
def test_removal_from_a_heads_own_layer_on_is_removal_in_the_whole_run(case, to, hold):
    model, tokens, masks = case
    how = removal(model, tokens, to, generator=torch.Generator().manual_seed(0), hold_patterns=hold)
    intact, effects = removed_one_by_one(model, tokens, masks, how, HEADS)
    assert torch.equal(intact, sequence_means(model, tokens, masks))
    for index, head in enumerate(HEADS):
        whole = removal_effect(model, tokens, masks, how, [head], intact)
        assert torch.equal(effects[..., index], whole)
        assert float(whole.abs().max()) > 1e-3


@pytest.mark.parametrize("to", ["zero", "mean", "resample"])
def test_effects_do_not_depend_on_how_many_sequences_run_at_once(case, to, monkeypatch):
    model, tokens, masks = case
    options = {"to": to, "hold_patterns": to == "zero"}
    whole = head_effects(model, tokens, masks[0], torch.Generator().manual_seed(0), **options)
    sizes = []
    model.register_forward_hook(lambda module, args, output: sizes.append(len(args[0])))
    monkeypatch.setattr(at_once, "MAX_LOGITS", 2 * 8 * 11)
    chunked = head_effects(model, tokens, masks[0], torch.Generator().manual_seed(0), **options)
    model._forward_hooks.clear()
    assert torch.allclose(chunked.loss.samples, whole.loss.samples, rtol=0, atol=1e-12)
    assert torch.allclose(chunked.loss.compared["other positions"], whole.loss.compared["other positions"], atol=1e-12)
    assert set(sizes) == ({2, 1, 5} if to != "mean" else {2, 1})


def test_skipped_layers_do_not_run_and_come_back(case):
    model, tokens, _ = case
    ran = []
    handles = [
        block.attn.register_forward_hook(lambda *_, layer=layer: ran.append(layer))
        for layer, block in enumerate(model.blocks)
    ]
    output = record(model, tokens, names="blocks.1.hook_resid_post")["blocks.1.hook_resid_post"]
    logits = model(tokens)
    ran.clear()
    with starting_at(model, 2, output):
        assert torch.equal(model(tokens), logits)
        assert ran == [2]
    with pytest.raises(RuntimeError), starting_at(model, 2, output):
        raise RuntimeError
    ran.clear()
    assert torch.equal(model(tokens), logits)
    assert ran == [0, 1, 2]
    for handle in handles:
        handle.remove()


def test_a_block_that_has_a_forward_of_its_own_keeps_it(case):
    model, tokens, _ = case
    block, logits, ran = model.blocks[0], model(tokens), []
    usual = block.forward

    def own(*args):
        ran.append(0)
        return usual(*args)

    block.forward = own
    try:
        with starting_at(model, 1, torch.zeros(5, 8, 8, dtype=logits.dtype)):
            assert not torch.equal(model(tokens), logits)
            assert ran == []
        assert torch.equal(model(tokens), logits)
        assert ran == [0]
    finally:
        del block.forward


def test_losses_of_long_vocabularies_in_pieces_are_those_of_the_whole(case, monkeypatch):
    model, tokens, _ = case
    logits = model(tokens).detach()
    whole = target_values(logits, tokens)
    monkeypatch.setattr("interp.ablation.losses.AT_ONCE", 2 * logits[0].numel())
    assert torch.allclose(target_values(logits, tokens), whole, rtol=0, atol=1e-14)
    expected = -logits[1, 3].log_softmax(-1)[tokens[1, 4]]
    assert float(whole[0, 1, 4]) == pytest.approx(float(expected), abs=1e-12)
