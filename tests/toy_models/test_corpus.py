"""Which files are read, which are held out, and which are refused."""

import sysconfig
from pathlib import Path

import pytest

from toy_models.corpus import read_corpus
from toy_models.errors import InputError
from toy_models.task_config import TextConfig


@pytest.fixture
def folder(tmp_path):
    """Forty files of ten bytes in two folders."""
    for i in range(40):
        path = tmp_path / ("a" if i % 2 else "b") / f"{i:02}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"file no {i:02}")
    return tmp_path


def names(files):
    return [file.name for file in files]


def corpus_of(*paths, **options):
    return read_corpus(TextConfig(paths=tuple(map(str, paths)), **options))


def test_every_file_is_read_once_and_lies_on_one_side(folder):
    corpus = corpus_of(folder, folder / "a", folder / "a" / "01.txt", held_out=0.25)
    everything = names(corpus.train) + names(corpus.held_out)
    assert len(everything) == len({file.path for file in corpus.train + corpus.held_out}) == 40
    assert names(corpus.train) == sorted(names(corpus.train))
    assert 5 <= len(corpus.held_out) <= 15


def test_a_file_keeps_its_side_when_others_come_or_go(folder):
    before = set(names(corpus_of(folder, held_out=0.25).held_out))
    (folder / "a" / "01.txt").unlink()
    (folder / "a" / "new.txt").write_text("new")
    after = set(names(corpus_of(folder, held_out=0.25).held_out))
    assert before - {"a/01.txt"} == after - {"a/new.txt"}


def test_the_split_depends_on_relative_names_only(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "copy"
    elsewhere.mkdir()
    for path in folder.rglob("*.txt"):
        target = elsewhere / path.relative_to(folder)
        target.parent.mkdir(exist_ok=True)
        target.write_text(path.read_text())
    assert names(corpus_of(folder).held_out) == names(corpus_of(elsewhere).held_out)


def test_one_of_two_files_is_held_out_however_small_the_share(tmp_path):
    for name in ("x.txt", "y.txt"):
        (tmp_path / name).write_text(name)
    for share in (1e-9, 0.999999):
        corpus = corpus_of(tmp_path, held_out=share)
        assert (len(corpus.train), len(corpus.held_out)) == (1, 1)


def test_no_share_holds_out_nothing(folder):
    corpus = corpus_of(folder, held_out=0.0)
    assert (len(corpus.train), len(corpus.held_out)) == (40, 0)


def test_max_bytes_stops_at_the_file_that_reaches_it(folder):
    some = corpus_of(folder, max_bytes=95, held_out=0.0).train
    fewer = corpus_of(folder, max_bytes=41, held_out=0.0).train
    assert (len(some), len(fewer)) == (10, 5)
    assert set(names(fewer)) < set(names(some))
    assert {name[0] for name in names(some)} == {"a", "b"}
    assert len(corpus_of(folder, max_bytes=None, held_out=0.0).train) == 40


def test_files_that_are_hidden_or_of_another_kind_are_left_out_unless_named(folder):
    (folder / "picture.png").write_bytes(b"\0\1")
    (folder / ".hidden.txt").write_text("hidden")
    (folder / ".git").mkdir()
    (folder / ".git" / "notes.txt").write_text("hidden")
    (folder / "data.csv").write_text("1,2")
    assert len(corpus_of(folder, held_out=0.0).train) == 40
    assert names(corpus_of(folder / "data.csv", held_out=0.0).train) == ["data.csv"]
    assert names(corpus_of(folder, suffixes=(".csv",), held_out=0.0).train) == ["data.csv"]


def test_empty_files_are_left_out(folder):
    (folder / "empty.txt").write_text("")
    (folder / "only-mark.txt").write_bytes(b"\xef\xbb\xbf")
    assert len(corpus_of(folder, held_out=0.0).train) == 40


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "marked.txt").write_bytes(b"\xef\xbb\xbfhello")
    assert corpus_of(tmp_path, held_out=0.0).train[0].text == "hello"


def test_line_ends_are_kept_as_they_are(tmp_path):
    (tmp_path / "dos.txt").write_bytes(b"a\r\nb\r")
    assert corpus_of(tmp_path, held_out=0.0).train[0].text == "a\r\nb\r"


def test_by_default_the_source_files_of_the_standard_library_are_read():
    corpus = read_corpus(TextConfig(max_bytes=300_000))
    files = corpus.train + corpus.held_out
    library = Path(sysconfig.get_path("stdlib"))
    assert corpus.train
    assert corpus.held_out
    assert all(file.path.is_relative_to(library) and file.name.endswith(".py") for file in files)
    assert not any("site-packages" in file.name or "test/" in file.name for file in files)
    assert 300_000 <= sum(len(file.text.encode()) for file in files) < 1_000_000


def test_a_missing_path_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"there is no file or folder .*nowhere"):
        corpus_of(tmp_path / "nowhere")


def test_a_folder_without_text_is_refused(tmp_path):
    with pytest.raises(InputError, match=rf"the folder {tmp_path} holds no file that ends in \.py, \.txt"):
        corpus_of(tmp_path)


def test_empty_text_is_refused(tmp_path):
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(InputError, match=rf"there is no text in {tmp_path}: every file is empty"):
        corpus_of(tmp_path)


def test_a_single_file_cannot_be_split(tmp_path):
    (tmp_path / "one.txt").write_text("text")
    with pytest.raises(InputError, match=r"one file with text, .*one\.txt, so none is left .* set held_out to 0"):
        corpus_of(tmp_path)


@pytest.mark.parametrize(
    "data, message",
    [
        (b"text\0more", r"bad\.txt is binary, not text: it holds a zero byte at 4"),
        (b"caf\xe9 noir", r"bad\.txt is not UTF-8 text: byte 0xe9 at 3"),
    ],
)
def test_a_binary_file_is_refused_by_name(folder, data, message):
    (folder / "bad.txt").write_bytes(data)
    with pytest.raises(InputError, match=message):
        corpus_of(folder)
