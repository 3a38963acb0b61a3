"""`interp units`, `maximise` and `ablate` on runs on disk: what they say is what the run's model does."""

import pytest
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

from interp.hooks import intervene, record
from tests.small_shelf import shelf_run, superposition_run
from toy_models.image_config import ConvNetConfig
from toy_models.training import load_shelf_run, train_shelf
from toy_models.vector_config import DropoutAutoencoderConfig

pytest_plugins = ("tests.command_line",)

FIRST, POINT = "blocks.0.layer.hook_post", "blocks.1.layer.hook_post"
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Figures are made but not drawn."""
    for module in ("units", "maximise", "ablate"):
        monkeypatch.setattr(f"analyses.commands.{module}.png_bytes", drawn)


def drawn(figure, dpi):
    assert isinstance(figure, Figure)
    return PNG


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of a small run of each kind."""
    folder = tmp_path_factory.mktemp("shelf")
    configs = {
        "convnet": shelf_run(ConvNetConfig(widths=(4, 6), norm="batch"), n_train=200, steps=6),
        "dropout-ae": shelf_run(DropoutAutoencoderConfig(d_hidden=8), steps=2),
        "superposition": superposition_run(steps=2),
    }
    for name, config in configs.items():
        train_shelf(config, folder / name, progress=False)
    return folder


@pytest.fixture(scope="module")
def convnet(runs):
    """The model of the run with its held-out images and labels."""
    run = load_shelf_run(runs / "convnet")
    return run.model, run.objective.held_out.inputs, run.objective.held_out.targets


def test_units_writes_the_numbers_of_every_unit_trained_and_untrained(interp, runs, convnet, tmp_path):
    called = interp("units", runs / "convnet", "--out", tmp_path, "--json", "--inputs", 50)
    assert called.code == 0
    found = called.json
    model, images, _ = convnet
    values = record(model, images[:50], names=POINT)[POINT].double()
    units = found["responses"][POINT]["trained"]["units"]
    assert units["mean"]["mean"] == pytest.approx(values.mean((0, 2, 3)).tolist())
    assert units["std"]["mean"] == pytest.approx(values.transpose(0, 1).flatten(1).std(1, correction=0).tolist())
    assert units["dead"] == (values <= 0).all(0).flatten(1).all(1).tolist()
    assert found["responses"][POINT]["untrained"]["units"]["mean"]["mean"] != units["mean"]["mean"]
    assert found["inputs"] == 50
    assert found["gradients"]["trained"]["modules"] == ["blocks.0.layer.conv", "blocks.1.layer.conv", "classify"]
    assert [each["layer"]["target"] for each in found["linearity"]] == [FIRST, POINT]
    assert {operation["name"] for operation in found["unseen"]["unseen"]} == {"sub", "mul"}, "inside BatchNorm"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(found["files"])


def test_the_page_of_units_asks_nothing_of_the_network_and_has_every_point(interp, runs, tmp_path):
    called = interp("units", runs / "convnet", "--out", tmp_path)
    assert called.row(POINT)[1] == "6"
    page = (tmp_path / "units.html").read_text(encoding="utf-8")
    assert "http" not in page.replace("http-equiv", "")
    for words in (POINT, "All 6 units of", "blocks.0.layer.conv", "How linear each layer is", "interp units"):
        assert words in page


def test_an_autoencoder_and_a_model_of_features_are_measured_too(interp, runs, tmp_path):
    found = interp("units", runs / "dropout-ae", "--out", tmp_path, "--json").json
    assert found["linearity"][0]["layer"]["source"] is None
    found = interp("units", runs / "superposition", "--out", tmp_path, "--json").json
    assert list(found["responses"]) == ["hook_hidden"]
    assert found["linearity"] == []


def test_ablate_says_what_the_model_loses_without_the_units(interp, runs, convnet, tmp_path):
    called = interp("ablate", runs / "convnet", "--units", f"{POINT}:1,3", "--controls", 5, "--out", tmp_path, "--json")
    found = called.json["removal"]
    model, images, labels = convnet
    mean = record(model, images, names=POINT)[POINT].mean((0, 2, 3))

    def without(value):
        value[:, [1, 3]] = mean[[1, 3], None, None]
        return value

    with torch.no_grad():
        intact = model(images)
        with intervene(model, {POINT: without}):
            removed = model(images)
    assert found["loss"]["mean"] == pytest.approx(
        float(F.cross_entropy(removed, labels) - F.cross_entropy(intact, labels)), abs=1e-6
    )
    right = [(logits.argmax(1) == labels).double() for logits in (intact, removed)]
    assert found["accuracy"]["mean"] == pytest.approx(float((right[1] - right[0]).mean()))
    assert found["units"] == [f"{POINT}[1]", f"{POINT}[3]"]
    assert len(found["random"]["losses"]) == 5, "of the 6 pairs of other units"
    assert (
        found["random"]["p_loss"] == (1 + sum(each >= found["loss"]["mean"] for each in found["random"]["losses"])) / 6
    )
    assert [each["label"] for each in found["classes"]] == list(range(10))
    of_three = found["classes"][3]["loss"]["mean"]
    mine = labels == 3
    assert of_three == pytest.approx(
        float(F.cross_entropy(removed[mine], labels[mine]) - F.cross_entropy(intact[mine], labels[mine])), abs=1e-6
    )


def test_ablate_of_an_autoencoder_has_no_accuracy_and_still_says_which_class_suffers(interp, runs, tmp_path):
    words = ["--units", "hook_post:0-2", "--to", "zero", "--controls", 4, "--out", tmp_path]
    called = interp("ablate", runs / "dropout-ae", *words)
    assert called.code == 0
    assert "accuracy" not in called.out
    assert called.row("4", "random")[:3] == ["4", "random", "sets"]
    page = (tmp_path / "ablate.html").read_text(encoding="utf-8")
    assert "What breaks, class by class" in page
    assert "--units hook_post:0-2 --to zero" in page


def test_maximise_makes_images_that_drive_the_unit_as_it_says(interp, runs, convnet, tmp_path):
    words = ["--unit", f"{POINT}:4", "--unit", f"{FIRST}:0", "--steps", 15, "--out", tmp_path, "--json"]
    found = interp("maximise", runs / "convnet", *words).json["points"]
    model, images, _ = convnet
    for point, index, each in zip((POINT, FIRST), (4, 0), found, strict=True):
        unit = each["units"][0]
        image = torch.tensor(unit["image"])
        responses = record(model, images, names=point)[point][:, index].flatten(1).amax(1)
        own = record(model, image[None], names=point)[point][0, index].max()
        assert (each["point"], unit["unit"]) == (point, index)
        assert each["trained"]["response"][index] == pytest.approx(float(own), rel=1e-5)
        assert each["trained"]["best_real"][index] == pytest.approx(float(responses.max()), rel=1e-5)
        assert unit["strongest_examples"] == responses.topk(3).indices.tolist()
        assert float(images.min()) <= float(image.min()) <= float(image.max()) <= float(images.max())
        assert 0 < unit["p_ratio"] <= 1
    assert set(found[0]["difference"]) == {"log ratio", "own image"}
    assert found[1]["difference"] is None, "of four filters"
    assert (tmp_path / "maximise-blocks-1-layer-hook_post.png").read_bytes() == PNG


def test_maximise_shows_a_whole_point_and_inputs_that_are_no_images(interp, runs, tmp_path):
    called = interp("maximise", runs / "superposition", "--unit", "hook_hidden", "--steps", 5, "--out", tmp_path)
    assert called.code == 0
    assert "Fewer than 5 units of the net" in " ".join(called.out.split())
    assert "What drives hook_hidden" in (tmp_path / "maximise.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["units", "--point", "blocks.0.layer.hook_pots"], "did you mean blocks.0.layer.hook_post"),
        (["units", "--inputs", 1], "--inputs must be at least 2, got 1"),
        (["maximise"], "which unit? Name one with --unit"),
        (["maximise", "--unit", f"{POINT}:6"], f"{POINT} has units 0 to 5, there is no unit 6"),
        (["maximise", "--unit", POINT, "--steps", 0], "--steps must be at least 1, got 0"),
        (["ablate"], "which units? Name them with --units"),
        (["ablate", "--units", f"{POINT}:x"], "a unit is named as NAME:K"),
        (["ablate", "--units", f"{POINT}:1", "--controls", 1], "--controls must be at least 2, got 1"),
        (["ablate", "--units", f"{POINT}:1", "--to", "median"], "median"),
    ],
)
def test_bad_input_is_one_line_and_code_2_and_writes_nothing(interp, runs, tmp_path, words, message):
    called = interp(words[0], runs / "convnet", *words[1:], "--out", tmp_path / "new")
    assert called.code == 2
    assert message in called.err
    assert called.err.count("\n") == 1
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("command", [["units"], ["maximise", "--unit", "hook_z:0"], ["ablate", "--units", "hook_z:0"]])
def test_a_transformer_is_refused_in_one_line(interp, tiny, command):
    called = interp(command[0], tiny, *command[1:])
    assert called.code == 2
    assert "holds a transformer; a model of images or vectors is needed" in called.err
