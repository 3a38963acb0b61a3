"""`interp train KIND`: what it trains, what it says, and what it refuses in one line."""

import os
import signal

import pytest

from interp.stats import clopper_pearson
from toy_models.shelf_config import SHELF_MODELS, ShelfTrainConfig
from toy_models.shelf_data_config import DigitsConfig, FolderConfig
from toy_models.training import base_session, load_shelf_run
from toy_models.training.metrics_log import read_metrics

pytest_plugins = ("tests.command_line",)

QUICK = ["--steps", 4, "--n-train", 64, "--batch-size", 32]
SMALL = {
    "convnet": ["--widths", 3, 4, "--norm", "layer", *QUICK],
    "resnet": ["--depth", 5, "--widths", 3, "--block", "bottleneck", "--no-residual", *QUICK],
    "mlp": ["--widths", 6, "--dropout", 0.2, *QUICK],
    "dropout-ae": ["--d-hidden", 7, *QUICK],
    "superposition": ["--n-features", 6, "--d-hidden", 2, "--sparsity", 0.7, "--steps", 4, "--n-held-out", 64],
}


@pytest.mark.parametrize("kind", SHELF_MODELS)
def test_every_kind_is_trained_into_a_folder_that_can_be_read_back(interp, tmp_path, kind):
    called = interp("train", kind, *SMALL[kind], "--out", tmp_path / "run", "--seed", 3, "--json")
    assert called.code == 0
    run = load_shelf_run(tmp_path / "run")
    found = called.json
    assert (found["command"], found["kind"], found["seed"], found["step"]) == ("train", kind, 3, 4)
    assert found["parameters"] == sum(p.numel() for p in run.model.parameters())
    measured = run.objective.measure(run.model)
    for name, value in measured.items():
        assert found["scores"]["held-out"][name]["mean"] == pytest.approx(value, rel=1e-6)
        untrained = run.objective.measure(run.untrained())[name]
        assert found["scores"]["untrained, held-out"][name]["mean"] == pytest.approx(untrained, rel=1e-6)
    assert found["constant"] == run.objective.chance()
    assert ("training" in found["scores"]) == (kind != "superposition")


def test_options_reach_the_config_and_the_kinds_have_their_own_defaults(interp, tmp_path):
    interp("train", "resnet", *SMALL["resnet"], "--out", tmp_path / "run", "--drops", 0.25, "--decay", "step")
    config = load_shelf_run(tmp_path / "run").config
    assert (config.model.depth, config.model.widths, config.model.residual) == (5, (3,), False)
    assert config.data == DigitsConfig(n_train=64)
    assert config.train == ShelfTrainConfig(
        steps=4,
        batch_size=32,
        optimizer="sgd",
        learning_rate=0.1,
        weight_decay=1e-4,
        decoupled=False,
        decay="step",
        drops=(0.25,),
    )


def test_a_person_is_told_scores_with_intervals_beside_no_training_and_a_constant(interp, tmp_path):
    called = interp("train", "mlp", *SMALL["mlp"], "--out", tmp_path / "run")
    run = load_shelf_run(tmp_path / "run")
    n = len(run.objective.held_out)
    hits = round(run.objective.measure(run.model)["accuracy"] * n)
    exact = clopper_pearson(hits, n)
    row = " ".join(called.row("held-out", f"({n})"))
    assert row.endswith(f"{hits / n:.1%} [{exact.low:.1%}, {exact.high:.1%}]")
    constant = f"{run.objective.chance()['accuracy']:.1%}"
    assert called.row("best", "constant", "answer")[-1] == constant
    assert called.row("untrained,", "held-out", f"({n})")
    assert called.row("training", "(64)")
    assert "4 steps (2 epochs) in" in called.out
    assert called.out.rstrip().endswith(f"next: interp units {tmp_path / 'run'}")
    assert called.err.startswith(f"interp: training mlp, 4 steps, into {tmp_path / 'run'}")
    assert "step 4/4: loss" in called.err
    assert "held-out accuracy" in called.err
    assert f"(chance {constant})" in called.err


def test_epochs_stand_for_as_many_steps_as_they_take(interp, tmp_path):
    quick = ["--widths", 3, "--n-train", 90, "--batch-size", 32, "--epochs", 1.5]
    assert interp("train", "mlp", *quick, "--out", tmp_path / "run").code == 0
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]["step"] == 3  # an epoch has two full batches


def test_a_run_that_was_stopped_is_gone_on_with_by_either_command(interp, tmp_path, monkeypatch):
    def stop_at(step):
        advance = base_session.BaseSession.advance

        def stopping(session):
            if session.step == step:
                os.kill(os.getpid(), signal.SIGINT)
            return advance(session)

        monkeypatch.setattr(base_session.BaseSession, "advance", stopping)

    words = [*SMALL["mlp"], "--log-every", 1]
    whole = interp("train", "mlp", *words, "--out", tmp_path / "whole", "--json").json
    for command in (["train"], ["train", "mlp"]):
        folder = tmp_path / command[-1]
        with monkeypatch.context():
            stop_at(1)
            stopped = interp("train", "mlp", *words, "--out", folder)
        monkeypatch.undo()
        assert stopped.code == 130
        assert stopped.err.splitlines()[-1].endswith(f"to go on: interp train --resume {folder}")
        gone_on = interp(*command, "--resume", folder, "--json").json
        assert gone_on["scores"] == whole["scores"]
        assert load_shelf_run(folder).model_hash == load_shelf_run(tmp_path / "whole").model_hash


def test_images_of_a_folder_are_brought_to_a_size_and_classes_counted(interp, tmp_path):
    from PIL import Image

    for number, name in enumerate(("cat", "dog", "owl")):
        (tmp_path / "images" / name).mkdir(parents=True)
        for each in range(4):
            Image.new("RGB", (9, 5), (80 * number, 20 * each, 0)).save(tmp_path / "images" / name / f"{each}.png")
    words = ["--data", tmp_path / "images", "--size", 8, "--batch-size", 4, "--steps", 2, "--widths", 2]
    assert interp("train", "convnet", *words, "--out", tmp_path / "run").code == 0
    config = load_shelf_run(tmp_path / "run").config
    assert (config.model.size, config.model.channels, config.model.n_classes) == (8, 3, 3)
    assert config.data == FolderConfig(path=str(tmp_path / "images"), size=8)
    assert interp("train", "mlp", *words, "--grey", "--out", tmp_path / "grey").code == 0
    assert load_shelf_run(tmp_path / "grey").config.model.d_in == 64


@pytest.fixture(scope="module")
def shelf_folder(tmp_path_factory):
    from analyses import cli

    folder = tmp_path_factory.mktemp("shelf") / "run"
    assert cli.run([str(word) for word in ("train", "mlp", *SMALL["mlp"], "--out", folder)]) == 0
    return folder


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "convent"], "there is no kind 'convent'; did you mean convnet?"),
        (["train", "vit"], "there is no kind 'vit'; known: convnet, resnet, mlp, dropout-ae, superposition"),
        (["train", "resnet", "--depth", "21"], "depth must be 6 n + 2 with 3 stages of basic blocks (8, 14, 20 ...)"),
        (["train", "mlp", "--data", "/no/such/folder"], "/no/such/folder is no folder"),
        (["train", "mlp", "--grey"], "--grey belongs to --data FOLDER"),
        (["train", "mlp", "--epochs", "0"], "--epochs must be above 0, got 0.0"),
        (["train", "mlp", "--size", "0"], "size must be at least 1, got 0"),
        (
            ["train", "mlp", "--norm", "batch", "--batch-size", "1"],
            "BatchNorm in training mode needs more than one value",
        ),
        (["train", "mlp", "--batch-size", "5000"], "a batch of 5000 is more than the 1438 training examples"),
        (["train", "mlp", "--n-train", "9999"], "n_train is 9999, but scikit-learn's digits has 1438 training images"),
        (["train", "mlp", "--size", "4000000"], "size must be at most 1024, got 4000000"),
        (["train", "superposition", "--data", "digits"], "unrecognized"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line_before_anything_is_written(interp, tmp_path, words, message):
    called = interp(*words, "--out", tmp_path / "run") if words[1] not in ("convent", "vit") else interp(*words)
    assert called.code == 2
    assert message in called.err
    assert called.err.count("\n") == 1
    assert called.out == ""
    assert not (tmp_path / "run").exists()


def test_each_command_says_what_a_folder_of_the_other_kind_holds(interp, shelf_folder, run_folder):
    called = interp("heads", shelf_folder)
    assert called.code == 2
    assert called.err.splitlines()[-1] == (
        f"interp: {shelf_folder}/config.json: holds a model of images or vectors (mlp); a transformer is needed here"
    )
    for folder, holds in ((run_folder, "a transformer"), (shelf_folder, "mlp")):
        called = interp("train", "convnet", "--resume", folder)
        assert called.code == 2
        assert f"{folder} holds a run of {holds}, and " in called.err


def test_going_on_takes_no_other_option(interp, shelf_folder):
    for words in (["--steps", 9], ["--widths", 9], ["--seed", 9]):
        called = interp("train", "mlp", "--resume", shelf_folder, *words)
        assert called.code == 2
        assert "--resume takes everything from the run" in called.err


def test_each_kind_has_help_of_its_own_that_says_what_its_options_mean(interp):
    for kind in SHELF_MODELS:
        called = interp("help", "train", kind)
        assert called.code == 0
        assert called.out == interp("train", kind, "--help").out
        assert called.out.startswith(f"usage: interp train {kind} ")
        assert "{None" not in called.out.replace("{None}|FLOAT", "")
    assert "interp train convnet" in interp("--help").out
