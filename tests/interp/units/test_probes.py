"""Probes of values that hold a class, that do not, and that an untrained model holds as well."""

import pytest
import torch

from interp.errors import InputError
from interp.units import linear_probe


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(n=300, d=4, seed=1):
    return torch.randn(n, d, generator=seeded(seed))


LABELS = torch.arange(300) % 3
WRITTEN = noise() + 4 * torch.eye(3, 4)[LABELS]


def test_a_class_that_is_written_into_the_values_is_read_and_noise_is_not():
    written, empty = linear_probe(WRITTEN, LABELS, seeded()), linear_probe(noise(), LABELS, seeded())
    assert written.accuracy.low > 0.9
    assert written.accuracy.n == 90
    assert written.fitted == 210
    assert empty.accuracy.low < 1 / 3 < empty.accuracy.high
    for probe in (written, empty):
        assert probe.shuffled.n == 20
        assert abs(probe.shuffled.mean - 1 / 3) < 0.06
        assert abs(probe.majority - 1 / 3) < 0.12


def test_what_an_untrained_model_holds_as_well_is_no_gain():
    same = linear_probe(WRITTEN, LABELS, seeded(), untrained=2 * WRITTEN + 1)
    assert same.gain.mean == 0
    assert same.untrained.mean == same.accuracy.mean
    better = linear_probe(WRITTEN, LABELS, seeded(), untrained=noise(seed=5))
    assert better.gain.mean == pytest.approx(better.accuracy.mean - better.untrained.mean)
    assert better.gain.low > 0.4


def test_the_majority_is_that_of_the_training_labels():
    labels = (torch.arange(300) % 10 == 0).long()
    assert linear_probe(noise(), labels, seeded(), shuffles=2).majority == pytest.approx(0.9, abs=0.1)


def test_a_class_on_a_scale_of_its_own_is_read_as_well():
    scaled = WRITTEN.double() * torch.tensor([1e-6, 1e-6, 1e-6, 1.0]) + 3
    assert linear_probe(scaled, LABELS, seeded()).accuracy.low > 0.85


@pytest.mark.parametrize(
    ("values", "labels", "options", "message"),
    [
        (noise(4), LABELS, {}, "values and labels must be as many, got 4 and 300"),
        (noise(), torch.zeros(300, dtype=torch.long), {}, "all labels are the same"),
        (noise() / 0, LABELS, {}, "1200 of 1200 values are NaN or infinite"),
        (noise(), LABELS, {"untrained": noise(7)}, "untrained and labels must be as many"),
        (noise(), LABELS, {"held_out": 0.001}, "300 inputs to fit and 0 held out are too few"),
    ],
)
def test_bad_input_is_one_clear_line(values, labels, options, message):
    with pytest.raises(InputError, match=message):
        linear_probe(values, labels, seeded(), **options)
