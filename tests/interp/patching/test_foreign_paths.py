"""Path patching through bridges: against transformers' own attention, and against models that split inputs."""

import pytest
import torch

from interp.edges import graph_of
from interp.patching import logit_difference, patch_paths, path_patches
from interp.weights import weights_of
from tests.hugging_face import VOCABULARY, hugging_face, tokens_for, wrapped
from tests.input_twin import run_changed, ungrouped
from tests.interp.patch_pairs import COPY, pair
from tests.reference_transformer import random_model, random_tokens
from toy_models.bridge import to_bridge
from toy_models.config import TransformerConfig

KINDS = ["GPT-2", "Pythia", "Llama", "Mistral", "Qwen2", "Gemma"]


@pytest.fixture(scope="module")
def models():
    made = {name: hugging_face(name) for name in KINDS}
    return {name: (ungrouped(model), wrapped(model)) for name, model in made.items()}


def runs(pos):
    return tokens_for(2, pos, seed=1), tokens_for(2, pos, seed=2)


@pytest.mark.parametrize("name, direction", [(name, ("denoising", "noising")[i % 2]) for i, name in enumerate(KINDS)])
def test_paths_are_those_of_the_model_run_by_transformers_alone(models, generator, name, direction):
    """Grouped queries, rotary positions, a sliding window, gated and parallel MLPs."""
    twin, bridge = models[name]
    clean, corrupted = runs(23)
    metric = logit_difference(clean[:, 0], (clean[:, 0] + 1) % VOCABULARY)
    found = path_patches(bridge, clean, corrupted, metric, generator, direction=direction, control=False).table
    base, other = (corrupted, clean) if direction == "denoising" else (clean, corrupted)
    (logits, here), (_, there) = run_changed(twin, base, {}), run_changed(twin, other, {})
    every = [edge for edge in graph_of(weights_of(bridge, fold=False)).edges if edge.sender != "position"]
    edges = every[KINDS.index(name) % 2 :: 2] + every[-12:]
    moved, scale = 0, float(metric(logits).abs().max())
    for edge in edges:
        delta = there[edge.sender] - here[edge.sender]
        patched, _ = run_changed(twin, base, {edge.receiver: lambda written, delta=delta: delta})
        expected = metric(patched) - metric(logits)
        samples = found.effect.samples[(slice(None), *found.index(*edge))]
        assert samples.tolist() == pytest.approx(expected.tolist(), abs=2e-5 * scale), str(edge)
        moved += float(samples.abs().max()) > 1e-3 * scale
    assert moved > 0.9 * len(edges)


@pytest.mark.parametrize("name", KINDS)
def test_all_paths_together_are_the_other_run_and_none_the_base(models, name):
    bridge, (clean, corrupted) = models[name][1], runs(23)
    edges = graph_of(weights_of(bridge, fold=False)).edges
    with torch.no_grad():
        there, here = bridge(corrupted), bridge(clean)
    error = (patch_paths(bridge, clean, corrupted, edges) - there).abs().max()
    assert float(error) <= 1e-5 * float(there.abs().max())
    assert torch.allclose(patch_paths(bridge, clean, corrupted, []), here, atol=1e-12)


def test_several_paths_read_what_is_written_after_the_patches_before_them(models):
    """What L0H1 writes after its values were patched is what L1H2's keys lose."""
    twin, bridge = models["Llama"]
    clean, corrupted = runs(11)
    (_, there), (_, here) = run_changed(twin, corrupted, {}), run_changed(twin, clean, {})
    changes = {
        "L0H1.V": lambda written: there["token"] - here["token"],
        "L1H2.K": lambda written: there["L0H1"] - written["L0H1"],
    }
    expected, _ = run_changed(twin, clean, changes)
    found = patch_paths(bridge, clean, corrupted, ["token -> L0H1.V", "L0H1 -> L1H2.K"])
    assert float((found - expected).abs().max()) <= 1e-5 * float(expected.abs().max())
    alone, _ = run_changed(twin, clean, changes | {"L1H2.K": lambda written: there["L0H1"] - here["L0H1"]})
    assert float((found - alone).abs().max()) > 1e-3


CONFIGS = [{"normalization": "LN", "d_mlp": 7}, {"positions": "rotary", "normalization": "RMS"}]


@pytest.mark.parametrize("options", CONFIGS)
def test_a_bridge_has_the_numbers_of_the_same_model_with_its_inputs_split(options):
    config = TransformerConfig(**({"d_model": 8, "n_heads": 2, "d_head": 4, "d_vocab": 9, "n_ctx": 8} | options))
    model, tokens = random_model(config), random_tokens(config, 3, 6, seed=1)
    corrupted = (tokens + torch.tensor([0, 3, 0, 1, 2, 1])) % 9
    metric = logit_difference(tokens[:, 0], (tokens[:, 0] + 1) % 9)
    found, expected = (
        path_patches(each, tokens, corrupted, metric, torch.Generator().manual_seed(0))
        for each in (to_bridge(model), model)
    )
    for part in ("table", "together"):
        one, two = getattr(found, part), getattr(expected, part)
        for here, there in ((one.effect, two.effect), (one.control, two.control)):
            assert torch.allclose(here.samples, there.samples, atol=1e-6, equal_nan=True)
        assert one.labels == two.labels
    assert float(expected.table.effect.samples.nan_to_num().abs().max()) > 1e-2


@pytest.mark.parametrize("name, wire", [("induction_k", "L0H0 -> L1H0.K"), ("induction_q", "L0H0 -> L1H0.Q")])
def test_a_handmade_circuit_behind_a_bridge_is_wired_as_it_was_made(generator, name, wire):
    of = pair(name, COPY, answer=COPY + 1)
    found = path_patches(to_bridge(of.model), of.clean, of.corrupted, of.metric, generator).table
    shares = found.effect.share.mean
    senders, receivers = found.labels.values()
    carrying = {f"{senders[i]} -> {receivers[j]}": float(shares[i, j]) for i, j in (shares.abs() > 1e-3).nonzero()}
    first = {"induction_k": "token -> L0H0.V", "induction_q": "token -> L0H0.K"}[name]
    assert carrying == dict.fromkeys([first, wire, "L1H0 -> logits"], pytest.approx(1.0, abs=1e-4))


def test_nothing_is_left_behind_on_a_bridge(models, generator):
    bridge, (clean, corrupted) = models["Llama"][1], runs(9)
    before = bridge(clean)
    patch_paths(bridge, clean, corrupted, ["L0H0 -> L1H1.K", "L0H1 -> L1H1.V", "L0H2 -> L1 MLP"])
    assert torch.equal(bridge(clean), before)
    assert not any(point.fwd_hooks for point in bridge.hook_dict.values())
