"""Whatever interrupts a write, the old content or the new can be read, whole, and nothing else is left."""

import errno
import os
from pathlib import Path

import pytest

from toy_models import atomic
from toy_models.atomic import OutputError, remove_partial, settled, write_bytes, write_folder, write_json
from toy_models.errors import InputError


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the writer runs after it."""


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


OLD, NEW = {"a": b"old a", "b": b"old b"}, {"a": b"new a", "c": b"new c"}


def test_files_and_folders_are_written_and_replaced(tmp_path):
    write_bytes(tmp_path / "x", b"1")
    write_bytes(tmp_path / "x", b"2")
    write_json(tmp_path / "y.json", {"n": 1})
    write_folder(tmp_path / "deep" / "f", OLD)
    write_folder(tmp_path / "deep" / "f", NEW)
    assert (tmp_path / "x").read_bytes() == b"2"
    assert (tmp_path / "y.json").read_text() == '{\n  "n": 1\n}\n'
    assert content(tmp_path / "deep" / "f") == NEW
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a", "c", "deep", "f", "x", "y.json"]


def every_system_call(monkeypatch, write, before_each) -> int:
    """Runs `write` with `before_each(n)` called before its nth call that touches the disk."""
    count = 0

    def counting(real):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            before_each(count)
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for module, name in [
            (os, "rename"),
            (os, "replace"),
            (os, "fsync"),
            (Path, "mkdir"),
            (atomic, "_write_synced"),
        ]:
            patch.setattr(module, name, counting(getattr(module, name)))
        patch.setattr(atomic.shutil, "rmtree", counting(atomic.shutil.rmtree))
        write()
    return count


def test_a_folder_can_be_read_whole_at_every_moment_of_its_replacement(tmp_path, monkeypatch):
    folder, seen = tmp_path / "f", []
    write_folder(folder, OLD)
    n = every_system_call(
        monkeypatch, lambda: write_folder(folder, NEW), lambda _: seen.append(content(settled(folder)))
    )
    assert n >= 8
    assert all(found in (OLD, NEW) for found in seen)
    assert (seen[0], seen[-1]) == (OLD, NEW)


@pytest.mark.parametrize("moment", range(1, 10))
def test_a_writer_killed_at_any_moment_leaves_a_readable_folder_that_can_be_replaced(tmp_path, monkeypatch, moment):
    """The clean-up that an exception would run is switched off, as after SIGKILL."""
    folder = tmp_path / "f"
    write_folder(folder, OLD)

    def kill(n):
        if n == moment:
            monkeypatch.setattr(atomic.shutil, "rmtree", lambda *a, **k: None)
            monkeypatch.setattr(atomic.os, "rename", lambda *a: None)
            raise Killed

    with pytest.raises(Killed):
        every_system_call(monkeypatch, lambda: write_folder(folder, NEW), kill)
    monkeypatch.undo()
    assert content(settled(folder)) in (OLD, NEW)
    write_folder(folder, NEW)
    assert content(folder) == NEW
    remove_partial(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def full_disk(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("failing", ["fsync", "rename", "replace"])
def test_a_full_disk_is_one_clear_line_and_leaves_the_old_content(tmp_path, monkeypatch, failing):
    write_folder(tmp_path / "f", OLD)
    write_bytes(tmp_path / "x", b"old")
    monkeypatch.setattr(atomic.os, failing, full_disk)
    if failing != "replace":
        with pytest.raises(OutputError, match=r"^cannot write .*/f: No space left on device$"):
            write_folder(tmp_path / "f", NEW)
    if failing != "rename":
        with pytest.raises(OutputError, match=r"^cannot write .*/x: No space left on device$"):
            write_bytes(tmp_path / "x", b"new")
    monkeypatch.undo()
    assert content(tmp_path / "f") == OLD
    assert (tmp_path / "x").read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f", "x"]


def test_the_old_folder_gets_its_name_back_when_the_new_one_cannot_take_it(tmp_path, monkeypatch):
    write_folder(tmp_path / "f", OLD)
    real, calls = os.rename, []

    def second_fails(source, target):
        calls.append(target)
        if len(calls) == 2:
            full_disk()
        real(source, target)

    monkeypatch.setattr(atomic.os, "rename", second_fails)
    with pytest.raises(OutputError, match="No space left"):
        write_folder(tmp_path / "f", NEW)
    assert content(tmp_path / "f") == OLD
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_file_where_a_folder_is_needed_is_an_output_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write .*: Not a directory"):
        write_folder(tmp_path / "file" / "f", NEW)
    with pytest.raises(OutputError, match=r"cannot write .*: Not a directory"):
        write_bytes(tmp_path / "file" / "x", b"")
    with pytest.raises(OutputError, match=r"cannot write .*: File exists"):
        atomic.make_folder(tmp_path / "file")


def test_values_without_a_json_form_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="cannot be written as JSON"):
        write_json(tmp_path / "x", {"loss": float("inf")})
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    write_folder(tmp_path / "real", OLD)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_folder(tmp_path / "link", NEW)
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "real") == NEW
