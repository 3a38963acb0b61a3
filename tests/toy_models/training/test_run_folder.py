"""Which folders a run may use, and which run it may go on with."""

import fcntl
import json
import os
from dataclasses import replace

import pytest

from tests.small_runs import MODEL, TARGET, TRAIN, small_run
from toy_models.atomic import OutputError
from toy_models.errors import InputError
from toy_models.task_config import MarkovConfig
from toy_models.train_config import RunConfig
from toy_models.training import load_run_config, run_folder
from toy_models.training.run_folder import RunFolder, describe_run, open_run, read_run, resume_command


@pytest.fixture
def begun(tmp_path):
    RunFolder(tmp_path, describe_run(small_run())).note(target=TARGET.to_dict())
    return tmp_path


def opened(path, config=None, resume=False, overwrite=False):
    with open_run(path, config or small_run(), resume, overwrite) as run:
        return run


def test_a_new_run_takes_a_new_or_an_empty_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "deep/new"):
        run = opened(tmp_path / name)
        assert (run.finished, run.target, run.newest_checkpoint) == (False, None, None)
        assert run.path.is_dir()
        assert list(run.path.iterdir()) == []


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "metrics.jsonl", "checkpoints"])
def test_files_of_something_else_are_not_replaced(tmp_path, name):
    (tmp_path / name).touch()
    for resume in (False, True):
        with pytest.raises(InputError, match=f"already holds {name}, which is of no run"):
            opened(tmp_path, resume=resume)


def test_the_same_config_goes_on(begun):
    run = opened(begun, resume=True)
    assert run.target == TARGET
    assert not run.finished
    assert load_run_config(begun) == small_run()


@pytest.mark.parametrize(
    ("asked", "difference"),
    [
        ({"steps": 25}, "train.steps is 24 there, asked for is 25"),
        ({"grad_clip": None}, "train.grad_clip is 1.0 there, asked for is None"),
        ({"seed": 1, "batch_size": 7}, "train.batch_size is 6 there, asked for is 7"),
    ],
)
def test_another_config_is_refused_and_the_difference_named(begun, asked, difference):
    with pytest.raises(InputError, match=f"holds another run: {difference}"):
        opened(begun, small_run(**asked), resume=True)


def test_another_task_is_refused_and_the_difference_named(begun):
    other = RunConfig(replace(MODEL, d_vocab=9), MarkovConfig(n_states=8, n_ctx=24), TRAIN)
    with pytest.raises(InputError, match=r"model\.d_vocab is 12 there, asked for is 9"):
        opened(begun, other, resume=True)
    with pytest.raises(InputError, match=r"task\.kind is 'repeated-tokens' there, asked for is 'markov'"):
        opened(begun, RunConfig(MODEL, MarkovConfig(n_states=11, n_ctx=24), TRAIN), resume=True)


def test_resuming_and_overwriting_exclude_each_other(begun):
    with pytest.raises(InputError, match="either resumed or overwritten"):
        opened(begun, resume=True, overwrite=True)
    assert (begun / "run.json").exists()


def test_a_config_with_an_entry_that_is_gone_is_refused(begun):
    info = json.loads((begun / "run.json").read_text())
    info["config"]["train"]["momentum"] = 0.5
    (begun / "run.json").write_text(json.dumps(info))
    with pytest.raises(InputError, match="TrainConfig has no field 'momentum'"):
        opened(begun, resume=True)


def test_what_a_killed_writer_left_is_cleared_away(begun):
    (begun / "checkpoints" / ".step-00000003.partial").mkdir(parents=True)
    (begun / "checkpoints" / ".step-00000003.partial" / "config.json").touch()
    (begun / ".run.json.partial").touch()
    opened(begun, resume=True)
    assert sorted(p.name for p in begun.rglob("*")) == ["checkpoints", "run.json"]


def test_two_processes_do_not_train_in_one_folder(begun):
    descriptor = os.open(begun, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(InputError, match="another process is training in"):
        opened(begun, resume=True)
    os.close(descriptor)
    with open_run(begun, small_run(), True, False), pytest.raises(InputError, match="another process"):
        opened(begun, resume=True)
    opened(begun, resume=True)


def test_a_file_system_without_locks_is_no_hindrance(begun, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert opened(begun, resume=True).target == TARGET


def test_a_folder_that_cannot_be_written_is_an_output_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write .*file: File exists"):
        opened(tmp_path / "file")
    monkeypatch.setattr(run_folder.os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(OutputError, match=r"cannot write .*: no permission"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a JSON file"),
        ("[]", 'is not of a run of ours: "format" is not "interp-run"'),
        ('{"format": "interp-run", "format_version": 2}', "has format_version 2, expected 1"),
        ('{"format": "interp-run", "format_version": 1, "config": {}}', "holds no 'result'"),
    ],
)
def test_a_damaged_run_json_is_refused(tmp_path, content, message):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError, match=rf"run\.json {message}"):
        read_run(tmp_path)


def test_a_config_that_is_none_is_refused(begun):
    info = json.loads((begun / "run.json").read_text())
    del info["config"]["task"]
    (begun / "run.json").write_text(json.dumps(info))
    with pytest.raises(InputError, match=r"a run's config must hold model, task, train"):
        load_run_config(begun)


def test_a_folder_without_a_run_has_no_config(tmp_path):
    with pytest.raises(InputError, match="holds no run to go on with"):
        load_run_config(tmp_path)


def test_the_command_to_go_on_is_quoted_for_the_shell(tmp_path):
    assert resume_command(tmp_path / "a b") == f"interp train --resume '{tmp_path}/a b'"
