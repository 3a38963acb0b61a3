"""Digits and folders of images: what is in them, splits that share nothing, and files that cannot be read."""

import numpy as np
import pytest
import torch
from PIL import Image

from toy_models.errors import InputError
from toy_models.vision.data import digits, image_folder


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def numbered():
    """The digits with each image's number in its first pixel, so that an image can be told from all others."""
    data = digits()
    data.images[:, 0, 0, 0] = torch.arange(len(data)) / len(data)
    return data


def test_the_digits_are_1797_images_of_ten_classes_with_pixels_from_0_to_1():
    data = digits()
    assert data.images.shape == (1797, 1, 8, 8)
    assert (data.images.min(), data.images.max()) == (0, 1)
    assert torch.equal(data.labels.bincount(), torch.tensor([178, 182, 177, 183, 181, 182, 181, 179, 174, 180]))


def test_upscaled_digits_keep_the_mean_of_each_image():
    small, large = digits(), digits(16)
    assert large.images.shape == (1797, 1, 16, 16)
    assert torch.allclose(large.images.mean((1, 2, 3)), small.images.mean((1, 2, 3)), atol=0.02)


def test_a_split_shares_no_image_and_takes_the_same_share_of_every_class():
    train, test = numbered().split(0.2, seeded())
    names = torch.cat([train.images[:, 0, 0, 0], test.images[:, 0, 0, 0]])
    assert len(names.unique()) == len(names) == 1797
    assert torch.equal(test.labels.bincount(), (0.2 * digits().labels.bincount()).round().long())
    again = numbered().split(0.2, seeded())[1]
    assert torch.equal(test.images, again.images)
    assert not torch.equal(test.labels, numbered().split(0.2, seeded(1))[1].labels)


def test_folds_test_every_image_once():
    tested = [test.images[:, 0, 0, 0] for _, test in numbered().folds(5, seeded())]
    assert torch.equal(torch.cat(tested).sort().values, torch.arange(1797) / 1797)
    for train, test in numbered().folds(3, seeded()):
        assert len(train) + len(test) == 1797


def a_folder(path, mode="L"):
    for name, value in (("cats", 64), ("dogs", 192)):
        (path / name).mkdir()
        for index in range(2):
            shape = (4, 6) if mode == "L" else (4, 6, 3)
            pixels = np.full(shape, value, np.uint8)
            if mode == "RGB":
                pixels[..., 2] = index
            Image.fromarray(pixels).save(path / name / f"{index}.png")
    return path


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_a_folder_of_images_is_read_with_a_class_for_each_sub_folder(tmp_path, channels, mode):
    data = image_folder(a_folder(tmp_path, mode), size=5, channels=channels)
    assert data.classes == ("cats", "dogs")
    assert data.labels.tolist() == [0, 0, 1, 1]
    assert data.images.shape == (4, channels, 5, 5)
    assert torch.allclose(data.images[:2, 0], torch.tensor(64 / 255))
    assert torch.allclose(data.images[2:, 0], torch.tensor(192 / 255))
    if channels == 3:
        assert torch.allclose(data.images[[1, 3], 2], torch.tensor(1 / 255))


def test_a_file_that_is_no_image_is_named(tmp_path):
    a_folder(tmp_path)
    (tmp_path / "dogs" / "broken.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"broken\.png cannot be read as an image"):
        image_folder(tmp_path, size=5)


def test_folders_that_cannot_serve_say_why(tmp_path):
    with pytest.raises(InputError, match="is no folder; give one with a sub-folder of images for each class"):
        image_folder(tmp_path / "nothing", size=5)
    with pytest.raises(InputError, match="has 0 sub-folders; one is needed for each of two classes"):
        image_folder(tmp_path, size=5)
    a_folder(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds no images"):
        image_folder(tmp_path, size=5)
    with pytest.raises(InputError, match="channels must be 1 for grey images or 3 for colour, got 2"):
        image_folder(tmp_path, size=5, channels=2)


def test_splits_that_cannot_be_made_say_why():
    with pytest.raises(InputError, match="the share of test images must lie between 0 and 1, got 1"):
        digits().split(1.0, seeded())
    one = digits().take(torch.arange(11))
    with pytest.raises(InputError, match="class '1' has 1 images; a test needs at least 2 in every class"):
        one.split(0.5, seeded())
    with pytest.raises(InputError, match="folds must number 2 to 1797"):
        next(iter(digits().folds(1, seeded())))
