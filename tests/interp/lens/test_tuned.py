"""The tuned lens on models where what can be read, and by which map, is known."""

import dataclasses
import math

import pytest
import torch

from interp.errors import InputError
from interp.hooks import intervene, record
from interp.lens import brought_by, held_out, lens_logits, logit_lens, tuned_lens
from interp.lens.tuned_fit import translate
from interp.weights import weights_of
from tests.reference_transformer import random_model, random_tokens
from toy_models.config import TransformerConfig
from toy_models.handmade.blocks import HeadPlan, Move, Plan, Size, build
from toy_models.handmade.catalogue import make
from toy_models.handmade.model import repeated_tokens, seen_before
from toy_models.handmade.tables import look_back

SIZE = Size(n_ctx=10)
AFTER_0, AFTER_1 = "blocks.0.hook_resid_post", "blocks.1.hook_resid_post"
LAYER_NORM = TransformerConfig(
    n_layers=2, n_heads=2, d_model=8, d_head=4, d_vocab=11, n_ctx=9, positions="standard", normalization="LN"
)


def basis(size=SIZE):
    return torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(3), dtype=torch.float64)).Q


def relay(size=SIZE):
    """Layer 0 writes the previous token into block `held` in a random basis; layer 1 turns it round, into `out`."""
    first = HeadPlan("previous-token", (look_back(size),), (Move("tok", "held", basis()),))
    second = HeadPlan("current-token", (look_back(size, 0),), (Move("held", "out", size.gain * basis().T),))
    plan = Plan(size, size.widths(by_token="tok held out", by_position="pos"), ((first,), (second,)))
    return build(plan), plan.slices()


def alternating(n=90):
    """Two tokens in turn, so that the token before is the one that comes: different pairs."""
    pairs = torch.tensor([[a, b] for a in range(1, 16) for b in range(1, 16) if a != b])
    return pairs[torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0))[:n]].repeat(1, 5)


def from_second(tokens):
    return (torch.arange(tokens.shape[1]) > 1).expand(tokens.shape)


@pytest.fixture(scope="module")
def relayed():
    """The model, its lens, its held-out figures and the sequences that they are of."""
    model, tokens = relay()[0], alternating()
    generator, scored = torch.Generator().manual_seed(0), from_second(tokens)
    lens = tuned_lens(model, tokens[:60], generator, scored[:60])
    return model, lens, held_out(lens, model, tokens[60:], generator, scored[60:]), tokens[60:]


@pytest.fixture(scope="module")
def induced():
    """The same of the handmade induction model, on repeated tokens."""
    handmade = make("induction_k")
    tokens = repeated_tokens(Size(), n=120, seed=1)
    scored = seen_before(tokens).roll(1, dims=1)
    generator = torch.Generator().manual_seed(0)
    lens = tuned_lens(handmade.model, tokens[:88], generator, scored[:88])
    return handmade.model, lens, held_out(lens, handmade.model, tokens[88:], generator, scored[88:]), tokens[88:]


def test_the_tuned_lens_recovers_an_answer_in_another_basis_that_the_logit_lens_cannot_read(relayed):
    _, lens, found, _ = relayed
    at = lens.points.index(AFTER_0)
    assert float(found.logit.loss.mean[at]) == pytest.approx(math.log(16))
    assert float(found.tuned.kl.mean[at]) < 1e-4
    assert float(found.tuned.probability.mean[at]) > 0.99
    assert float(found.tuned.rank.mean[at]) == 0
    assert float(found.gain.low[at]) > 2.7
    assert float(found.bias_only.loss.mean[at]) > 2.6


def test_the_map_that_was_found_is_the_known_one(relayed):
    model, lens, _, tokens = relayed
    at, blocks = lens.points.index(AFTER_0), relay()[1]
    exact = torch.eye(58, dtype=torch.float64)
    exact[blocks["held"], blocks["out"]] = 12 * basis().T
    run = record(model, tokens, names=[AFTER_0])
    logits = translate(weights_of(model, fold=False), run[AFTER_0], exact, torch.zeros(58, dtype=torch.float64))
    assert torch.allclose(logits, run.output, atol=1e-9)
    # What `held` says of token t raises t over every other token, as in the exact map.
    read = basis() @ lens.full[at].A[blocks["held"], blocks["out"]]
    own, others = read.diagonal()[1:], read[1:, 1:].masked_fill(torch.eye(15, dtype=torch.bool), -torch.inf)
    assert bool((own > others.amax(1) + 2).all())


def test_nothing_is_read_before_the_answer_is_there(relayed):
    _, lens, found, _ = relayed
    at = lens.points.index("blocks.0.hook_resid_pre")
    assert float(found.tuned.loss.mean[at]) > math.log(14) - 0.05


def test_the_tuned_lens_does_not_pretend_to_read_induction_before_its_layer(induced):
    _, lens, found, _ = induced
    at = lens.points.index(AFTER_0)
    # Present and previous token are known there, and neither comes next: 13 of 15 are left. Nothing reads more.
    assert float(found.tuned.loss.mean[at]) > math.log(13) - 0.03
    assert float(found.tuned.loss.mean[at]) < found.tuned.uniform_loss
    assert float(found.tuned.loss.mean[-1]) < 1e-3


def test_two_back_cannot_be_read_where_it_lies_at_another_position(generator):
    handmade = make("two_back", n_ctx=10)
    tokens = random_tokens(handmade.model.config, 80, 9)
    lens = tuned_lens(handmade.model, tokens[:60], generator, from_second(tokens[:60]), points=(AFTER_0,))
    found = held_out(lens, handmade.model, tokens[60:], generator, from_second(tokens[60:]))
    assert float(found.tuned.kl.mean) > 0.9 * float(found.tuned.uniform_kl.mean)


def test_the_bias_only_control_says_what_the_model_says_on_average(generator):
    tokens = alternating(210)
    lens = tuned_lens(relay()[0], tokens, generator, from_second(tokens), ("hook_embed",))
    # W_U reads nothing of the embedding, and over all pairs each of 15 tokens is predicted as often.
    assert lens.bias_only[0].identity_kl == pytest.approx(math.log(16), abs=2e-3)
    assert lens.bias_only[0].training_kl == pytest.approx(math.log(15), abs=0.02)
    assert lens.bias_only[0].validation_kl < lens.bias_only[0].identity_kl
    assert torch.equal(lens.bias_only[0].A, torch.eye(58, dtype=torch.float64))


def test_at_the_last_point_the_tuned_lens_is_the_model():
    model, tokens = random_model(LAYER_NORM), random_tokens(LAYER_NORM, batch=30)
    generator = torch.Generator().manual_seed(0)
    lens = tuned_lens(model, tokens[:20], generator)
    found = held_out(lens, model, tokens[20:], generator)
    assert torch.equal(lens.full[-1].A, torch.eye(8, dtype=torch.float64))
    assert float(found.tuned.kl.mean[-1]) == pytest.approx(0, abs=1e-10)
    assert float(found.tuned.loss.mean[-1]) == pytest.approx(float(found.final_loss.mean()), abs=1e-10)


def test_no_translator_is_worse_than_its_control_and_that_than_the_logit_lens_on_the_validation_part():
    model, tokens = random_model(LAYER_NORM), random_tokens(LAYER_NORM, batch=8)
    lens = tuned_lens(model, tokens, torch.Generator().manual_seed(0))
    for full, control in zip(lens.full, lens.bias_only, strict=True):
        assert full.validation_kl <= control.validation_kl <= control.identity_kl


def test_the_logit_lens_beside_it_is_the_logit_lens(relayed):
    model, _, found, tokens = relayed
    alone = logit_lens(model, tokens, torch.Generator().manual_seed(5), from_second(tokens))
    assert torch.allclose(found.logit.loss.mean, alone.loss.mean)
    assert torch.allclose(found.logit.rank.mean, alone.rank.mean)
    paired = alone.loss.mean - found.tuned.loss.mean
    assert torch.allclose(found.gain.mean, paired)
    assert found.to_dict()["tuned"]["loss"]["mean"] == found.tuned.loss.mean.tolist()
    assert torch.allclose(found.losses_of("bias_only").mean(0), found.bias_only.loss.mean)


def test_an_untrained_model_has_no_answer_to_read(generator):
    model, tokens = make("untrained").model, repeated_tokens(Size(), n=60, seed=2)
    lens = tuned_lens(model, tokens[:40], generator)
    found = held_out(lens, model, tokens[40:], generator)
    assert float(found.gain.mean.abs().max()) < 0.03
    assert float(found.tuned.loss.mean.min()) > math.log(14) - 0.05


def test_the_translators_depend_on_the_seed_alone():
    model, tokens = random_model(LAYER_NORM), random_tokens(LAYER_NORM, batch=16)
    before, state = tokens.clone(), torch.get_rng_state()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    first, again, other = (tuned_lens(model, tokens, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert all(torch.equal(a.A, b.A) and torch.equal(a.b, b.b) for a, b in zip(first.full, again.full, strict=True))
    assert not torch.equal(first.full[0].A, other.full[0].A)
    assert torch.equal(tokens, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_model_in_half_precision_is_read_in_float32(generator):
    model, tokens = random_model(LAYER_NORM).bfloat16(), random_tokens(LAYER_NORM, batch=12)
    lens = tuned_lens(model, tokens[:8], generator, points=(AFTER_1,))
    assert lens.full[0].A.dtype == torch.float32
    found = held_out(lens, model, tokens[8:], generator)
    assert float(found.tuned.kl.mean) < 0.01


def test_each_point_is_told_as_it_is_worked_on(generator):
    told = []

    def progress(points):
        for point in points:
            told.append(point)
            yield point

    model, tokens = random_model(LAYER_NORM), random_tokens(LAYER_NORM, batch=8)
    tuned_lens(model, tokens, generator, points=(AFTER_0, AFTER_1), progress=progress)
    assert told == [0, 1]


def test_sequences_that_were_trained_on_are_not_held_out(relayed, generator):
    model, lens, _, tokens = relayed
    mixed = torch.cat([tokens[:3], lens.tokens[5:6]])
    for call in (
        lambda rows: held_out(lens, model, rows, generator),
        lambda rows: brought_by(lens, model, rows, AFTER_1, generator),
    ):
        with pytest.raises(InputError, match="1 of 4 held-out sequences were trained on"):
            call(mixed)
        with pytest.raises(InputError, match="1 of 4 held-out"):
            call(mixed[:, :4])


def test_training_that_cannot_be_is_refused(generator):
    model, tokens = random_model(LAYER_NORM), random_tokens(LAYER_NORM, batch=8)
    for call, message in (
        (lambda: tuned_lens(model, torch.cat([tokens, tokens[:2]]), generator), "2 of 10 repeat an earlier one"),
        (lambda: tuned_lens(model, tokens[:3], generator), "2 sequences with a scored position each, got 3"),
        (lambda: tuned_lens(model, tokens, generator, validation=0.9), "a share of 0.9"),
        (lambda: tuned_lens(model, tokens[:, :1], generator), "at least 2 tokens"),
        (lambda: tuned_lens(model, tokens, generator, tokens[:, 1:] > 0), "tokens' shape"),
        (lambda: tuned_lens(model, tokens, generator, points=()), "points must be different"),
        (lambda: tuned_lens(model, tokens, generator, points=(AFTER_0, AFTER_0)), "points must be different"),
    ):
        with pytest.raises(InputError, match=message):
            call()
    with intervene(model, {AFTER_0: lambda x: x / 0}), pytest.raises(InputError, match="NaN or infinit"):
        tuned_lens(model, tokens, generator)


def test_a_lens_of_another_model_or_point_is_refused(generator):
    model, tokens = random_model(LAYER_NORM), random_tokens(LAYER_NORM, batch=12)
    lens = tuned_lens(model, tokens[:8], generator, points=(AFTER_0,))
    wide = random_model(dataclasses.replace(LAYER_NORM, d_model=12))
    with pytest.raises(InputError, match="d_model 8, this model has 12"):
        held_out(lens, wide, tokens[8:], generator)
    with pytest.raises(InputError, match=r"no translator was trained for 'hook_embed'; there are blocks\.0"):
        lens.logits(weights_of(model, fold=False), "hook_embed", torch.zeros(1, 8, dtype=torch.float64))
    residual = torch.randn(3, 8, generator=generator, dtype=torch.float64)
    w, t = weights_of(model, fold=False), lens.full[0]
    assert torch.equal(lens.logits(w, AFTER_0, residual), lens_logits(w, residual @ t.A + t.b))
