"""What heads of Hugging Face models do behind bridges, against those models' own eager attention and state dicts."""

import copy

import pytest
import torch

from interp.ablation import head_effects
from interp.ablation.losses import token_losses
from interp.ablation.removal import removal
from interp.heads import measure_heads, next_token_push
from interp.heads.detectors import CURRENT_TOKEN, PREFIX_MATCHING, VALUE_WEIGHTED_PREFIX_MATCHING
from interp.heads.matching import value_weighted
from interp.hooks import intervene, record
from interp.names import Head
from interp.weights import weights_of
from tests.hugging_face import VOCABULARY, hugging_face, tokens_for, wrapped

NAMES = ["GPT-2", "Pythia", "Llama", "Qwen2", "Gemma"]


@pytest.fixture(scope="module")
def models():
    made = {name: hugging_face(name) for name in NAMES}
    return {name: (model, wrapped(model)) for name, model in made.items()}


@pytest.fixture(scope="module")
def batteries(models):
    return {
        name: measure_heads(models[name][1], torch.Generator().manual_seed(0), n=6, periods=1)
        for name in ("GPT-2", "Llama")
    }


def without(model, head):
    """The model with the columns of W_O that read this head set to 0 in its state dict."""
    cut = copy.deepcopy(model)
    for name, weight in cut.state_dict().items():
        if f".{head.layer}." in name and name.endswith(("o_proj.weight", "attention.dense.weight")):
            weight.unflatten(1, (4, -1))[:, head.index] = 0
        if f".{head.layer}." in name and name.endswith("attn.c_proj.weight"):
            weight.unflatten(0, (4, -1))[head.index] = 0
    return cut


def largest(difference):
    return float(difference.detach().abs().max())


@pytest.mark.parametrize("name", NAMES)
def test_a_bridge_that_is_watched_gives_the_models_own_logits(models, name):
    (model, bridge), tokens = models[name], tokens_for()
    run = record(bridge, tokens, names=["blocks.*.attn.hook_pattern", "blocks.*.attn.hook_z", "blocks.*.attn.hook_k"])
    assert largest(run.output - model(tokens).logits) <= 1e-5
    assert largest(bridge(tokens) - run.output) == 0


@pytest.mark.parametrize("name", NAMES)
def test_removing_a_head_is_zeroing_what_reads_it_in_the_state_dict(models, name):
    (model, bridge), tokens = models[name], tokens_for()
    how = removal(bridge, tokens, "zero")
    for head in (Head(0, 2), Head(1, 3)):
        expected = without(model, head)(tokens).logits
        with intervene(bridge, how.edits([head])):
            found = bridge(tokens)
        assert largest(found - expected) <= 2e-5
        assert largest(expected - model(tokens).logits) > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_effects_of_a_few_heads_are_those_of_state_dicts_without_them(models, name):
    (model, bridge), tokens = models[name], tokens_for(batch=3)
    scored = torch.zeros_like(tokens, dtype=torch.bool)
    scored[:, 4:9] = True
    heads = [Head(0, 1), Head(1, 2)]
    found = head_effects(bridge, tokens, scored, torch.Generator().manual_seed(0), to="zero", heads=heads)
    intact = token_losses(model(tokens).logits, tokens)
    for head in heads:
        change = token_losses(without(model, head)(tokens).logits, tokens) - intact
        assert largest(found.loss.samples[:, head.layer, head.index] - change[:, 4:9].mean(1)) <= 2e-5
        assert largest(change) > 0.01
    assert int(found.loss.score.isnan().sum()) == 6


@pytest.mark.parametrize("name", ["GPT-2", "Llama"])
def test_scores_of_the_battery_are_those_of_the_models_own_attention(models, batteries, name):
    battery = batteries[name]
    attentions = models[name][0](battery.tokens, output_attentions=True).attentions
    for detector in (PREFIX_MATCHING, CURRENT_TOKEN):
        expected = torch.stack([detector(pattern, battery.tokens).mean(0) for pattern in attentions])
        assert largest(battery[detector.name].score - expected) <= 1e-5


def test_grouped_values_weigh_the_attention_of_every_head_of_their_group(models, batteries):
    (model, _), battery = models["Llama"], batteries["Llama"]
    hf = model(battery.tokens, output_attentions=True, output_hidden_states=True)
    for layer, block in enumerate(model.model.layers):
        v = block.self_attn.v_proj(block.input_layernorm(hf.hidden_states[layer])).unflatten(-1, (2, -1))
        norms = torch.stack([v[:, :, group].norm(dim=-1) for group in (0, 0, 1, 1)], dim=-1)
        weighted = value_weighted(hf.attentions[layer], norms)
        expected = VALUE_WEIGHTED_PREFIX_MATCHING(weighted, battery.tokens).mean(0)
        assert largest(battery["value_weighted_prefix_matching"].score[layer] - expected) <= 1e-5


@pytest.mark.parametrize("name", ["GPT-2", "Llama"])
def test_next_token_push_is_the_heads_part_of_the_models_own_logits(models, batteries, name):
    """The logits of a head's own output, from the model's last norm held at its scale, and its own unembedding."""
    (model, bridge), battery = models[name], batteries[name]
    tokens, predictable = battery.tokens, battery.predictable
    push = next_token_push(
        bridge, weights_of(bridge), tokens, predictable, torch.Generator().manual_seed(0), protocol="repeats"
    )
    z = record(bridge, tokens, names="blocks.1.attn.hook_z")["blocks.1.attn.hook_z"][:, :, 2]
    inner = model.transformer if name == "GPT-2" else model.model
    norm, last = (inner.ln_f, inner.h[1].attn.c_proj) if name == "GPT-2" else (inner.norm, None)
    W_O = last.weight if last is not None else inner.layers[1].self_attn.o_proj.weight.T
    written = z @ W_O.unflatten(0, (4, -1))[2]
    final = {}
    hook = norm.register_forward_hook(lambda module, args, output: final.update(x=args[0]))
    model(tokens)
    hook.remove()
    x = final["x"]
    if name == "GPT-2":
        written, x = (each - each.mean(-1, keepdim=True) for each in (written, x))
    eps = norm.eps if name == "GPT-2" else norm.variance_epsilon
    logits = model.lm_head(written * norm.weight / (x.square().mean(-1, keepdim=True) + eps).sqrt())
    raised = (logits - logits.mean(-1, keepdim=True))[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]
    each = (raised * predictable[:, 1:]).sum(1) / predictable[:, 1:].sum(1)
    assert largest(push.score[1, 2] - each.mean()) <= 1e-5
    assert largest(each) > 0.01


def test_copying_on_a_bridge_is_between_its_bounds_and_above_its_null_for_a_head_that_copies():
    """A head whose W_V W_O is made the identity between embeddings raises what it attends to."""
    model = hugging_face("Llama", num_attention_heads=1, num_key_value_heads=1, head_dim=32)
    with torch.no_grad():
        layer = model.model.layers[1]
        layer.self_attn.v_proj.weight.copy_(torch.eye(32))
        layer.self_attn.o_proj.weight.copy_(torch.eye(32))
        layer.input_layernorm.weight.fill_(1)
        model.model.norm.weight.fill_(1)
        model.model.layers[0].self_attn.o_proj.weight.zero_()
        model.model.layers[0].mlp.down_proj.weight.zero_()
    battery = measure_heads(wrapped(model), torch.Generator().manual_seed(0), n=6, periods=0)
    copying = battery["copying"]
    assert VOCABULARY == 60
    assert float(copying.interval.low[1, 0]) > float(copying.nulls["shuffled pattern"][1, 0]) + 0.2
    assert set(battery.by_period) == {battery.protocol.period}
