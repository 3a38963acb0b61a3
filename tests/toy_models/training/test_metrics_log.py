"""The metrics file of a resumed run holds every step once, whatever the killed one left."""

import errno
import os

import pytest

from toy_models.atomic import OutputError
from toy_models.errors import InputError
from toy_models.training import metrics_log
from toy_models.training.metrics_log import MetricsLog, read_metrics

RECORDS = [{"step": 0, "loss": 4.0}, {"step": 10, "loss": 3.5}, {"step": 20, "loss": 3.25}]


@pytest.fixture
def path(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl", keep_until=-1)
    for record in RECORDS:
        log.append(record)
    log.close()
    return tmp_path / "metrics.jsonl"


def test_each_record_is_a_line_that_can_be_read_at_once(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl", keep_until=-1)
    for n, record in enumerate(RECORDS, start=1):
        log.append(record)
        assert read_metrics(log.path) == RECORDS[:n]
    log.sync()
    log.close()
    assert log.path.read_text().splitlines()[1] == '{"step": 10, "loss": 3.5}'


@pytest.mark.parametrize(("keep_until", "kept"), [(-1, 0), (0, 1), (9, 1), (10, 2), (100, 3)])
def test_steps_after_the_checkpoint_are_taken_out(path, keep_until, kept):
    log = MetricsLog(path, keep_until)
    assert log.records == read_metrics(path) == RECORDS[:kept]
    log.append({"step": 99})
    log.close()
    assert read_metrics(path) == [*RECORDS[:kept], {"step": 99}]


@pytest.mark.parametrize("torn", [b'{"step": 30, "lo', b'{"step": 30}', b"\xff"])
def test_a_torn_last_line_is_dropped(path, torn):
    path.write_bytes(path.read_bytes() + torn)
    assert read_metrics(path) == RECORDS
    MetricsLog(path, keep_until=100).close()
    assert path.read_bytes().endswith(b"3.25}\n")


@pytest.mark.parametrize("line", [b"{", b"[1]", b'{"loss": 1}', b'{"step": "3"}', b"\xff", b""])
def test_another_line_that_is_no_record_is_named(path, line):
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(whole[0] + line + b"\n" + whole[1])
    with pytest.raises(InputError, match=r"metrics\.jsonl: line 2 is not the record of a step"):
        read_metrics(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"metrics\.jsonl cannot be read: No such file or directory"):
        read_metrics(tmp_path / "metrics.jsonl")


def test_a_full_disk_is_one_clear_line(path, monkeypatch):
    log = MetricsLog(path, keep_until=100)

    class Full:
        def write(self, data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    log.close()
    log._file = Full()  # type: ignore[assignment]
    with pytest.raises(OutputError, match=r"cannot write .*metrics\.jsonl: No space left on device"):
        log.append({"step": 30})
    assert read_metrics(path) == log.records == RECORDS


def test_a_line_that_only_half_fitted_is_an_error(path):
    log = MetricsLog(path, keep_until=100)

    class NearlyFull:
        def write(self, data):
            return len(data) - 1

    log.close()
    log._file = NearlyFull()  # type: ignore[assignment]
    with pytest.raises(OutputError, match="no space left"):
        log.append({"step": 30})
    assert log.records == RECORDS


def test_sync_reaches_the_disk(path, monkeypatch):
    synced: list[int] = []
    monkeypatch.setattr(metrics_log.os, "fsync", synced.append)
    log = MetricsLog(path, keep_until=100)
    synced.clear()
    log.sync()
    assert synced == [log._file.fileno()]
    log.close()
