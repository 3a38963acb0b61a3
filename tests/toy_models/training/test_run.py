"""Training into a folder and in memory: what is written, what stops it, what is refused."""

import errno
import json
import math
import os
import signal
from dataclasses import replace

import pytest
import torch

from tests.small_runs import TARGET, TASK, metrics_of, small_run, without_time
from toy_models import atomic
from toy_models.checkpoint import list_checkpoints, load_checkpoint, load_state
from toy_models.config import to_dict
from toy_models.errors import InputError
from toy_models.task_config import MarkovConfig
from toy_models.tasks import LossEstimate, make_task
from toy_models.training import (
    Target,
    TrainingDiverged,
    TrainingInterrupted,
    load_run_config,
    run,
    train,
    train_in_memory,
)
from toy_models.training.metrics_log import MetricsLog, Record
from toy_models.training.run_folder import RunFolder
from toy_models.weights_file import model_hash


@pytest.fixture(autouse=True)
def known_target(monkeypatch):
    """The target is measured once for all tests."""
    monkeypatch.setattr(run, "measure_target", lambda task, n_order_free=1: TARGET)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run without a break."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "measure_target", lambda task: TARGET)
        return train(small_run(), tmp_path_factory.mktemp("whole") / "run", progress=False)


def press_ctrl_c_at(step):
    def log(record):
        if record["step"] == step:
            os.kill(os.getpid(), signal.SIGINT)

    return log


def test_a_run_writes_checkpoints_metrics_model_and_what_they_came_from(whole):
    folder = whole.folder
    assert {p.name for p in folder.iterdir()} == {
        *("run.json", "metrics.jsonl", "checkpoints", "config.json", "model.safetensors")
    }
    steps = [int(p.name.removeprefix("step-")) for p in list_checkpoints(folder)]
    assert steps == [0, 1, 2, 4, 8, 10, 16, 20, 24]
    assert [r["step"] for r in metrics_of(folder)] == [0, 1, 3, 6, 9, 12, 15, 18, 21, 24]
    assert metrics_of(folder) == without_time(whole.records)
    final = load_checkpoint(folder)
    assert final.path == folder
    assert final.metadata["step"] == 24
    assert final.task == TASK
    assert final.vocabulary == make_task(TASK).vocabulary
    assert (
        final.model_hash == model_hash(whole.model) == load_checkpoint(folder / "checkpoints/step-00000024").model_hash
    )
    assert load_checkpoint(folder / "checkpoints/step-00000008").metadata["step"] == 8
    assert load_state(folder / "checkpoints/step-00000008")["step"] == 8


def test_run_json_says_what_was_run_with_what_and_how_it_ended(whole):
    info = json.loads((whole.folder / "run.json").read_text())
    assert info["status"] == "finished"
    assert info["config"] == json.loads(json.dumps(to_dict(small_run())))
    assert info["versions"]["torch"] == torch.__version__
    assert set(info["versions"]) == {"interp", "python", "torch", "numpy", "safetensors"}
    assert set(info["seeds"]) == {"weights", "data", "held-out"}
    assert info["machine"]["threads"] == torch.get_num_threads()
    assert Target.from_dict(info["target"]) == TARGET
    result = info["result"]
    assert result["model_hash"] == model_hash(whole.model)
    assert (result["step"], result["emerged_step"], result["stopped_early"]) == (24, whole.emerged_step, False)
    assert result["eval_loss"] == whole.losses.all == whole.records[-1]["eval_loss"]
    assert result["eval_predictable_loss"] == whole.losses.predictable
    assert 0 < result["seconds"] < 60


def test_in_memory_training_is_the_same_run_without_files(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logged: list[Record] = []
    result = train_in_memory(small_run(), target=TARGET, log=logged.append)
    assert model_hash(result.model) == model_hash(whole.model)
    assert without_time(result.records) == without_time(logged) == without_time(whole.records)
    assert result.losses == whole.losses
    assert result.folder is None
    assert list(tmp_path.iterdir()) == []


def test_training_learns_to_use_the_context():
    """Without it no loss is below ln 11."""
    result = train_in_memory(small_run(steps=150, batch_size=16), target=TARGET)
    assert result.losses.predictable is not None
    assert result.losses.predictable < 2.0 < math.log(11)


def test_measuring_and_saving_more_often_changes_no_weight(whole):
    often = train_in_memory(small_run(log_every=1, eval_every=1, checkpoint_every=1), target=TARGET)
    assert model_hash(often.model) == model_hash(whole.model)
    ours = {r["step"]: r for r in often.records}
    assert all(r["loss"] == ours[r["step"]]["loss"] for r in whole.records[1:])


def test_the_log_gets_each_record_and_cannot_change_it(tmp_path):
    seen = []

    def log(record):
        seen.append(dict(record))
        record.clear()

    result = train(small_run(), tmp_path / "run", log=log, progress=False)
    assert seen == list(result.records)
    assert without_time(seen) == metrics_of(tmp_path / "run")


# Stopping early


def stopping_target(whole):
    """A target that the run reaches within its margin at the second-last measurement, and not before."""
    losses = [r["eval_predictable_loss"] for r in whole.records if "eval_predictable_loss" in r]
    assert losses[-2] < min(losses[:-2])
    return Target(TARGET.chance, LossEstimate(losses[-2] - 0.01, 0.0, 1))


def test_training_stops_at_the_first_measurement_within_the_margin(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "measure_target", lambda task: stopping_target(whole))
    result = train(small_run(stop_margin=0.011), tmp_path / "run", progress=False)
    assert (result.step, result.stopped_early) == (18, True)
    assert without_time(result.records)[-1]["step"] == 18
    assert list_checkpoints(tmp_path / "run")[-1].name == "step-00000018"
    assert load_checkpoint(tmp_path / "run").metadata["step"] == 18
    tighter = train_in_memory(small_run(stop_margin=0.009), target=stopping_target(whole))
    assert tighter.step == 24


def test_a_resumed_run_stops_at_the_same_step(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "measure_target", lambda task: stopping_target(whole))
    config = small_run(stop_margin=0.011)
    straight = train(config, tmp_path / "straight", progress=False)
    with pytest.raises(TrainingInterrupted):
        train(config, tmp_path / "broken", progress=False, log=press_ctrl_c_at(15))
    resumed = train(config, tmp_path / "broken", progress=False, resume=True)
    assert (resumed.step, resumed.stopped_early) == (18, True)
    assert model_hash(resumed.model) == model_hash(straight.model)


def test_the_emerged_step_is_that_of_the_first_record_with_nine_tenths_closed(whole):
    losses = [r["eval_predictable_loss"] for r in whole.records if "eval_predictable_loss" in r]
    target = Target(TARGET.chance, LossEstimate(TARGET.chance - (TARGET.chance - losses[2]) / 0.91, 0.0, 1))
    result = train_in_memory(small_run(), target=target)
    first = next(r["step"] for r in result.records if r.get("gap_closed", 0) >= 0.9)
    assert result.emerged_step == first == 12


# Breaks


def test_ctrl_c_leaves_a_checkpoint_of_the_present_step_and_says_how_to_go_on(whole, tmp_path):
    folder = tmp_path / "a run"
    with pytest.raises(TrainingInterrupted) as raised:
        train(small_run(), folder, progress=False, log=press_ctrl_c_at(9))
    assert str(raised.value) == f"stopped after 9 of 24 steps; to go on: interp train --resume '{folder}'"
    assert raised.value.step == 9
    assert json.loads((folder / "run.json").read_text())["status"] == "interrupted"
    assert load_checkpoint(folder).metadata["step"] == 9
    assert not (folder / "config.json").exists()
    resumed = train(load_run_config(folder), folder, progress=False, resume=True)
    assert model_hash(resumed.model) == model_hash(whole.model)
    assert metrics_of(folder) == without_time(whole.records) == without_time(resumed.records)


def test_ctrl_c_at_the_last_step_is_too_late(tmp_path):
    result = train(small_run(), tmp_path / "run", progress=False, log=press_ctrl_c_at(24))
    assert result.step == 24


@pytest.mark.parametrize(("step", "fitting"), [(3, 0), (3, 4), (10, 2), (15, 1)])
def test_a_full_disk_leaves_the_checkpoint_before_and_can_be_gone_on_from(whole, tmp_path, monkeypatch, step, fitting):
    """After the record of `step`, so many more writes fit: the last fails within metrics, or within a checkpoint."""
    real, folder, written = os.fsync, tmp_path / "run", []

    def full(descriptor):
        if (folder / "metrics.jsonl").exists() and metrics_of(folder) and metrics_of(folder)[-1]["step"] >= step:
            written.append(descriptor)
            if len(written) > fitting:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(InputError, match=r"cannot write .*: No space left on device"):
        train(small_run(), folder, progress=False)
    monkeypatch.undo()
    assert load_checkpoint(folder).metadata["step"] in (2, 8, 10)
    assert not list(folder.rglob(".*"))
    resumed = train(small_run(), folder, progress=False, resume=True)
    assert model_hash(resumed.model) == model_hash(whole.model)
    assert metrics_of(folder) == without_time(whole.records)


def test_metrics_are_on_the_disk_before_the_checkpoint_that_counts_on_them(tmp_path, monkeypatch):
    events: list[str] = []
    sync, save = MetricsLog.sync, RunFolder.save
    monkeypatch.setattr(MetricsLog, "sync", lambda log: (events.append("sync"), sync(log)))
    monkeypatch.setattr(RunFolder, "save", lambda run, session: (events.append("save"), save(run, session)))
    train(small_run(steps=2), tmp_path / "run", progress=False)
    assert events == ["sync", "save"] * 3


def test_a_run_that_diverges_keeps_its_last_good_checkpoint_and_says_so(tmp_path):
    config = small_run(learning_rate=1e38, warmup_steps=0, decay="none")
    with pytest.raises(TrainingDiverged) as raised:
        train(config, tmp_path / "run", progress=False)
    newest = list_checkpoints(tmp_path / "run")[-1]
    assert "lower learning_rate (1e+38)" in str(raised.value)
    assert str(raised.value).endswith(f"The last good checkpoint is {newest}")
    assert all(p.isfinite().all() for p in load_checkpoint(newest).model.parameters())
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "diverged"
    with pytest.raises(TrainingDiverged):
        train_in_memory(config, target=TARGET)


# What is refused


def test_a_finished_run_is_neither_replaced_nor_trained_again_unless_asked(whole, tmp_path):
    before = {p: p.stat().st_mtime_ns for p in whole.folder.rglob("*")}
    with pytest.raises(InputError, match="already holds a finished run; choose another folder"):
        train(small_run(), whole.folder, progress=False)
    again = train(small_run(), whole.folder, progress=False, resume=True)
    assert {p: p.stat().st_mtime_ns for p in whole.folder.rglob("*")} == before
    assert model_hash(again.model) == model_hash(whole.model)
    assert replace(again, model=whole.model) == whole


def test_overwriting_replaces_all_of_the_run_before(tmp_path):
    folder = tmp_path / "run"
    train(small_run(), folder, progress=False)
    (folder / "notes.txt").write_text("mine")
    result = train(small_run(steps=3, seed=5), folder, progress=False, overwrite=True)
    assert [p.name for p in list_checkpoints(folder)] == [f"step-{n:08d}" for n in (0, 1, 2, 3)]
    assert metrics_of(folder) == without_time(result.records)
    assert load_checkpoint(folder).model_hash == model_hash(result.model)
    assert load_run_config(folder) == small_run(steps=3, seed=5)
    assert (folder / "notes.txt").read_text() == "mine"


def test_an_unfinished_run_is_not_replaced_unless_asked(tmp_path):
    with pytest.raises(TrainingInterrupted):
        train(small_run(), tmp_path / "run", progress=False, log=press_ctrl_c_at(3))
    with pytest.raises(InputError, match=r"holds an unfinished run; go on with `interp train --resume "):
        train(small_run(), tmp_path / "run", progress=False)


def test_going_on_where_nothing_has_begun_begins(whole, tmp_path):
    result = train(small_run(), tmp_path / "new", progress=False, resume=True)
    assert model_hash(result.model) == model_hash(whole.model)


def test_a_task_of_another_config_or_size_is_refused_before_anything_is_written(tmp_path):
    other = make_task(MarkovConfig(n_states=11, n_ctx=24))
    with pytest.raises(InputError, match="made from another config"):
        train(small_run(), tmp_path / "run", task=other)
    with pytest.raises(InputError, match="made from another config"):
        train_in_memory(small_run(), task=other)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="'cuda' was asked for, but PyTorch sees no GPU here; use auto or cpu"):
        train(small_run(device="cuda"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
