"""How far training is, on stderr: a bar in a terminal, else a line each tenth of the way."""

import sys
from abc import ABC, abstractmethod
from types import TracebackType

from tqdm import tqdm

from toy_models.training.metrics_log import Record
from toy_models.training.target import Target

BAR = "{percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


class BaseProgress(ABC):
    """Shows the records of a run as they come; use as a context manager. `read` is what records count in."""

    read = "tokens"

    def __init__(self, steps: int, shown: bool = True):
        self.steps, self.shown = steps, shown
        self.bar: tqdm | None = None
        self.first: Record | None = None
        self.tenth = 0

    @abstractmethod
    def numbers(self, record: Record) -> list[str]:
        """The numbers of a record that matter."""

    def __enter__(self) -> "BaseProgress":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.close()

    def show(self, record: Record) -> None:
        """Shows the state of the run at one record."""
        if not self.shown:
            return
        if self.first is None:
            self.first, self.tenth = record, self._tenths(record)
        if sys.stderr.isatty():
            self._move_bar(record)
        elif self._tenths(record) > self.tenth:
            self.tenth = self._tenths(record)
            print(f"step {record['step']}/{self.steps}: {self.describe(record)}", file=sys.stderr, flush=True)

    def describe(self, record: Record) -> str:
        """The numbers that matter, speed, time left."""
        parts = self.numbers(record)
        first = self.first or record
        seconds = record["seconds"] - first["seconds"]
        if seconds > 0:
            parts.append(f"{(record[self.read] - first[self.read]) / seconds:,.0f} {self.read}/s")
            per_step = seconds / max(1, record["step"] - first["step"])
            if self.bar is None:
                parts.append(f"{per_step * (self.steps - record['step']):.0f} s left")
        return ", ".join(parts)

    def _tenths(self, record: Record) -> int:
        return int(record["step"]) * 10 // self.steps

    def _move_bar(self, record: Record) -> None:
        if self.bar is None:
            self.bar = tqdm(total=self.steps, initial=record["step"], bar_format=BAR, file=sys.stderr)
        self.bar.set_postfix_str(self.describe(record), refresh=False)
        self.bar.update(record["step"] - self.bar.n)


class Progress(BaseProgress):
    """Of a transformer: loss, and loss on predictable positions beside the optimum."""

    def __init__(self, steps: int, target: Target, shown: bool = True):
        super().__init__(steps, shown)
        self.target = target

    def numbers(self, record: Record) -> list[str]:
        parts = [f"loss {record['loss']:.3f}"] if "loss" in record else []
        if "predictable_loss" in record:
            best = self.target.optimum
            beside = "" if best is None else f" (optimum {best.mean:.3f})"
            parts.append(f"predictable {record['predictable_loss']:.3f}{beside}")
        return parts
