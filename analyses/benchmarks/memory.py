"""Peak memory of one call, in a process of its own."""

import multiprocessing
import resource
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

MB = 1e6


@dataclass(frozen=True)
class Peak:
    """Resident memory in bytes: what the process held before the call, and the most it held during it."""

    before: float
    during: float

    @property
    def added(self) -> float:
        return max(0.0, self.during - self.before)


def peak_memory(prepare: Callable[[], Any], call: Callable[[Any], object]) -> Peak:
    """Runs `call(prepare())` in a new process and reads how its resident memory grew during the call.

    Both must be functions of a module: the process imports it anew. Where the kernel can, the high-water mark is set
    back before the call; where it cannot, it includes what `prepare` needed, so that the call never looks leaner than
    it is. Raises `RuntimeError` if the process ends without an answer.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(prepare, call, there))
    process.start()
    there.close()
    try:
        return Peak(*here.recv())
    except EOFError as error:
        raise RuntimeError("the process that measures memory ended early; is there enough of it?") from error
    finally:
        process.join()


def _measure(prepare: Callable[[], Any], call: Callable[[Any], object], answer: Connection) -> None:
    import torch

    torch.set_num_threads(1)
    prepared = prepare()
    _reset_high_water()
    before = _resident()
    call(prepared)
    answer.send((before, _high_water()))


def _reset_high_water() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _resident() -> float:
    return _status("VmRSS")


def _high_water() -> float:
    return _status("VmHWM")


def _status(name: str) -> float:
    """A line of /proc/self/status; elsewhere the process's largest resident size."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
