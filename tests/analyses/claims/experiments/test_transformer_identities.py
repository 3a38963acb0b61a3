"""Exact transformer claims: against a closed form, or a computation that shares nothing with theirs."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from analyses.claims import judge
from analyses.claims.experiments import (
    transformer_convolution,
    transformer_handmade,
    transformer_mlps,
    transformer_norms,
    transformer_places,
    transformer_stream,
    transformer_tied,
)
from analyses.claims.experiments.transformer_convolution import IN, KERNEL, OUT, convolved, interior, neighbours
from analyses.claims.experiments.transformer_handmade import one_layer, score
from analyses.claims.experiments.transformer_models import random_tokens, random_transformer, squeezed
from analyses.claims.running import run_claim
from interp.circuits import Factored
from toy_models.handmade import make

IDENTITIES = [
    claim
    for module in (
        transformer_convolution, transformer_handmade, transformer_mlps, transformer_norms, transformer_places,
        transformer_stream, transformer_tied,
    )
    for claim in module.CLAIMS
    if not claim.trained
]  # fmt: skip


@pytest.mark.parametrize("claim", IDENTITIES, ids=lambda claim: claim.name)
def test_every_identity_holds_and_the_wrong_way_misses_by_a_thousand_times_the_tolerance(claim):
    result = run_claim(claim, seeds=(7,))
    assert judge(result.parts).word == "holds"
    assert all(part.control[0] > 1000 * part.margin for part in result.parts)


def test_attention_gives_what_a_convolution_written_as_a_sum_of_shifts_gives():
    generator = torch.Generator().manual_seed(0)
    kernel = torch.randn(OUT, IN, KERNEL, KERNEL, generator=generator, dtype=torch.float64)
    image = torch.rand(30, IN, generator=generator, dtype=torch.float64)
    padded = F.pad(image.view(5, 6, IN), (0, 0, 1, 1, 1, 1))
    wanted = sum(
        padded[dy : dy + 5, dx : dx + 6] @ kernel[:, :, dy, dx].T for dy, dx in itertools.product(range(3), repeat=2)
    )
    found = convolved(image, kernel, torch.arange(9), "bidirectional", "cpu")
    torch.testing.assert_close(found, wanted.flatten(0, 1), rtol=0, atol=1e-6)


def test_heads_look_at_their_neighbour_and_outside_at_the_border():
    assert int(interior().sum()) == 3 * 4
    at = neighbours()
    assert at[4].tolist() == list(range(31))  # the middle of the kernel is the pixel itself
    assert at[0, 1] == 0
    assert at[0, 1 + 6 + 1] == 1
    assert at[8, 1] == 1 + 6 + 1


def test_a_squeezed_model_is_the_same_function_along_orthonormal_directions_and_another_along_fewer():
    handmade = make("induction_k")
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(82, 82, generator=generator, dtype=torch.float64))[0]
    tokens = handmade.example_tokens
    torch.testing.assert_close(squeezed(handmade.model, rotation)(tokens), handmade.model(tokens), rtol=0, atol=1e-9)
    narrow = squeezed(handmade.model, rotation[:, :20])
    assert narrow.config.d_model == 20
    assert float((narrow(tokens) - handmade.model(tokens)).detach().abs().max()) > 1


def test_fields_along_orthogonal_directions_lose_nothing_and_in_ever_fewer_dimensions_all():
    row = transformer_stream.fields_in_fewer_dimensions(0, "cpu", 1.0)
    accuracies = row["accuracies"]
    assert accuracies[0] == 1
    assert accuracies[-1] < 0.2
    assert accuracies[1] > accuracies[3] > accuracies[-1]


@pytest.mark.parametrize("kind, name", [("K", "induction_k"), ("V", "two_back")])
def test_the_handmade_score_is_one_over_the_root_of_the_vocabulary(kind, name):
    assert score(make(name), kind) == pytest.approx(1 / math.sqrt(16))
    assert score(make(name, d_vocab=25), kind) == pytest.approx(1 / 5)


def test_one_layer_reads_the_embeddings_of_the_model_and_writes_through_the_circuit():
    model = random_transformer(0, "cpu", biases=False)
    tokens = random_tokens(0, "cpu", model)
    generator = torch.Generator().manual_seed(0)
    A, B = torch.randn(16, 5, generator=generator), torch.randn(5, 16, generator=generator)
    one = one_layer(model, Factored(A.double(), B.double()))
    x = model.W_E[tokens] + model.W_pos
    out = one.blocks[0](x, None) - x
    torch.testing.assert_close(out[:, 0], x[:, 0] @ (A @ B).double(), rtol=0, atol=1e-5)


def test_the_best_tied_fit_of_a_chain_that_goes_round_is_the_even_guess():
    row = transformer_tied.best_fits(0, "cpu", 1.0)
    entropy = -(0.9 * math.log(0.9) + 2 * 0.05 * math.log(0.05))
    assert row["cycle, tied"] == pytest.approx(math.log(3) - entropy, abs=1e-9)
    assert row["cycle, even"] == pytest.approx(math.log(3) - entropy, abs=1e-9)
