"""Activation patching of a TransformerLens bridge, beside TransformerLens' own functions on the same bridge."""

from types import SimpleNamespace

import pytest
import torch

from interp.patching import activation_patches, logit_difference
from tests.reference_transformer import random_model
from toy_models.bridge import to_bridge
from toy_models.config import TransformerConfig

SWEEPS = [
    ("get_act_patch_resid_pre", "blocks.*.hook_resid_pre", ("pos",)),
    ("get_act_patch_attn_out", "blocks.*.hook_attn_out", ("pos",)),
    ("get_act_patch_attn_head_out_all_pos", "blocks.*.attn.hook_z", ("head",)),
    ("get_act_patch_attn_head_out_by_pos", "blocks.*.attn.hook_z", ("pos", "head")),
    ("get_act_patch_attn_head_q_all_pos", "blocks.*.attn.hook_q", ("head",)),
    ("get_act_patch_attn_head_k_by_pos", "blocks.*.attn.hook_k", ("pos", "head")),
    ("get_act_patch_attn_head_v_all_pos", "blocks.*.attn.hook_v", ("head",)),
    ("get_act_patch_attn_head_pattern_all_pos", "blocks.*.attn.hook_pattern", ("head",)),
    ("get_act_patch_attn_head_pattern_by_pos", "blocks.*.attn.hook_pattern", ("head", "pos")),
]


@pytest.fixture(scope="module", params=["none", "LN"])
def setting(request):
    """A random model, its bridge, tokens and the clean run as TransformerLens caches it."""
    config = TransformerConfig(
        d_model=10, n_heads=3, d_head=4, d_vocab=9, n_ctx=8, normalization=request.param, tied_embeddings=False
    )
    model = random_model(config)
    bridge = to_bridge(model)
    clean = torch.randint(9, (5, 8), generator=torch.Generator().manual_seed(1))
    corrupted = (clean + torch.tensor([0, 0, 3, 0, 1, 0, 2, 0])) % 9
    metric = logit_difference(clean[:, -1], (clean[:, -1] + 1) % 9)
    with torch.no_grad():
        _, cache = bridge.run_with_cache(clean)
    return SimpleNamespace(model=model, bridge=bridge, clean=clean, corrupted=corrupted, metric=metric, cache=cache)


@pytest.mark.parametrize("function, names, by", SWEEPS)
def test_every_cell_is_that_of_transformer_lens(setting, generator, function, names, by):
    from transformer_lens import patching

    with torch.no_grad():
        theirs = getattr(patching, function)(
            setting.bridge, setting.corrupted, setting.cache, lambda logits: setting.metric(logits), reduce="none"
        )
    for model in (setting.bridge, setting.model):
        ours = activation_patches(
            model, setting.clean, setting.corrupted, setting.metric, generator, names=names, by=by, control=False
        )
        assert len(ours.labels["point"]) == 2
        patched = ours.effect.samples.movedim(0, -1) + setting.metric(model(setting.corrupted)).detach()
        assert torch.allclose(patched, theirs.values.double(), atol=1e-6 * float(theirs.values.abs().max()))
        assert float(ours.effect.samples.abs().max()) > 0.01
