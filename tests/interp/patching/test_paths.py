"""Path patching: circuits known by construction, identities, and every path written out from the weights."""

import json

import pytest
import torch
import torch.nn.functional as F

from interp.edges import Edge, graph_of
from interp.errors import InputError
from interp.patching import activation_patches, logit_difference, patch_paths, path_patches
from interp.weights import weights_of
from tests.interp.patch_pairs import CLEAN, COPY, EVEN, QUERY, pair
from tests.reference_transformer import logits_from, normalised, random_model, random_tokens, score
from toy_models.config import TransformerConfig

DIRECTIONS = ("denoising", "noising")


def paths_of(of, generator, direction="denoising", **options):
    return path_patches(of.model, of.clean, of.corrupted, of.metric, generator, direction=direction, **options)


def carrying(found, at_least=1e-6):
    """The paths whose share is not 0, with it."""
    table = found.table
    assert table.effect.share is not None
    shares = table.effect.share.mean
    where = (shares.abs() > at_least).nonzero().tolist()
    senders, receivers = table.labels.values()
    return {f"{senders[i]} -> {receivers[j]}": pytest.approx(float(shares[i, j]), abs=1e-6) for i, j in where}


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    "name, changed, answer, wiring",
    [
        ("induction_k", COPY, COPY + 1, ["token -> L0H0.V", "L0H0 -> L1H0.K"]),
        ("induction_k", COPY + 1, COPY + 1, ["token -> L1H0.V"]),
        ("induction_k", QUERY, COPY + 1, ["token -> L1H0.Q"]),
        ("induction_q", COPY, COPY + 1, ["token -> L0H0.K", "L0H0 -> L1H0.Q"]),
        ("induction_q", COPY + 1, COPY + 1, ["token -> L1H0.V"]),
        ("two_back", QUERY - 2, QUERY - 2, ["token -> L0H0.V", "L0H0 -> L1H0.V"]),
    ],
)
def test_what_was_corrupted_travels_along_the_circuits_paths_alone(generator, name, changed, answer, wiring, direction):
    found = paths_of(pair(name, changed, answer=answer), generator, direction)
    assert carrying(found) == dict.fromkeys([*wiring, "L1H0 -> logits"], 1.0)
    assert found.table.effect.raw[found.table.index("L1H0", "logits")].n == 4


def test_a_sender_behind_its_receiver_has_no_path(generator):
    table = paths_of(pair("induction_k", COPY), generator).table
    assert table.labels["sender"] == ("token", "L0H0", "L1H0")
    missing = table.effect.raw.mean.isnan()
    reached = [[True] * 7, [False] * 3 + [True] * 4, [False] * 6 + [True]]
    assert (~missing).tolist() == reached
    assert table.control is not None
    assert torch.equal(table.control.raw.low.isnan(), missing)


def test_feeders_that_stand_in_for_each_other_are_needed_together_only(generator):
    of = pair("induction_shared", COPY)
    found = paths_of(of, generator, "noising", receivers=["L1H0.K"], senders=["L0H0", "L0H1"])
    assert found.table.effect.share is not None
    assert found.together.effect.share is not None
    assert found.table.effect.share.mean.flatten().tolist() == pytest.approx([0, 0], abs=1e-6)
    assert found.together.effect.share.mean.tolist() == pytest.approx([1], abs=1e-6)
    assert found.together.effect.raw[0].mean == pytest.approx(EVEN - CLEAN, abs=1e-6)


def test_what_a_sender_writes_on_another_sequence_restores_nothing(generator):
    found = paths_of(pair("induction_k", COPY), generator, receivers=["L1H0.K"]).table
    at = found.index("L0H0", "L1H0.K")
    assert found.control is not None
    assert found.control.share is not None
    assert found.contrast is not None
    assert found.control.share[at].mean == pytest.approx(-EVEN / (CLEAN - EVEN), abs=1e-6)  # it finds another token
    assert found.contrast[at].mean == pytest.approx(CLEAN, abs=1e-6)


CONFIGS = [
    {},
    {"normalization": "LN", "d_mlp": 7},
    {"normalization": "none", "d_mlp": 5, "activation": "relu", "biases": False},
    {"positions": "rotary", "normalization": "RMS", "n_layers": 3, "n_heads": 1},
    {"positions": "shortformer", "normalization": "LN", "smeared_keys": True},
    {"positions": "none", "normalization": "RMSPre", "d_mlp": 6, "tied_embeddings": True},
]
ALTERNATING = [(options, DIRECTIONS[i % 2]) for i, options in enumerate(CONFIGS)]
"""The directions differ in which run is which alone, as a test says."""


def random_pair(seed=0, batch=3, **options):
    config = TransformerConfig(**({"d_model": 8, "n_heads": 2, "d_head": 4, "d_vocab": 9, "n_ctx": 8} | options))
    model, clean = random_model(config, seed), random_tokens(config, batch, 6, seed=1)
    corrupted = (clean + torch.tensor([0, 3, 0, 1, 2, 1])) % 9
    return model, clean, corrupted, logit_difference(clean[:, 0], (clean[:, 0] + 1) % 9)


def written_in(w, tokens, changes=None):
    """The twin: what every sender writes and the logits, each input taken apart; `changes` are added to receivers."""
    changes = changes or {}
    out = {"token": w.W_E[tokens]}
    residual = out["token"] + (0 if w.W_pos is None else w.W_pos[: tokens.shape[1]])
    for layer in range(w.n_layers):
        added = torch.zeros_like(residual) + w.b_O[layer]
        for head in range(w.n_heads):
            name = f"L{layer}H{head}"
            q, k, v = (residual + changes.get(f"{name}.{channel}", 0) for channel in "QKV")
            out[name] = head_output(w, layer, head, q, k, v)
            added = added + out[name]
        residual = residual + added
        if w.W_in is not None:
            x = normalised(w, residual + changes.get(f"L{layer} MLP", 0), w.ln2_w, w.ln2_b, layer)
            act = F.gelu if w.activation == "gelu" else F.relu
            out[f"L{layer} MLP"] = act(x @ w.W_in[layer] + w.b_in[layer]) @ w.W_out[layer] + w.b_out[layer]
            residual = residual + out[f"L{layer} MLP"]
    residual = residual + changes.get("logits", 0)
    return out, w.normalise(residual, w.ln_final_w, w.ln_final_b) @ w.W_U + w.b_U


def head_output(w, layer, head, q_in, k_in, v_in):
    at, positions = (layer, head), 0 if w.W_pos_attn is None else w.W_pos_attn[layer, : q_in.shape[1]]
    q, k, v = (normalised(w, x, w.ln1_w, w.ln1_b, layer) for x in (q_in, k_in, v_in))
    q, k, v = (
        (q + positions) @ w.W_Q[at] + w.b_Q[at],
        (k + positions) @ w.W_K[at] + w.b_K[at],
        v @ w.W_V[at] + w.b_V[at],
    )
    if w.smear is not None:
        k = w.smear[at] * k + (1 - w.smear[at]) * torch.cat([k[:, :1], k[:, :-1]], dim=1)
    z = torch.zeros_like(v)
    for i in range(z.shape[1]):
        scores = torch.stack([score(w, q[:, i], k[:, j], i - j) for j in range(i + 1)], dim=1)
        z[:, i] = torch.einsum("bj,bjd->bd", scores.softmax(1), v[:, : i + 1])
    return z @ w.W_O[at]


@pytest.mark.parametrize("options, direction", ALTERNATING)
def test_every_path_equals_the_forward_pass_written_out(generator, options, direction):
    model, clean, corrupted, metric = random_pair(**options)
    w = weights_of(model, fold=False)
    found = path_patches(model, clean, corrupted, metric, generator, direction=direction, batch_size=17)
    base, other = (corrupted, clean) if direction == "denoising" else (clean, corrupted)
    (here, logits), (there, _) = written_in(w, base), written_in(w, other)
    assert torch.allclose(logits, logits_from(w, base), atol=1e-10)
    moved = 0
    for edge in graph_of(w).edges:
        if edge.sender == "position":
            continue
        _, patched = written_in(w, base, {edge.receiver: there[edge.sender] - here[edge.sender]})
        samples = found.table.effect.samples[(slice(None), *found.table.index(*edge))]
        assert samples.tolist() == pytest.approx((metric(patched) - metric(logits)).tolist(), abs=1e-9), str(edge)
        moved += float(samples.abs().max()) > 1e-4
    assert moved > len(graph_of(w).edges) / 2


@pytest.mark.parametrize("options, direction", ALTERNATING)
def test_every_sender_at_once_is_the_other_runs_input(generator, options, direction):
    model, clean, corrupted, metric = random_pair(**options)
    together = path_patches(model, clean, corrupted, metric, generator, direction=direction).together
    for channel in "qkv":
        whole = activation_patches(
            model, clean, corrupted, metric, generator, names=f"*hook_{channel}_input", by="head", direction=direction
        )
        for layer, head in torch.cartesian_prod(*(torch.arange(size) for size in whole.effect.raw.mean.shape)).tolist():
            (at,) = together.index(f"L{layer}H{head}.{channel.upper()}")
            expected = whole.effect.samples[:, layer, head].tolist()
            assert together.effect.samples[:, at].tolist() == pytest.approx(expected, abs=1e-9)
    assert together.effect.samples[:, -1].tolist() == pytest.approx(
        activation_patches(model, clean, corrupted, metric, generator, names="*resid_post", direction=direction)
        .effect.samples[:, -1]
        .tolist(),
        abs=1e-9,
    )


@pytest.mark.parametrize("options", CONFIGS)
def test_all_paths_together_are_the_other_run_and_none_the_base(options):
    model, clean, corrupted, _ = random_pair(**options)
    edges = graph_of(weights_of(model, fold=False)).edges
    with torch.no_grad():
        assert torch.allclose(patch_paths(model, clean, corrupted, edges), model(corrupted), atol=1e-9)
        assert torch.allclose(patch_paths(model, clean, corrupted, []), model(clean), atol=1e-12)


def test_several_paths_read_what_is_written_after_the_patches_before_them():
    """token -> L0H1.V changes what L0H1 writes; patching L0H1 -> L1H0.K as well puts its other run in there alone."""
    model, clean, corrupted, _ = random_pair(normalization="LN", d_mlp=7)
    w = weights_of(model, fold=False)
    there, _ = written_in(w, corrupted)
    first = {"L0H1.V": there["token"] - w.W_E[clean]}
    now, _ = written_in(w, clean, first)
    _, expected = written_in(w, clean, first | {"L1H0.K": there["L0H1"] - now["L0H1"]})
    found = patch_paths(model, clean, corrupted, ["token -> L0H1.V", Edge("L0H1", "L1H0.K")])
    assert torch.allclose(found, expected, atol=1e-9)
    separate = written_in(w, clean, first | {"L1H0.K": there["L0H1"] - written_in(w, clean)[0]["L0H1"]})[1]
    assert not torch.allclose(found, separate, atol=1e-3)


def test_the_directions_are_each_other_with_the_runs_exchanged():
    model, clean, corrupted, metric = random_pair(d_mlp=5)
    one, two = (
        path_patches(model, *tokens, metric, torch.Generator().manual_seed(2), direction=direction)
        for tokens, direction in (((clean, corrupted), "denoising"), ((corrupted, clean), "noising"))
    )
    assert torch.equal(one.table.effect.samples.nan_to_num(), two.table.effect.samples.nan_to_num())
    assert torch.equal(one.together.effect.samples, two.together.effect.samples)


def test_positions_carry_nothing_and_are_left_out_unless_named(generator):
    model, clean, corrupted, metric = random_pair()
    assert "position" not in path_patches(model, clean, corrupted, metric, generator).table.labels["sender"]
    found = path_patches(model, clean, corrupted, metric, generator, senders=["position", "token"]).table
    assert float(found.effect.samples[:, 0].abs().max()) < 1e-12
    assert float(found.effect.samples[:, 1].abs().min()) > 1e-9


def test_nothing_depends_on_the_batch_size_and_nothing_is_left_behind():
    model, clean, corrupted, metric = random_pair(normalization="LN", d_mlp=6)
    before = model(clean)
    results = [
        path_patches(
            model,
            clean,
            corrupted,
            metric,
            torch.Generator().manual_seed(0),
            receivers=["L1H0.K", "L1 MLP", "logits"],
            batch_size=size,
        )
        for size in (1, 2, 7, 400)
    ]
    for other in results[1:]:
        for name in ("table", "together"):
            a, b = getattr(results[0], name), getattr(other, name)
            assert torch.allclose(a.effect.samples, b.effect.samples, atol=1e-12, equal_nan=True)
            assert torch.allclose(a.control.samples, b.control.samples, atol=1e-12, equal_nan=True)
    assert torch.equal(model(clean), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_table_goes_to_json_without_nan(generator):
    found = paths_of(pair("induction_k", COPY), generator).to_dict()
    written = json.loads(json.dumps(found, allow_nan=False))
    assert written["table"]["effect"]["share"]["mean"][1][:3] == [None] * 3
    assert written["table"]["effect"]["share"]["mean"][1][4] == pytest.approx(1)
    assert written["table"]["labels"]["receiver"][4] == "L1H0.K"
    assert "from token, L0H0, L1H0 to one receiver" in written["together"]["text"]


def test_what_cannot_be_meant_is_refused(generator):
    model, clean, corrupted, metric = random_pair()

    def call(**options):
        return path_patches(model, clean, corrupted, metric, generator, **options)

    with pytest.raises(InputError, match="no sender is called 'L5H0'; there are token, position, L0H0"):
        call(senders=["L5H0"])
    with pytest.raises(InputError, match="no receiver is called 'L1H0'; there are"):
        call(receivers="L1H0")
    with pytest.raises(InputError, match=r"none of L1H0 writes before one of L0H0\.K, L1H1\.Q reads"):
        call(senders=["L1H0"], receivers=["L0H0.K", "L1H1.Q"])
    with pytest.raises(InputError, match="each once, got token, token"):
        call(senders=["token", "token"])
    with pytest.raises(InputError, match="cannot read L1H0"):
        patch_paths(model, clean, corrupted, ["L1H0 -> L0H0.K"])
    with pytest.raises(InputError, match=r"one shape, got \[3, 6\] and \[3, 5\]"):
        patch_paths(model, clean, corrupted[:, 1:], ["L0H0 -> L1H0.K"])
