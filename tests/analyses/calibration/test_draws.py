"""Draws are independent, the same every time, and spread evenly over kinds, noise and halves."""

from collections import Counter

import pytest
import torch

from analyses.calibration.draws import CIRCUITS, LEVELS, NO_INDUCTION, draw_models
from analyses.calibration.models import KEPT, build, own_task
from toy_models.handmade import make
from toy_models.handmade.model import NO_ANSWER
from toy_models.handmade.transforms import add_noise


def test_every_kind_meets_every_noise_level_once_in_each_half():
    draws = draw_models(14 * len(CIRCUITS), 0, seed=0)
    slots = Counter((draw.index % len(CIRCUITS), draw.level, draw.half) for draw in draws)
    assert len(slots) == len(CIRCUITS) * len(LEVELS) * 2
    assert set(slots.values()) == {1}


def test_random_weights_have_one_to_four_layers_equally_often_and_every_model_its_own_seed():
    draws = draw_models(30, 8 * len(NO_INDUCTION), seed=3)
    for name in ("untrained", "random_weights"):
        assert set(Counter(draw.layers for draw in draws if draw.name == name).values()) == {8}
    assert len({draw.seed for draw in draws}) == len(draws)
    assert not {draw.seed for draw in draws} & {draw.seed for draw in draw_models(30, 152, seed=4)}


def test_a_draw_gives_the_same_model_every_time_and_another_draw_another_one():
    first, second = draw_models(2, 0, seed=0)
    once, again, other = build(first), build(first), build(second)
    tokens = once.made.example_tokens
    assert torch.equal(once.made.model(tokens), again.made.model(tokens))
    assert once.noise == again.noise == 0.0
    assert once.made.model.W_E.shape != other.made.model.W_E.shape


def test_embedding_directions_are_random_and_orthonormal():
    draw = draw_models(1, 0, seed=0)[0]
    W_E = build(draw).made.model.W_E.double()
    assert torch.allclose(W_E @ W_E.T, torch.eye(len(W_E), dtype=torch.float64), atol=1e-5)
    assert float(W_E.abs().max()) < 0.9  # none lies along an axis


@pytest.mark.parametrize("index", [3, 4])
def test_the_unit_of_noise_is_where_the_model_loses_a_twentieth_of_its_accuracy(index):
    drawn = build(draw_models(5, 0, seed=0)[index])
    assert drawn.critical is not None
    assert drawn.kept is not None
    assert drawn.noise == pytest.approx(drawn.draw.level * drawn.critical)
    assert (drawn.kept >= KEPT) == (drawn.draw.level < 1) == drawn.easy


def test_a_models_own_task_is_answered_as_its_truth_says_with_other_tokens_too(generator):
    made = make("induction_q")
    tokens, answers = own_task(made, made.model, generator)
    known = answers != NO_ANSWER
    assert torch.equal(answers[:, :-1][known[:, :-1]], tokens[:, 1:][known[:, :-1]])
    assert not torch.equal(tokens[: len(made.example_tokens)], made.example_tokens)
    assert bool((tokens[:, 0] == 0).all())


def test_a_model_that_does_not_do_its_task_is_not_audited(generator):
    made = make("induction_k")
    broken = add_noise(made.model, 50.0, generator)
    with pytest.raises(AssertionError, match="induction_k does not do its own task"):
        own_task(made, broken, generator)
