"""Files whole or absent, strict JSON, and what goes to which stream."""

import errno
import json
import math
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from analyses import output
from analyses.arguments import Heads
from analyses.output import OutputError, deliver, shell_word, strict_json, write_files
from interp.labels import legible
from interp.names import Head


def full_disk_at(monkeypatch, nth):
    """The nth file to be written meets a full disk, after half of it."""
    real, seen = os.fsync, []

    def fsync(descriptor):
        seen.append(descriptor)
        if len(seen) == nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


def test_files_are_written_into_a_folder_that_is_made(tmp_path):
    write_files(tmp_path / "a" / "b", {"x.json": "{}\n", "y.png": b"\x89PNG"})
    assert (tmp_path / "a" / "b" / "x.json").read_text() == "{}\n"
    assert (tmp_path / "a" / "b" / "y.png").read_bytes() == b"\x89PNG"
    assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == ["x.json", "y.png"]


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_full_disk_leaves_every_old_file_and_no_new_one(tmp_path, monkeypatch, nth):
    write_files(tmp_path, {"a": "old a", "b": "old b"})
    full_disk_at(monkeypatch, nth)
    with pytest.raises(OutputError, match=f"cannot write {tmp_path}/{'abc'[nth - 1]}: No space left on device"):
        write_files(tmp_path, {"a": "new a", "b": "new b", "c": "new c"})
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a": "old a", "b": "old b"}


def test_a_full_disk_takes_back_the_folders_that_were_made(tmp_path, monkeypatch):
    full_disk_at(monkeypatch, 2)
    with pytest.raises(OutputError):
        write_files(tmp_path / "new" / "newer", {"a": "1", "b": "2"})
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_between_two_files_leaves_neither(tmp_path, monkeypatch):
    real, seen = output.write_synced, []

    def interrupted(path, data):
        seen.append(path)
        if len(seen) == 2:
            raise KeyboardInterrupt
        real(path, data)

    monkeypatch.setattr(output, "write_synced", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_files(tmp_path, {"a": "1", "b": "2"})
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_folders_place_is_refused_and_kept(tmp_path):
    (tmp_path / "out").write_text("mine")
    for folder in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(OutputError, match="cannot make the folder"):
            write_files(folder, {"a": "1"})
    assert (tmp_path / "out").read_text() == "mine"


def test_a_folder_in_the_files_place_is_refused_with_the_others_unwritten(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "kept").write_text("")
    with pytest.raises(OutputError, match=f"cannot write {tmp_path}/b"):
        write_files(tmp_path, {"b": "1", "c": "2"})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b"]


@dataclass(frozen=True)
class Pair:
    first: float
    second: torch.Tensor


def test_json_holds_tensors_dataclasses_heads_and_paths():
    values = {
        "pair": Pair(1.5, torch.tensor([[1, 2], [3, 4]])),
        Head(1, 3): Head(0, 2),
        "path": Path("a/b"),
        "tuple": (1, "x", None, True),
        "numpy": [np.float32(0.5), np.arange(2)],
        "complex": torch.tensor([1 + 2j]),
        "scalar": torch.tensor(2.0),
    }
    assert json.loads(strict_json(values)) == {
        "pair": {"first": 1.5, "second": [[1, 2], [3, 4]]},
        "L1H3": "L0H2",
        "path": "a/b",
        "tuple": [1, "x", None, True],
        "numpy": [0.5, [0, 1]],
        "complex": [[1.0, 2.0]],
        "scalar": 2.0,
    }


def test_json_has_null_for_what_is_no_number():
    text = strict_json({"a": math.nan, "b": [math.inf, -math.inf, 1.0], "c": torch.tensor([math.nan, 2.0])})
    assert json.loads(text, parse_constant=pytest.fail) == {"a": None, "b": [None, None, 1.0], "c": [None, 2.0]}


def test_json_is_ascii_and_numbers_of_a_list_share_a_line():
    text = strict_json({"x": [[1, 2.5], [None, -3e-9]], "names": ["日本", "[1,\n 2]", "  ", "\ud800"]})
    assert text.isascii()
    assert "[ 1, 2.5 ]" in text
    assert "[ null, -3e-09 ]" in text
    assert json.loads(text) == {"x": [[1, 2.5], [None, -3e-9]], "names": ["日本", "[1,\n 2]", "  ", "\ud800"]}


def test_json_refuses_what_it_cannot_hold():
    with pytest.raises(TypeError, match="object has no form in JSON"):
        strict_json({"x": object()})


def test_delivered_text_goes_to_stdout_with_the_names_of_the_files(tmp_path, capsys):
    arguments = Heads(model=tmp_path, seed=3)
    assert deliver(arguments, tmp_path, {"score": 0.5}, "head  score", {"heads.png": b"png"}) == 0
    out, err = capsys.readouterr()
    assert out == f"head  score\n\nwrote {tmp_path}/heads.png\nwrote {tmp_path}/heads.json\n"
    assert err == ""
    written = json.loads((tmp_path / "heads.json").read_text())
    assert written["command"] == "heads"
    assert written["seed"] == 3
    assert written["score"] == 0.5
    assert written["files"] == ["heads.png", "heads.json"]


def test_with_json_stdout_is_the_file_and_the_rest_goes_to_stderr(tmp_path, capsys):
    deliver(Heads(model=tmp_path, json=True), tmp_path, {"score": math.nan}, "head  score", {"heads.png": b"png"})
    out, err = capsys.readouterr()
    assert out == (tmp_path / "heads.json").read_text()
    assert json.loads(out)["score"] is None
    assert err == f"wrote {tmp_path}/heads.png\nwrote {tmp_path}/heads.json\n"


@pytest.mark.parametrize(
    "text",
    ["plain", "two words", "it's", 'a "b" $HOME `x` \\n', "a\u202eb", "l1\nl2\t'q' \\", "\x1b[31m é 🙂\u200b", ""],
)
def test_a_word_for_the_shell_is_read_back_by_one_and_shows_every_character(text):
    word = shell_word(text)
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    environment = {"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}
    said = subprocess.run([bash, "-c", f"printf %s {word}"], capture_output=True, env=environment, check=True).stdout
    assert said.decode() == text
    assert legible(word) == word
