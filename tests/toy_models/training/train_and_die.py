"""Trains a small run in processes that SIGKILL ends, again and again until one finishes; prints what came of it.

Run as `python train_and_die.py FOLDER KIND ...`; in FOLDER/KIND, with KIND one of

whole     one process, not killed
moments   the nth process dies before its nth call that touches the disk, so that each kind of call is reached
finish    the same, counted from where the final model is written
torn      each process dies with a file half-written: the first, later the third, fifth ... it writes
times     each process is killed by its parent after a random time, short beside what the whole run took

Every process is a fork of this one, which has only imported and never computed, so that each starts at once.
"""

import importlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.small_runs import TARGET, metrics_of, small_run
from toy_models import atomic
from toy_models.checkpoint import load_checkpoint
from toy_models.training import run, train
from toy_models.training.metrics_log import MetricsLog
from toy_models.training.run_folder import RunFolder


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_call(n: int) -> None:
    """From here on, the nth call that changes the disk is not made."""
    calls = 0

    def counting(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == n:
                die()
            return real(*args, **kwargs)

        return call

    for owner, name in [(os, "rename"), (os, "replace"), (os, "fsync"), (Path, "mkdir"), (shutil, "rmtree")]:
        setattr(owner, name, counting(getattr(owner, name)))
    atomic._write_synced = counting(atomic._write_synced)
    MetricsLog.append = counting(MetricsLog.append)  # type: ignore[method-assign]


def die_when_finishing(n: int) -> None:
    """From where the final model is written, the nth call that changes the disk is not made."""
    real = RunFolder.finish

    def finish(*args: Any) -> None:
        die_at_call(n)
        real(*args)

    RunFolder.finish = finish  # type: ignore[assignment, method-assign]


def die_in_file(n: int) -> None:
    """From here on, of the nth file only the first half is written; of the nth metrics record too."""
    files = 0
    whole_line = MetricsLog.append

    def write_half(path: Path, data: bytes) -> None:
        nonlocal files
        files += 1
        if files == n:
            path.write_bytes(data[: len(data) // 2])
            die()
        path.write_bytes(data)

    def append_half(log: MetricsLog, record: dict[str, Any]) -> None:
        nonlocal files
        files += 1
        if files == n:
            log._file.write(json.dumps(record).encode()[:20])
            die()
        whole_line(log, record)

    atomic._write_synced = write_half
    MetricsLog.append = append_half  # type: ignore[assignment, method-assign]


def train_until_done(folder: Path, kind: str, whole: float) -> int:
    """Number of processes that were killed before one came to the end; an unbroken run takes `whole` seconds."""
    rng = random.Random(0)
    killed = 0
    while True:
        child = os.fork()
        if child == 0:
            try:
                if kind == "moments":
                    die_at_call(1 + killed)
                elif kind == "finish":
                    die_when_finishing(1 + killed)
                elif kind == "torn":
                    die_in_file(1 + 2 * killed)
                run.measure_target = lambda *_: TARGET
                train(small_run(), folder, progress=False, resume=True)
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        if kind == "times":
            time.sleep(rng.uniform(0.0, whole * (0.1 + 0.05 * killed)))
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if status == 0:
            return killed
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            raise SystemExit(f"process {killed} failed by itself: status {status}")
        killed += 1


if __name__ == "__main__":
    importlib.import_module("torch._dynamo")  # each process's first optimiser would, for longer than it trains
    results, whole = {}, 0.0
    for kind in sys.argv[2:]:
        folder, start = Path(sys.argv[1]) / kind, time.monotonic()
        killed = train_until_done(folder, kind, whole)
        whole = whole or time.monotonic() - start
        left = sorted(p.name for p in folder.rglob(".*"))
        digest = load_checkpoint(folder).model_hash
        results[kind] = {"killed": killed, "hash": digest, "metrics": metrics_of(folder), "left": left}
    print(json.dumps(results))
