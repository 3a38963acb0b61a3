"""What is known of a model that is read from disk."""

import json
import shutil

import pytest

from analyses.loading import find_run, load_subject
from interp.errors import InputError as InterpInputError
from interp.names import Head
from tests.small_runs import MODEL, TARGET, TASK
from toy_models.checkpoint import list_checkpoints, save_checkpoint
from toy_models.config import TransformerConfig
from toy_models.errors import InputError
from toy_models.transformer import Transformer

pytest_plugins = ("tests.command_line",)


def test_a_checkpoint_that_stands_alone(tiny):
    subject = load_subject(tiny)
    assert (subject.name, subject.run, subject.step, subject.task) == ("tiny", None, 7, TASK)
    assert subject.labels[:3] == ("<bos>", "A", "B")
    assert subject.bos == 0
    assert subject.config == MODEL
    assert subject.heads == (Head(0, 0), Head(0, 1), Head(1, 0), Head(1, 1))
    assert (subject.info, subject.target, subject.records) == (None, None, ())
    assert subject.folder(None) == tiny
    assert subject.folder(tiny / "out") == tiny / "out"


def test_a_model_without_a_vocabulary_has_numbers_for_names(nameless):
    subject = load_subject(nameless)
    assert subject.labels == tuple(str(token) for token in range(12))
    assert (subject.vocabulary, subject.bos, subject.task, subject.step) == (None, None, None, None)


def test_a_run_folder_brings_its_target_and_its_metrics(run_folder):
    subject = load_subject(run_folder)
    assert subject.name == "small"
    assert subject.run == subject.path == run_folder
    assert subject.step == 24
    assert subject.target == TARGET
    assert [record["step"] for record in subject.records][-1] == 24
    assert subject.info is not None
    assert subject.info["result"]["model_hash"] == subject.model_hash


def test_a_checkpoint_of_a_run_knows_its_run(run_folder):
    folder = list_checkpoints(run_folder)[3]
    subject = load_subject(folder)
    assert subject.name == "small, step-00000004"
    assert subject.step == 4
    assert subject.run == run_folder
    assert subject.target == TARGET
    assert subject.folder(None) == folder
    assert subject.model_hash != load_subject(run_folder).model_hash


def test_a_folder_that_only_looks_like_a_runs_checkpoint_stands_alone(tiny, tmp_path):
    copy = tmp_path / "checkpoints" / "step-00000001"
    shutil.copytree(tiny, copy)
    assert find_run(copy) is None


def test_a_damaged_run_file_is_no_hindrance_until_it_is_needed(run_folder, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run_folder, copy)
    (copy / "run.json").write_text("{")
    subject = load_subject(copy)
    with pytest.raises(InputError, match=r"run\.json is not a JSON file"):
        _ = subject.target


def test_a_target_that_cannot_be_read_names_the_file(run_folder, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run_folder, copy)
    info = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps({**info, "target": {"chance": 1.0}}))
    with pytest.raises(InputError, match=r"run\.json: its target cannot be read"):
        _ = load_subject(copy).target


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"vocabulary": {"labels": ["a", "b"], "bos": None, "kind": "symbols"}}, "the vocabulary has 2 tokens, the m"),
        ({"vocabulary": {"labels": ["a", "a"], "bos": None, "kind": "symbols"}}, "two tokens are called 'a'"),
        ({"vocabulary": {"words": 3}}, "has no field 'words'"),
        ({"task": {"kind": "poetry"}}, "unknown kind of task 'poetry'"),
        ({"step": "seven"}, "step must be a whole number"),
        ({"step": -1}, "step must be a whole number"),
    ],
)
def test_metadata_that_cannot_be_is_refused_with_the_files_name(tmp_path, metadata, message):
    save_checkpoint(tmp_path / "m", Transformer(MODEL), metadata)
    with pytest.raises(InputError, match=rf"{tmp_path}/m/config\.json: metadata: .*{message}"):
        load_subject(tmp_path / "m")


def test_heads_are_chosen_by_name_once_each_and_in_order(tiny):
    subject = load_subject(tiny)
    assert subject.choose(["1.1", "L0H1", "a1.h1"]) == (Head(0, 1), Head(1, 1))
    assert subject.choose([]) == subject.heads


@pytest.mark.parametrize(
    ("name", "message"), [("L2H0", "in layer 2"), ("0.2", "head 2"), ("head one", "no head is called"), ("", "no head")]
)
def test_a_head_that_is_not_there_is_refused(tiny, name, message):
    with pytest.raises(InterpInputError, match=message) as caught:
        load_subject(tiny).choose([name])
    assert "\n" not in str(caught.value)


def test_a_model_without_layers_has_no_heads_to_choose(tmp_path):
    save_checkpoint(tmp_path / "m", Transformer(TransformerConfig(n_layers=0, d_vocab=12, n_ctx=8)))
    with pytest.raises(InputError, match="no attention heads: n_layers is 0"):
        load_subject(tmp_path / "m").choose([])
