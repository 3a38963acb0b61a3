"""What is going on in a long audit, for whoever waits: a bar over its stages, on a terminal only."""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from tqdm import tqdm

SLOW_SECONDS = 20
"""Shorter audits show nothing."""


class Progress:
    """A bar whose whole length is the estimated time; silent without a terminal, and for what is quick."""

    def __init__(self, estimated: Mapping[str, float] | None, shown: bool):
        self.estimated = estimated or {}
        total = sum(self.estimated.values())
        slow = shown and total >= SLOW_SECONDS and sys.stderr.isatty()
        self.bar: Any = tqdm(
            total=total,
            file=sys.stderr,
            disable=not slow,
            leave=False,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}, about {remaining} left{postfix}",
        )

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """The bar says the name, and moves by the stage's share when it is done."""
        self.bar.set_description(f"interp: {name}")
        yield
        self.bar.update(self.estimated.get(name, 0.0))

    def note(self, **numbers: str) -> None:
        """Numbers to show behind the bar from here on."""
        self.bar.set_postfix(numbers, refresh=True)

    def close(self) -> None:
        self.bar.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
