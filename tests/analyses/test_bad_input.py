"""Whatever is wrong with the input: exit code 2, one line that says what, no traceback, nothing written."""

import errno
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from analyses.arguments import COMMANDS, OnModel, OnSequence
from toy_models.checkpoint import save_checkpoint
from toy_models.config import TransformerConfig
from toy_models.transformer import Transformer

pytest_plugins = ("tests.command_line",)

ON_MODELS = [name for name, kind in COMMANDS.items() if issubclass(kind, OnModel)]
ON_SEQUENCES = [name for name, kind in COMMANDS.items() if issubclass(kind, OnSequence)]


@pytest.fixture
def refused(interp, tmp_path, tree):
    """Calls a command that must be refused, and gives its one line."""

    def call(*words):
        before = tree(tmp_path)
        called = interp(*words)
        assert (called.code, called.out) == (2, "")
        assert called.err.startswith("interp: ")
        assert called.err.count("\n") == 1
        assert tree(tmp_path) == before
        return called.err

    return call


def edit_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def edit_weights(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def truncate(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def put_nan(tensors):
    tensors["blocks.1.attn.W_Q"][0, 2, 1] = torch.nan


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def something_else(folder):
    empty(folder)
    (folder / "holiday.jpg").write_bytes(b"\xff\xd8")


def another_librarys_model(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_layer": 2}))


def a_file(folder):
    shutil.rmtree(folder)
    folder.write_text("weights")


def unfinished(folder):
    empty(folder)
    (folder / "run.json").write_text("{}")


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (shutil.rmtree, "does not exist; give a run folder or a checkpoint folder"),
    "empty folder": (empty, "is an empty folder"),
    "folder of something else": (something_else, "neither a run nor a checkpoint"),
    "another library's model": (another_librarys_model, "config.json: describes a model of"),
    "a file": (a_file, "is a file; give the folder that holds"),
    "a run without a checkpoint": (unfinished, "is a run that has not written a checkpoint yet"),
    "config that is no JSON": (lambda f: (f / "config.json").write_text("{"), "config.json: not a JSON file"),
    "newer format": (lambda f: edit_config(f, format_version=99), "format_version 99 is newer than this program"),
    "unknown field": (lambda f: edit_config(f, n_experts=8), "has no field 'n_experts'"),
    "d_head of 0": (lambda f: edit_config(f, d_head=0), "d_head must be at least 1, got 0"),
    "other layers": (lambda f: edit_config(f, n_layers=3), "holds 2 layers, config.json says n_layers 3"),
    "other shapes": (lambda f: edit_config(f, d_model=16), "has shape"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors: the file is missing"),
    "truncated weights": (truncate, "model.safetensors: truncated, or not a safetensors file"),
    "weights of zero bytes": (lambda f: (f / "model.safetensors").write_bytes(b""), "truncated, or not a safetensors"),
    "no safetensors": (lambda f: (f / "model.safetensors").write_bytes(b"PK" + b"\0" * 99), "not a safetensors file"),
    "NaN": (lambda f: edit_weights(f, put_nan), "blocks.1.attn.W_Q holds nan at [0, 2, 1]"),
    "a tensor too few": (lambda f: edit_weights(f, lambda t: t.pop("embed.W_E")), "tensor embed.W_E is missing"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_checkpoint_is_refused_by_name_and_reason(refused, tiny, tmp_path, case):
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    breaks, message = BROKEN[case]
    breaks(folder)
    said = refused("heads", folder)
    assert message in said
    assert str(folder) in said


@pytest.mark.parametrize("command", ON_MODELS)
def test_every_command_refuses_a_broken_checkpoint(refused, tiny, tmp_path, command):
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    edit_weights(folder, put_nan)
    assert "W_Q holds nan" in refused(command, folder, "--out", tmp_path / "out")
    assert "does not exist" in refused(command, tmp_path / "nowhere", "--json")


@pytest.mark.parametrize("command", ON_MODELS)
def test_every_command_refuses_an_unknown_device(refused, tiny, tmp_path, command):
    for device in ("tpu", "cuda:99" if torch.cuda.is_available() else "cuda"):
        said = refused(command, tiny, "--device", device, "--out", tmp_path / "out")
        assert f"{device!r}" in said


@pytest.mark.parametrize("command", ON_SEQUENCES)
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tokens", 3, 12], "token 12 is outside the vocabulary 0..11"),
        (["--tokens", -1], "token -1 is outside"),
        (["--tokens", *range(12), *range(12), 1], "the sequence has 25 tokens, the model's context is 24"),
        (["--text", ""], "--text is empty"),
        (["--text", "A Ω"], "'Ω' is not in the vocabulary"),
        (["--text", "A", "--tokens", 1], "exclude each other"),
    ],
)
def test_a_sequence_that_cannot_be_run_is_refused(refused, tiny, tmp_path, command, words, message):
    assert message in refused(command, tiny, "--out", tmp_path / "out", *words)


@pytest.mark.parametrize("command", ["patterns", "circuits"])
@pytest.mark.parametrize(
    ("name", "message"), [("L2H0", "in layer 2"), ("0.7", "head 7"), ("blocks.0", "no head is called")]
)
def test_an_unknown_head_or_layer_is_refused(refused, tiny, tmp_path, command, name, message):
    assert message in refused(command, tiny, "--out", tmp_path / "out", "--head", name)


def test_more_attention_than_a_browser_can_draw_is_refused(refused, tmp_path):
    config = TransformerConfig(n_layers=1, n_heads=4, d_model=8, d_head=2, d_vocab=4, n_ctx=400)
    save_checkpoint(tmp_path / "m", Transformer(config))
    said = refused("patterns", tmp_path / "m", "--out", tmp_path / "out", "--tokens", *[1] * 300)
    assert "4 heads x 300 x 300 positions are too many to draw in a browser" in said
    assert "choose fewer heads" in said


@pytest.mark.parametrize("command", [name for name in ON_MODELS if name not in ("composition", "audit")])
def test_a_model_without_heads_is_refused_or_read(interp, tmp_path, command):
    save_checkpoint(tmp_path / "m", Transformer(TransformerConfig(n_layers=0, d_vocab=12, n_ctx=24)))
    called = interp(command, tmp_path / "m", "--out", tmp_path / "out")
    assert called.code == (0 if command == "lens" else 2)
    if called.code:
        assert "no attention" in called.err
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ON_MODELS)
def test_a_folder_that_cannot_be_written_is_refused(refused, tiny, tmp_path, command):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "out"):
        said = refused(command, tiny, "--out", folder)
        assert said == (
            f"interp: cannot write into {folder}: {tmp_path}/file is a file; choose another folder with --out\n"
        )


@pytest.mark.parametrize("command", ["heads", "patterns", "circuits", "composition", "lens", "paths"])
def test_no_work_is_done_for_a_folder_without_permission(refused, tiny, monkeypatch, tmp_path, command):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr("toy_models.transformer.Transformer.forward", pytest.fail)
    monkeypatch.setattr("interp.weights.of_model.read_weights", pytest.fail)
    said = refused(command, tiny, "--out", tmp_path / "out")
    assert f"cannot write into {tmp_path}/out: no permission to write in {tmp_path}; choose another" in said


def test_a_file_without_permission_is_refused(refused, tiny, monkeypatch, tmp_path):
    def denied(*arguments, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("analyses.output.write_synced", denied)
    assert "patterns.html: Permission denied" in refused("patterns", tiny, "--out", tmp_path / "out")


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_full_disk_leaves_nothing_half_written(refused, tiny, monkeypatch, tmp_path, nth):
    real, seen = os.fsync, []

    def fsync(descriptor):
        seen.append(descriptor)
        if len(seen) == nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    assert "No space left on device" in refused("patterns", tiny, "--out", tmp_path / "out")


def test_a_write_that_is_interrupted_leaves_nothing_and_exits_130(interp, tiny, monkeypatch, tmp_path, tree):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("analyses.output.write_synced", interrupted)
    called = interp("patterns", tiny, "--out", tmp_path / "out")
    assert (called.code, called.out, called.err) == (130, "", "interp: interrupted\n")
    assert tree(tmp_path) == {}


def test_a_real_limit_on_file_size_stops_a_real_process_cleanly(tiny, tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    command = [sys.executable, "-m", "analyses.cli", "patterns", tiny, "--out", tmp_path / "out", "--tokens", "1", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, preexec_fn=limit)
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"interp: cannot write \S+/out/patterns\.html: File too large\n", done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_where_bad_input_was_found(interp, tiny):
    called = interp("lens", tiny, "--tokens", 99, "--debug")
    assert called.code == 2
    assert "Traceback (most recent call last)" in called.err
    assert "in check_numbers" in called.err
    assert called.err.splitlines()[-1] == "interp: token 99 is outside the vocabulary 0..11"
