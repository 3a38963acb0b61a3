"""Losses and scores against their formulas; data that nothing can be learnt from are refused."""

import math
from dataclasses import replace

import pytest
import torch

from tests.small_shelf import shelf_run, superposition_run
from toy_models.errors import InputError
from toy_models.mlp import MLP
from toy_models.shelf_config import ShelfRunConfig
from toy_models.shelf_data_config import DigitsConfig, FeaturesConfig, FolderConfig
from toy_models.training.objectives import (
    Classification,
    Examples,
    Reconstruction,
    Regression,
    SparseFeatures,
    objective_of,
    score_each,
    split_images,
)
from toy_models.training.objectives.base import Epochs
from toy_models.training.objectives.features import draw_features
from toy_models.vector_config import DropoutAutoencoderConfig, MLPConfig
from toy_models.vision.data import LabelledImages

CPU = torch.device("cpu")


def images(n=12, size=2, classes=3, low=0.0, high=1.0) -> LabelledImages:
    drawn = torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(0)) * (high - low) + low
    names = tuple("abc"[:classes])
    return LabelledImages(drawn, torch.arange(n) % classes, names, "drawn")


def test_scores_of_a_classifier_are_cross_entropy_and_hits_of_each_example():
    objective = Classification(images(), images())
    logits = torch.tensor([[0.0, math.log(3), 0.0], [0.0, 0.0, 5.0]])
    scores = objective.scores(logits, torch.tensor([1, 0]))
    assert scores["loss"].tolist() == pytest.approx([-math.log(3 / 5), math.log(2 + math.exp(5))], rel=1e-6)
    assert scores["accuracy"].tolist() == [1.0, 0.0]
    assert objective.loss(logits, torch.tensor([1, 0])).item() == pytest.approx(scores["loss"].mean().item())


def test_chance_of_a_classifier_is_that_of_the_classes_shares_among_training_images():
    """Two thirds a, one third b; held out are three b and one a."""
    train = replace(images(6, classes=2), labels=torch.tensor([0, 0, 0, 0, 1, 1]))
    held_out = replace(images(4, classes=2), labels=torch.tensor([1, 1, 1, 0]))
    chance = Classification(train, held_out).chance()
    assert chance["accuracy"] == 0.25
    assert chance["loss"] == pytest.approx(-(3 * math.log(1 / 3) + math.log(2 / 3)) / 4)


def test_a_model_is_measured_in_evaluation_mode_and_left_as_it_was():
    objective = Classification(images(), images())
    model = MLP(MLPConfig(d_in=4, widths=(5,), d_out=3, norm="batch", dropout=0.5), torch.Generator().manual_seed(0))
    model.train().blocks[0].norm.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = objective.measure(model, "training")
    assert model.training
    assert not model.blocks[0].norm.training
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in before.items())
    logits = model.eval()(objective.train.inputs)
    assert found["accuracy"] == (logits.argmax(1) == objective.train.targets).double().mean()
    assert score_each(model, objective, objective.train)["loss"].mean().item() == pytest.approx(found["loss"], rel=1e-6)


def test_large_sets_are_measured_in_parts_with_the_same_result(monkeypatch):
    objective = Classification(images(), images())
    model = MLP(MLPConfig(d_in=4, widths=(5,), d_out=3), torch.Generator().manual_seed(0))
    whole = objective.measure(model)
    monkeypatch.setattr("toy_models.training.objectives.base.CHUNK", 20)
    assert objective.measure(model) == pytest.approx(whole)


def test_reconstruction_is_measured_by_mean_squares_over_pixels_beside_those_of_the_mean():
    train, held_out = torch.tensor([[[[0.0, 1.0]]], [[[1.0, 1.0]]]]), torch.tensor([[[[0.0, 0.0]]]])
    objective = Reconstruction(train, held_out)
    output = torch.tensor([[0.5, 0.0], [1.0, 1.0]])
    assert objective.loss(output, objective.train.targets).item() == pytest.approx((0.25 + 1) / 4)
    assert objective.scores(output, objective.train.targets)["loss"].tolist() == pytest.approx([1.25 / 2, 0])
    assert objective.chance() == {"loss": pytest.approx((0.5**2 + 1) / 2)}


def test_features_count_by_importance_and_are_absent_as_often_as_they_are_sparse(generator):
    config = FeaturesConfig(n_features=3, sparsity=0.8, importance=0.5)
    objective = SparseFeatures(config)
    output, x = torch.tensor([[1.0, 1.0, 1.0]]), torch.tensor([[0.0, 0.5, 0.0]])
    expected = (1 + 0.5 * 0.25 + 0.25) / 3
    assert objective.loss(output, x).item() == pytest.approx(expected)
    assert objective.scores(output, x)["loss"].tolist() == pytest.approx([expected])
    drawn = draw_features(config, 20000, generator)
    assert (drawn == 0).double().mean().item() == pytest.approx(0.8, abs=0.01)
    assert drawn[drawn > 0].mean().item() == pytest.approx(0.5, abs=0.01)
    assert drawn.max() <= 1


def test_chance_on_features_is_their_variance_weighted():
    """E x² = (1 - s) / 3, (E x)² = (1 - s)² / 4."""
    config = FeaturesConfig(n_features=2, sparsity=0.6, importance=0.5, n_held_out=50_000)
    variance = 0.4 / 3 - 0.4**2 / 4
    assert SparseFeatures(config).chance()["loss"] == pytest.approx(variance * 1.5 / 2, rel=0.02)


def test_an_epoch_reads_every_example_at_most_once_in_an_order_of_its_own():
    examples = Examples(torch.arange(10.0)[:, None], torch.arange(10))
    source = Epochs(examples, 3, seed=0)
    epochs = [[source.draw(3 * e + place).targets.tolist() for place in range(3)] for e in range(2)]
    for epoch in epochs:
        assert len({number for batch in epoch for number in batch}) == 9
    assert epochs[0] != epochs[1]
    again = Epochs(examples, 3, seed=0)
    assert again.draw(4).targets.tolist() == epochs[1][1]
    assert Epochs(examples, 3, seed=1).draw(0).targets.tolist() != epochs[0][0]
    assert Epochs(examples, 10, seed=0).draw(7) is examples


def test_images_are_split_by_seed_and_as_many_trained_on_as_asked():
    train, held_out = split_images(DigitsConfig(n_train=30, held_out=0.1), seed=0)
    everything, same = split_images(DigitsConfig(held_out=0.1), seed=0)
    assert (len(train), len(held_out), len(everything)) == (30, 179, 1618)
    assert torch.equal(held_out.images, same.images)
    rows = {tuple(image.flatten().tolist()) for image in everything.images}
    assert all(tuple(image.flatten().tolist()) in rows for image in train.images)
    with pytest.raises(InputError, match=r"n_train is 2000, but scikit-learn's digits has 1438 training images"):
        split_images(DigitsConfig(n_train=2000), seed=0)


def test_images_that_do_not_fit_into_memory_are_refused(monkeypatch):
    def too_large(size):
        raise RuntimeError("can't allocate memory")

    monkeypatch.setattr("toy_models.training.objectives.of_run.digits", too_large)
    with pytest.raises(InputError, match="images of 900 x 900 pixels do not fit into memory"):
        split_images(DigitsConfig(size=900), seed=0)


def test_each_kind_of_model_has_its_objective():
    assert isinstance(objective_of(shelf_run()), Classification)
    assert isinstance(objective_of(superposition_run()), SparseFeatures)
    autoencoder = objective_of(shelf_run(DropoutAutoencoderConfig()))
    assert isinstance(autoencoder, Reconstruction)
    assert autoencoder.train.targets.shape == (40, 64)


def test_the_fingerprint_is_that_of_the_held_out_examples():
    first = objective_of(shelf_run())
    assert first.fingerprint() == objective_of(shelf_run(steps=99)).fingerprint()
    assert first.fingerprint() != objective_of(shelf_run(seed=1)).fingerprint()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"images": torch.full((12, 1, 2, 2), torch.nan)},
            "48 of 48 pixels of the training images are NaN or infinite",
        ),
        (
            {"images": torch.full((12, 1, 2, 2), 255.0)},
            r"pixels must lie in \[0, 1\], those of the training images lie ",
        ),
        ({"images": torch.zeros(12, 1, 2, 2).byte()}, "must be floating-point numbers, got torch.uint8: divide by"),
        ({"images": torch.zeros(12, 4)}, r"training images must be \[n channel y x\]"),
        ({"labels": torch.zeros(12).long()}, "at least 2 classes, but all 12 are 'a'"),
        ({"labels": torch.arange(12)}, "labels must be 0 to 2, got 0 to 11"),
        ({"labels": torch.arange(3)}, "12 training images need a label each"),
    ],
)
def test_images_that_no_classifier_can_learn_from_are_refused(changes, message):
    values = {"images": images().images, "labels": images().labels, **changes}
    broken = LabelledImages.__new__(LabelledImages)
    for name, value in {**values, "classes": ("a", "b", "c"), "source": "drawn"}.items():
        object.__setattr__(broken, name, value)
    with pytest.raises(InputError, match=message):
        Classification(broken, images())


def test_whitened_images_are_taken_where_any_range_is_asked_for():
    Classification(images(low=-3, high=3), images(low=-3, high=3), any_range=True)
    with pytest.raises(InputError, match=r"pixels must lie in \[0, 1\]"):
        Classification(images(), images(low=-3, high=3))


def test_numbers_that_are_nan_are_refused_before_they_are_learnt():
    x = torch.ones(3, 2)
    with pytest.raises(InputError, match="1 of 6 numbers of the held-out targets are NaN or infinite"):
        Regression(
            Examples(x, x),
            Examples(
                x,
                x.clone()
                .index_fill_(0, torch.tensor([0]), 1.0)
                .masked_fill_(torch.tensor([[True, False], [False, False], [False, False]]), torch.inf),
            ),
        )


def test_training_examples_that_are_drawn_anew_cannot_be_measured_on():
    with pytest.raises(InputError, match="no training examples to measure on: each batch is drawn anew"):
        SparseFeatures(FeaturesConfig()).examples("training")


def test_a_folder_with_other_classes_than_the_models_is_refused(tmp_path):
    from PIL import Image

    for name in ("cat", "dog", "owl"):
        (tmp_path / name).mkdir()
        for number in range(2):
            Image.new("RGB", (4, 4), (40 * number, 0, 0)).save(tmp_path / name / f"{number}.png")
    model = MLPConfig(d_in=48, d_out=10)
    config = ShelfRunConfig(model, FolderConfig(path=str(tmp_path), size=4), shelf_run().train)
    with pytest.raises(InputError, match=rf"the model tells 10 classes apart, {tmp_path} has 3"):
        objective_of(config)
    found = objective_of(replace(config, model=replace(model, d_out=3)))
    assert isinstance(found, Classification)
    assert found.classes == ("cat", "dog", "owl")
    assert found.train.inputs.shape == (3, 3, 4, 4)
