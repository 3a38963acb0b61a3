"""Attention to what is already predicted, on the handmade model that suppresses copies and on those that do not."""

import pytest
import torch

from interp.heads.predicted import OTHER_PREDICTIONS, SHUFFLED, predicted_entries, predicted_readings
from interp.weights import weights_of
from toy_models.handmade import make
from toy_models.handmade.blocks import Size
from toy_models.handmade.model import repeated_tokens

TOKENS = repeated_tokens(Size(), period=8, repeats=3)


def readings_of(name, generator):
    model = make(name).model
    return predicted_readings(model, weights_of(model), TOKENS, generator)


def test_entries_are_earlier_places_of_the_predicted_token_and_never_the_first_position():
    tokens = torch.tensor([[4, 7, 5, 7, 4]])
    predicted = torch.tensor([[4, 7, 7, -1, 4]])
    found = predicted_entries(tokens, predicted).nonzero()[:, 1:].tolist()
    assert found == [[1, 1], [2, 1], [4, 4]]


def test_only_layers_before_which_something_is_predicted_are_read(generator):
    assert set(readings_of("copy_suppression", generator)) == {2}
    assert readings_of("anti_copying", generator) == {}
    assert readings_of("untrained", generator) == {}


def test_the_suppressing_head_attends_to_predictions_and_takes_half_the_gain_from_them(generator):
    found = readings_of("copy_suppression", generator)[2]
    assert float(found.attention.mean()) > 0.85
    assert all(float(found.nulls[name].mean()) < 0.3 for name in (SHUFFLED, OTHER_PREDICTIONS))
    assert float(found.push.mean()) == pytest.approx(-6, abs=1)


def test_the_shuffled_null_is_the_share_of_keys_that_hold_the_prediction(generator):
    """Rows of attention sum to 1, so their mean weight is 1 / (i + 1) for each entry."""
    found = readings_of("copy_suppression", generator)[2]
    eligible = found.entries.any(-1)
    keys = torch.arange(1, found.entries.shape[-1] + 1)
    share = (found.entries.sum(-1) / keys * eligible).sum(-1) / eligible.sum(-1)
    torch.testing.assert_close(found.nulls[SHUFFLED][:, 0], share.double(), atol=1e-6, rtol=0)
