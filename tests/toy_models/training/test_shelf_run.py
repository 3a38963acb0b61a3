"""Run folders of models of images and vectors: bit-for-bit resume, reading back, what is refused; what is learnt."""

import json
import os
import signal
from dataclasses import replace

import pytest
import torch

from tests.small_runs import metrics_of, small_run, without_time
from tests.small_shelf import MODEL, shelf_run, superposition_run
from toy_models.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from toy_models.errors import InputError
from toy_models.image_config import ConvNetConfig, ResNetConfig
from toy_models.shelf_checkpoint import load_shelf_checkpoint
from toy_models.shelf_config import ShelfRunConfig, ShelfTrainConfig
from toy_models.shelf_data_config import DigitsConfig
from toy_models.shelf_models import make_shelf_model
from toy_models.training import (
    TrainingInterrupted,
    load_run_config,
    load_shelf_config,
    load_shelf_run,
    train,
    train_shelf,
    train_shelf_in_memory,
)
from toy_models.training.objectives import Classification
from toy_models.training.seeds import generator_for
from toy_models.transformer import Transformer
from toy_models.weights_file import model_hash, read_tensors, tensor_bytes


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run without a break, of a perceptron with BatchNorm and dropout."""
    return train_shelf(shelf_run(), tmp_path_factory.mktemp("whole") / "run", progress=False)


def press_ctrl_c_at(step):
    def log(record):
        if record["step"] == step:
            os.kill(os.getpid(), signal.SIGINT)

    return log


# Going on


@pytest.mark.parametrize(
    "config",
    [
        shelf_run(),
        shelf_run(optimizer="sgd", weight_decay=0.01, decay="cosine", grad_clip=0.5),
        superposition_run(),
        ShelfRunConfig(
            ResNetConfig(depth=8, widths=(3, 4, 5), shortcut="B"), DigitsConfig(n_train=40), shelf_run(steps=7).train
        ),
    ],
    ids=["dropout and batch norm", "sgd", "superposition", "resnet"],
)
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(config, tmp_path):
    straight = train_shelf(config, tmp_path / "straight", progress=False)
    with pytest.raises(TrainingInterrupted) as raised:
        train_shelf(config, tmp_path / "broken", progress=False, log=press_ctrl_c_at(4))
    assert raised.value.step == 4
    assert f"interp train --resume {tmp_path}/broken" in str(raised.value)
    assert load_shelf_run(tmp_path / "broken").step == 4
    torch.rand(5)  # what others draw in between does not matter
    resumed = train_shelf(config, tmp_path / "broken", progress=False, resume=True)
    assert model_hash(resumed.model) == model_hash(straight.model)
    assert metrics_of(tmp_path / "broken") == metrics_of(tmp_path / "straight") == without_time(resumed.records)
    assert resumed.held_out == straight.held_out


def test_in_memory_and_into_a_folder_are_the_same_run(whole):
    in_memory = train_shelf_in_memory(shelf_run())
    assert model_hash(in_memory.model) == model_hash(whole.model)
    assert without_time(in_memory.records) == without_time(whole.records)
    assert (in_memory.config, in_memory.folder) == (whole.config, None)


def test_a_finished_run_is_read_and_not_trained_again(whole):
    before = {p: p.stat().st_mtime_ns for p in whole.folder.rglob("*")}
    again = train_shelf(shelf_run(), whole.folder, progress=False, resume=True)
    assert {p: p.stat().st_mtime_ns for p in whole.folder.rglob("*")} == before
    assert model_hash(again.model) == model_hash(whole.model)
    assert (again.held_out, again.seconds, again.step) == (whole.held_out, whole.seconds, 12)


# Reading back


def test_a_run_is_read_back_with_model_data_and_config(whole):
    run = load_shelf_run(whole.folder)
    assert (run.kind, run.config, run.step, run.path) == ("mlp", shelf_run(), 12, whole.folder)
    assert (
        run.model_hash
        == model_hash(whole.model)
        == json.loads((run.path / "run.json").read_text())["result"]["model_hash"]
    )
    assert not run.model.training
    assert isinstance(run.objective, Classification)
    assert run.objective.measure(run.model) == whole.held_out
    start = load_shelf_run(whole.folder / "checkpoints" / "step-00000000")
    assert start.step == 0
    assert model_hash(run.untrained()) == start.model_hash


def test_run_json_says_what_was_trained_and_what_a_constant_gets(whole):
    info = json.loads((whole.folder / "run.json").read_text())
    assert info["config"]["kind"] == "mlp"
    assert info["target"] == whole.objective.chance()
    assert info["result"]["measured"] == whole.held_out
    assert load_shelf_config(whole.folder) == shelf_run()


def test_transformers_and_other_models_are_not_taken_for_each_other(whole, tmp_path):
    with pytest.raises(
        CheckpointError, match=r"config\.json: holds a model of images or vectors \(mlp\); a transformer"
    ):
        load_checkpoint(whole.folder)
    save_checkpoint(tmp_path / "transformer", Transformer(small_run().model))
    with pytest.raises(CheckpointError, match=r"config\.json: holds a transformer; a model of images or vectors is "):
        load_shelf_run(tmp_path / "transformer")
    with pytest.raises(InputError, match="holds a run of mlp, and one of a transformer was asked for"):
        load_run_config(whole.folder)


# What is refused


def copied(whole, tmp_path):
    (tmp_path / "run").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "run" / name).write_bytes((whole.folder / name).read_bytes())
    return tmp_path / "run"


def without(name):
    return lambda tensors: tensors.pop(name)


def spoilt(tensors):
    tensors["classify.weight"][0, 0] = torch.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("blocks.0.norm.running_var"), "tensor blocks.0.norm.running_var is missing"),
        (without("blocks.0.norm.num_batches_tracked"), "tensor blocks.0.norm.num_batches_tracked is missing"),
        (lambda t: t.update(more=torch.ones(1)), "tensor more does not belong to this model"),
        (lambda t: t.update({"classify.bias": torch.ones(3)}), r"classify.bias has shape \[3\], expected \[10\]"),
        (
            lambda t: t.update({"blocks.0.norm.num_batches_tracked": torch.tensor(1.5)}),
            "is float32, expected one int64",
        ),
        (spoilt, r"classify.weight holds nan at \[0, 0\]"),
    ],
)
def test_damaged_weights_are_refused_by_name(whole, tmp_path, change, message):
    folder = copied(whole, tmp_path)
    tensors = read_tensors((folder / "model.safetensors").read_bytes())
    change(tensors)
    (folder / "model.safetensors").write_bytes(tensor_bytes(tensors))
    with pytest.raises(CheckpointError, match=rf"model\.safetensors: .*{message}"):
        load_shelf_checkpoint(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.safetensors", lambda data: data[:100], "truncated, or not a safetensors file"),
        ("config.json", lambda data: data[:50], "not a JSON file"),
        ("config.json", lambda data: data.replace(b'"kind": "mlp"', b'"kind": "mpl"'), "kind must be one of convnet"),
        ("config.json", lambda data: data.replace(b'"step": 12', b'"step": -1'), "step must be a whole number"),
        ("config.json", lambda data: data.replace(b'"format_version": 1', b'"format_version": 9'), "update interp"),
        ("config.json", lambda data: data.replace(b'"digits"', b'"dogs"'), "data must name its kind, one of digits"),
    ],
)
def test_damaged_files_are_refused_by_name(whole, tmp_path, name, content, message):
    folder = copied(whole, tmp_path)
    changed = content((folder / name).read_bytes())
    assert changed != (folder / name).read_bytes()
    (folder / name).write_bytes(changed)
    with pytest.raises(CheckpointError, match=rf"{name}: .*{message}"):
        load_shelf_checkpoint(folder)


def test_going_on_with_another_config_is_refused_and_the_difference_named(whole):
    with pytest.raises(InputError, match=r"holds another run: train\.learning_rate is 0\.01 there, asked for is 0\.5"):
        train_shelf(shelf_run(learning_rate=0.5), whole.folder, progress=False, resume=True)
    other = replace(shelf_run(), model=replace(MODEL, dropout=0.0))
    with pytest.raises(InputError, match=r"holds another run: model\.dropout is 0\.3 there, asked for is 0\.0"):
        train_shelf(other, whole.folder, progress=False, resume=True)
    with pytest.raises(InputError, match="holds a run of mlp, and one of superposition was asked for"):
        train_shelf(superposition_run(), whole.folder, progress=False, resume=True)
    with pytest.raises(InputError, match="holds a run of mlp, and one of a transformer was asked for"):
        train(small_run(), whole.folder, progress=False, resume=True)
    with pytest.raises(InputError, match="already holds a finished run"):
        train_shelf(shelf_run(), whole.folder, progress=False)


def test_going_on_with_other_images_is_refused(tmp_path, monkeypatch):
    with pytest.raises(TrainingInterrupted):
        train_shelf(shelf_run(), tmp_path / "run", progress=False, log=press_ctrl_c_at(3))
    other = train_shelf_in_memory(shelf_run(seed=1, steps=1)).objective
    with pytest.raises(
        InputError, match="held-out examples are others than when this run began; have its images changed"
    ):
        train_shelf(shelf_run(), tmp_path / "run", objective=other, progress=False, resume=True)


def test_nothing_is_written_for_a_run_that_cannot_be(tmp_path):
    with pytest.raises(InputError, match="more than one value for each unit"):
        train_shelf(shelf_run(batch_size=1), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


# What is learnt


def test_a_convolutional_net_learns_the_digits():
    config = ShelfRunConfig(ConvNetConfig(widths=(8, 16)), train=ShelfTrainConfig(steps=120, learning_rate=0.01))
    result = train_shelf_in_memory(config)
    assert result.held_out["accuracy"] > 0.9
    assert result.records[0]["eval_accuracy"] < 0.3


def test_a_residual_net_learns_faster_than_the_plain_one_of_its_depth():
    def last_loss(residual):
        train = ShelfTrainConfig(steps=30, optimizer="sgd", learning_rate=0.1)
        model = ResNetConfig(depth=20, widths=(4, 8, 8), residual=residual)
        records = train_shelf_in_memory(ShelfRunConfig(model, DigitsConfig(n_train=512), train)).records
        return sum(record["loss"] for record in records[-2:]) / 2

    assert last_loss(True) < last_loss(False) - 0.5


def test_the_model_of_a_run_is_drawn_by_its_seed_alone():
    before = torch.get_rng_state()
    made = [make_shelf_model(MODEL, generator_for(seed, "weights")) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    assert model_hash(made[0]) == model_hash(made[1]) != model_hash(made[2])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_training_on_a_gpu_draws_the_same_and_ends_near(tmp_path):
    """The same weights, batches and dropout masks; sums in another order, which SGD does not blow up as Adam would."""
    on_cpu = train_shelf_in_memory(shelf_run(optimizer="sgd"))
    on_gpu = train_shelf(shelf_run(optimizer="sgd", device="cuda"), tmp_path / "run", progress=False)
    for ours, theirs in zip(on_gpu.model.parameters(), on_cpu.model.parameters(), strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-2, atol=1e-3)
    assert on_gpu.held_out["loss"] == pytest.approx(on_cpu.held_out["loss"], rel=1e-2)
