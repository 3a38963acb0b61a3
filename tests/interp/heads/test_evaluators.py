"""Olsson et al.'s copying evaluator against a plain loop, and where its value is known."""

import pytest
import torch

from interp.heads.evaluators import copying_samples, copying_score, raised
from interp.weights import weights_of
from toy_models import handmade
from toy_models.config import TransformerConfig
from toy_models.transformer import Transformer


def known_head(tokens, raises, sharp=True, d_vocab=9) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Previous-token attention (or even attention); output i is the mean of `raises` times the attended tokens."""
    length = tokens.shape[1]
    even = torch.ones(length, length, dtype=torch.float64).tril()
    before = torch.eye(length, dtype=torch.float64).roll(1, 0).index_fill(0, torch.tensor([0]), 0.0)
    before[0, 0] = 1.0
    pattern = before if sharp else even / even.sum(-1, keepdim=True)
    pattern = pattern.expand(len(tokens), 1, -1, -1)
    one_hot = torch.nn.functional.one_hot(tokens, d_vocab).double()
    written = raises * torch.einsum("bhds,bsm->bdhm", pattern, one_hot)
    return pattern, written, torch.eye(d_vocab, dtype=torch.float64)


def score(head, tokens):
    pattern, written, W_U = head
    r = raised(pattern, written, W_U, tokens)
    ones = torch.ones_like(r.attended)
    return copying_score(r.attended, r.everything, ones), copying_score(r.shuffled, r.everything, ones)


@pytest.fixture
def tokens(generator):
    return torch.stack([torch.randperm(9, generator=generator)[:6] for _ in range(4)])


def test_a_perfect_copier_scores_one(tokens):
    assert score(known_head(tokens, 3.0), tokens)[0].flatten().tolist() == pytest.approx([1.0] * 4)


def test_a_head_that_lowers_what_it_attends_to_scores_minus_one(tokens):
    assert score(known_head(tokens, -3.0), tokens)[0].flatten().tolist() == pytest.approx([-1.0] * 4)


def test_a_head_that_writes_nothing_scores_minus_one_and_not_nan(tokens):
    value, null = score(known_head(tokens, 0.0), tokens)
    assert value.tolist() == null.tolist() == [[-1.0]] * 4


def test_the_score_does_not_depend_on_how_strongly_a_head_writes(tokens):
    weak, strong = (score(known_head(tokens, gain, sharp=False), tokens)[0] for gain in (0.1, 7.0))
    assert torch.allclose(weak, strong)


def test_even_attention_of_a_copier_is_its_own_shuffled_null(tokens):
    value, null = score(known_head(tokens, 3.0, sharp=False), tokens)
    assert torch.allclose(value, null)
    assert float(value.max()) < 0  # several tokens are raised, each with a part of the attention


def test_all_sums_equal_plain_loops(generator):
    tokens = torch.randint(5, (3, 7), generator=generator)  # some tokens come several times
    pattern = torch.rand(3, 2, 7, 7, generator=generator, dtype=torch.float64).tril()
    written = torch.randn(3, 7, 2, 4, generator=generator, dtype=torch.float64)
    W_U = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    r = raised(pattern, written, W_U, tokens)
    for b in range(3):
        for h in range(2):
            for i in range(7):
                logits = [float(written[b, i, h] @ W_U[:, v]) for v in range(5)]
                R = [max(0.0, x - sum(logits) / 5) for x in logits]
                at = [R[t] for t in tokens[b].tolist()]
                row = pattern[b, h, i].tolist()
                assert float(r.attended[b, h, i]) == pytest.approx(sum(row[j] * at[j] for j in range(i + 1)))
                assert float(r.everything[b, h, i]) == pytest.approx(sum(R[t] for t in set(tokens[b].tolist())))
                assert float(r.shuffled[b, h, i]) == pytest.approx(sum(row) * sum(at[: i + 1]) / (i + 1))


def test_only_weighted_queries_count(generator):
    attended, everything = torch.rand(5, generator=generator), torch.rand(5, generator=generator) + 1
    weights = torch.tensor([0, 0, 0.5, 0, 2])
    expected = 2 * (0.5 * attended[2] + 2 * attended[4]) / (0.5 * everything[2] + 2 * everything[4]) - 1
    assert float(copying_score(attended, everything, weights)) == pytest.approx(float(expected))


@pytest.mark.parametrize("name, value", [("previous_token", 1.0), ("anti_copying", -1.0), ("literal_current", -1.0)])
def test_handmade_heads_copy_or_do_not(name, value):
    made = handmade.make(name)
    scores, _ = copying_samples(made.model, weights_of(made.model), made.example_tokens, made.repeated)
    assert scores[:, -1, 0].tolist() == pytest.approx([value] * len(scores), abs=1e-6)


@pytest.mark.parametrize("normalization", ["none", "LN", "RMS", "LNPre"])
def test_direct_path_holds_the_final_scale_and_applies_gain_and_centring(generator, normalization):
    """Against a slow version from the model's own final normalisation, its scale held."""
    config = TransformerConfig(d_model=12, d_head=5, d_vocab=11, n_ctx=9, normalization=normalization)
    model = Transformer(config, generator).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith((".w", ".b")):
                parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    tokens = torch.randint(11, (2, 9), generator=generator)
    queries = torch.rand(2, 9, generator=generator) < 0.6
    found, _ = copying_samples(model, weights_of(model), tokens, queries)

    kept = {}

    def keep(module, inputs, output):
        kept[module] = output.detach()

    attention = model.blocks[1].attn
    hooks = [m.register_forward_hook(keep) for m in (attention.hook_z, attention.hook_pattern, model.blocks[1])]
    model(tokens)
    for hook in hooks:
        hook.remove()
    final, x = kept[model.blocks[1]], kept[attention.hook_z][:, :, 2] @ attention.W_O[2]
    if normalization in ("LN", "LNPre"):
        final, x = final - final.mean(-1, keepdim=True), x - x.mean(-1, keepdim=True)
    if normalization != "none":
        x = x / (final.square().mean(-1, keepdim=True) + config.norm_eps).sqrt()
    gain = getattr(model.ln_final, "w", None)
    logits = ((x if gain is None else x * gain) @ model.W_U).detach()
    R = (logits - logits.mean(-1, keepdim=True)).relu()
    for b in range(2):
        a = s = 0.0
        for i in queries[b].nonzero()[:, 0].tolist():
            a += sum(float(kept[attention.hook_pattern][b, 2, i, j] * R[b, i, tokens[b, j]]) for j in range(9))
            s += sum(float(R[b, i, t]) for t in set(tokens[b].tolist()))
        assert float(found[b, 1, 2]) == pytest.approx(2 * a / s - 1, abs=1e-6)
