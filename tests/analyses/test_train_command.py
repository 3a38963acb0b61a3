"""`interp train` and `interp demo`: what they make of options, folders and runs that are there."""

import json
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from analyses import exits
from analyses.arguments import Train
from analyses.commands import demo
from analyses.commands import train as train_command
from analyses.parsing import parse
from tests.small_runs import TARGET
from toy_models import training
from toy_models.checkpoint import load_checkpoint
from toy_models.task_config import MarkovConfig, RepeatedTokensConfig
from toy_models.train_config import RunConfig, TrainConfig
from toy_models.training import TrainingDiverged

pytest_plugins = ("tests.command_line",)

SMALL = (
    *("--repeated-tokens.d-vocab", 12, "--repeated-tokens.n-ctx", 24, "--repeated-tokens.min-period", 3),
    *("--repeated-tokens.max-period", 6, "--repeated-tokens.max-offset", 4, "--model.d-model", 12),
    *("--model.n-heads", 2, "--train.steps", 6, "--train.batch-size", 4, "--train.eval-sequences", 8),
    *("--train.eval-every", 3, "--train.log-every", 3, "--device", "cpu"),
)


@pytest.fixture(autouse=True)
def known_target(monkeypatch):
    """The target of the small task is not measured anew."""
    monkeypatch.setattr(training.run, "measure_target", lambda task: TARGET)


def config_of(*words):
    """The task and the run's config that `interp train` makes of these options."""
    options = parse(["train", *map(str, words)])
    assert isinstance(options, Train)
    return train_command.run_config(options)


def press_ctrl_c_at(monkeypatch, step):
    real = training.run.Session.advance

    def advance(session):
        update = real(session)
        if session.step == step:
            os.kill(os.getpid(), signal.SIGINT)
        return update

    monkeypatch.setattr(training.run.Session, "advance", advance)


def test_train_writes_a_run_that_the_other_commands_read(interp, tmp_path):
    called = interp("train", *SMALL, "--out", tmp_path / "run", "--seed", 5)
    assert called.code == 0
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["status"] == "finished"
    assert info["config"]["train"]["seed"] == 5
    assert info["config"]["model"]["d_vocab"] == 12
    assert info["config"]["model"]["n_ctx"] == 24
    assert "6 of 6 steps" in called.out
    assert called.row("model")[1] == f"{info['result']['eval_loss']:.3f}"
    assert called.row("chance")[-1] == "2.485"
    assert "0.135 ± 0.001" in called.out
    assert called.out.endswith(f"next: interp audit {tmp_path / 'run'}\n\n")
    assert f"training 6 steps on repeated-tokens into {tmp_path / 'run'}" in called.err
    assert interp("composition", tmp_path / "run", "--json").json["model"]["step"] == 6


def test_train_prints_nothing_but_json_when_asked(interp, tmp_path):
    called = interp("train", *SMALL, "--out", tmp_path / "run", "--json")
    result = json.loads((tmp_path / "run" / "run.json").read_text())["result"]
    assert called.json["run"] == str(tmp_path / "run")
    assert called.json["loss"] == result["eval_loss"]
    assert called.json["predictable_loss"] == result["eval_predictable_loss"]
    assert called.json["target"]["optimum"]["mean"] == 0.135
    gap = (TARGET.chance - result["eval_predictable_loss"]) / (TARGET.chance - 0.135)
    assert called.json["gap_closed"] == pytest.approx(gap)
    assert "step 3/6" in called.err


def test_the_folder_is_named_after_task_and_seed(interp, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert interp("train", *SMALL, "--seed", 3).code == 0
    assert load_checkpoint(tmp_path / "runs" / "repeated-tokens-seed3").config.d_vocab == 12


def test_a_run_that_is_there_is_never_replaced(interp, run_folder, tree):
    before = tree(run_folder)
    called = interp("train", *SMALL, "--out", run_folder)
    assert called.code == 2
    assert "already holds a finished run; choose another folder" in called.err.splitlines()[-1]
    assert tree(run_folder) == before


def test_ctrl_c_keeps_a_checkpoint_and_the_run_goes_on_to_the_same_end(interp, tmp_path, monkeypatch):
    whole = interp("train", *SMALL, "--out", tmp_path / "whole", "--json").json
    with monkeypatch.context() as patch:
        press_ctrl_c_at(patch, 4)
        stopped = interp("train", *SMALL, "--out", tmp_path / "broken")
    assert (stopped.code, stopped.out) == (130, "")
    line = stopped.err.splitlines()[-1]
    assert line == f"interp: stopped after 4 of 6 steps; to go on: interp train --resume {tmp_path / 'broken'}"
    assert load_checkpoint(tmp_path / "broken").metadata["step"] == 4
    resumed = interp(*line.split("interp ")[-1].split(), "--json")
    assert resumed.code == 0
    assert resumed.json["loss"] == whole["loss"]
    hashes = [load_checkpoint(tmp_path / name).model_hash for name in ("whole", "broken")]
    assert hashes[0] == hashes[1]


def test_resuming_a_finished_run_says_what_came_of_it(interp, run_folder):
    called = interp("train", "--resume", run_folder)
    assert called.code == 0
    assert "24 of 24 steps" in called.out


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["--train.steps", 9], "--train"),
        (["--seed", 1], "--seed"),
        (["--task", "markov"], "--task"),
        (["--out", "elsewhere"], "--out"),
    ],
)
def test_resume_takes_no_other_option(interp, run_folder, words, option):
    called = interp("train", "--resume", run_folder, *words)
    assert called.code == 2
    assert called.err == f"interp: --resume takes everything from the run, so {option} cannot be given with it\n"


def test_there_must_be_a_run_to_resume(interp, tiny, tmp_path):
    for folder in (tiny, tmp_path / "nowhere"):
        called = interp("train", "--resume", folder)
        assert called.code == 2
        assert called.err == f"interp: {folder} holds no run to go on with: there is no run.json\n"
    assert not (tmp_path / "nowhere").exists()


def test_options_of_another_task_are_refused(interp, tmp_path):
    called = interp("train", "--markov.alpha", 2, "--out", tmp_path / "run")
    assert called.code == 2
    assert called.err == "interp: --markov options belong to --task markov, but the task is repeated-tokens\n"
    assert not (tmp_path / "run").exists()


def test_options_become_the_runs_config():
    words = ["--task", "markov", "--markov.n-states", 5, "--model.positions", "rotary", "--train.steps", 7]
    task, config = config_of(*words, "--seed", 4, "--device", "cpu")
    assert config.task == task.config == MarkovConfig(n_states=5)
    assert type(config.task) is MarkovConfig
    assert (config.model.d_vocab, config.model.n_ctx, config.model.positions) == (6, 64, "rotary")
    assert (config.train.steps, config.train.seed, config.train.device) == (7, 4, "cpu")


def test_without_options_the_run_is_the_default_one():
    _, config = config_of()
    assert config == RunConfig()
    assert type(config.train) is TrainConfig
    assert type(config.task) is RepeatedTokensConfig


def test_text_is_a_task_whose_vocabulary_decides_the_models(interp, tmp_path):
    (tmp_path / "a.txt").write_text("to be or not to be " * 200)
    (tmp_path / "b.txt").write_text("that is the question " * 200)
    words = ["--task", "text", "--text.paths", tmp_path, "--text.tokenizer", "bytes", "--text.n-ctx", 16]
    small = ["--train.steps", 2, "--train.batch-size", 2, "--train.eval-sequences", 2, "--model.d-model", 8]
    called = interp("train", *words, *small, "--device", "cpu", "--out", tmp_path / "run", "--text.held-out", 0.5)
    assert called.code == 0
    assert load_checkpoint(tmp_path / "run").config.d_vocab == 257


def test_text_that_is_empty_is_refused(interp, tmp_path):
    (tmp_path / "a.txt").write_text("")
    called = interp("train", "--task", "text", "--text.paths", tmp_path / "a.txt", "--out", tmp_path / "run")
    assert called.code == 2
    assert called.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--device", "tpu"], "invalid choice 'tpu' for argument '--device'"),
        (["--repeated-tokens.d-vocab", "2"], "at least 2 tokens"),
        (["--train.batch-size", "-4"], "batch_size must be at least 1, got -4"),
    ],
)
def test_a_run_that_cannot_be_is_refused_before_anything_is_written(interp, tmp_path, words, message):
    called = interp("train", "--out", tmp_path / "run", *words)
    assert called.code == 2
    assert message in called.err
    assert called.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_an_unwritable_folder_is_refused(interp, tmp_path):
    (tmp_path / "file").write_text("mine")
    called = interp("train", *SMALL, "--out", tmp_path / "file" / "run")
    assert called.code == 2
    assert called.err.splitlines()[-1] == f"interp: cannot write {tmp_path}/file/run: Not a directory"


def test_a_loss_that_is_no_number_stops_with_a_line_and_the_last_good_checkpoint(interp, tmp_path, monkeypatch):
    def diverged(session):
        raise session.diverged("the loss", float("nan"))

    monkeypatch.setattr(training.run.Session, "advance", diverged)
    called = interp("train", *SMALL, "--out", tmp_path / "run")
    assert issubclass(TrainingDiverged, ValueError)
    assert called.code == 2
    line = called.err.splitlines()[-1]
    assert "the loss became nan after 0 updates" in line
    assert "The last good checkpoint is" in line
    assert load_checkpoint(tmp_path / "run").metadata["step"] == 0


@pytest.fixture
def audits(monkeypatch):
    """`interp demo` with a small run, and with an audit that only notes what it was asked."""
    asked = []

    def audit(arguments):
        asked.append(arguments)
        print("VERDICT")
        return exits.OK

    def import_module(name):
        assert name == "analyses.commands.audit"
        return SimpleNamespace(run=audit)

    def small_config(train):
        return config_of(*SMALL, "--seed", train.seed)[1]

    monkeypatch.setattr(demo, "importlib", SimpleNamespace(import_module=import_module))
    monkeypatch.setattr(demo, "RunConfig", small_config)
    return asked


def test_demo_trains_and_audits(interp, audits, tmp_path):
    called = interp("demo", "--out", tmp_path / "demo", "--seed", 2, "--device", "cpu")
    assert called.code == 0
    assert called.out.endswith("VERDICT\n")
    assert "6 of 6 steps" in called.out
    assert f"training the default model (6 steps) into {tmp_path / 'demo'}" in called.err
    (asked,) = audits
    assert (asked.model, asked.out, asked.seed, asked.device) == (tmp_path / "demo",) * 2 + (2, "cpu")
    assert load_checkpoint(tmp_path / "demo").metadata["step"] == 6


def test_demo_uses_a_finished_run_and_does_not_touch_it(interp, audits, tmp_path, tree):
    interp("demo", "--out", tmp_path / "demo")
    before = tree(tmp_path)
    again = interp("demo", "--out", tmp_path / "demo")
    assert again.code == 0
    assert f"using the finished run in {tmp_path / 'demo'}" in again.err
    assert tree(tmp_path) == before
    assert len(audits) == 2


def test_demo_goes_on_with_an_interrupted_run(interp, audits, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        press_ctrl_c_at(patch, 3)
        assert interp("demo", "--out", tmp_path / "demo").code == 130
    assert audits == []
    called = interp("demo", "--out", tmp_path / "demo")
    assert called.code == 0
    assert f"going on with the run in {tmp_path / 'demo'}" in called.err
    assert load_checkpoint(tmp_path / "demo").metadata["step"] == 6


def test_demo_refuses_a_folder_with_another_run_naming_the_difference(interp, audits, tmp_path):
    interp("demo", "--out", tmp_path / "demo")
    called = interp("demo", "--out", tmp_path / "demo", "--seed", 1)
    assert called.code == 2
    assert "holds another run: train.seed is 0 there, asked for is 1" in called.err
    assert len(audits) == 1


def test_demo_refuses_a_folder_that_holds_something_else(interp, audits, tiny, tmp_path, tree):
    shutil.copytree(tiny, tmp_path / "demo")
    before = tree(tmp_path)
    assert interp("demo", "--out", tmp_path / "demo").code == 2
    assert tree(tmp_path) == before


def test_demo_prints_nothing_but_the_audits_json_when_asked(interp, audits, tmp_path):
    called = interp("demo", "--out", tmp_path / "demo", "--json")
    assert called.out == "VERDICT\n"
    assert audits[0].json
    assert "6 of 6 steps" in called.err


def test_demo_goes_to_runs_demo():
    assert Path("runs/demo") == demo.FOLDER
