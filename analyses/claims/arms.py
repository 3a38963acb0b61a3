"""The trainings that claims ask for: one function, config, seed, budget and device each, known by a digest."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from analyses.claims.claim import Arm, Claim
from analyses.claims.sources import sources_digest
from interp.errors import InputError


@dataclass(frozen=True)
class Task:
    """One arm to be trained with one seed; `wanted_by` says for which claims, in an error's words."""

    arm: Arm
    seed: int
    budget: float
    device: str
    wanted_by: str

    @cached_property
    def key(self) -> str:
        """Equal for trainings that give the same numbers: with a source or torch changed it is another."""
        return digest_of({**describe(self.arm), "sources": sources_digest(module_of(self.arm)), **self.request})

    @property
    def request(self) -> dict[str, Any]:
        return {"seed": self.seed, "budget": self.budget, "device": self.device, "torch": torch.__version__}

    def __str__(self) -> str:
        return f"{self.wanted_by}, seed {self.seed}"


def describe(arm: Arm) -> dict[str, Any]:
    """An arm as JSON: its function by name, and its config."""
    return {"function": f"{arm.train.__module__}.{arm.train.__qualname__}", "config": dict(arm.config)}


def arm_digest(arm: Arm) -> str:
    """Of function and config alone: the same whatever their source is, so that an earlier cost can be looked up."""
    return digest_of(describe(arm))


def module_of(arm: Arm) -> str:
    return arm.train.__module__


def digest_of(values: Any) -> str:
    """The first 24 hexadecimal digits of the SHA-256 of a JSON form."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def check_arms(claims: Iterable[Claim]) -> None:
    """`InputError` for an arm that cannot be sent to another process or known by a digest."""
    for claim in claims:
        for name, arm in claim.arms.items():
            said = f"claim {claim.name}: arm {name}"
            if "<" in getattr(arm.train, "__qualname__", "<"):
                raise InputError(f"{said}: its function must stand in a module by its name, got {arm.train!r}")
            try:
                arm_digest(arm)
            except (TypeError, ValueError) as error:
                raise InputError(f"{said}: its config has no JSON form: {error}") from None


def tasks_of(claim: Claim, arms: Mapping[str, Arm], seeds: Sequence[int], budget: float, device: str) -> list[Task]:
    """These arms of a claim with every seed."""
    return [
        Task(arm, seed, budget, device, f"claim {claim.name}: arm {name}")
        for name, arm in arms.items()
        for seed in seeds
    ]


def unique(tasks: Iterable[Task]) -> list[Task]:
    """Equal trainings once, each saying how many others want it too."""
    wanted: dict[str, list[Task]] = {}
    for task in tasks:
        wanted.setdefault(task.key, []).append(task)
    return [replace(same[0], wanted_by=said([task.wanted_by for task in same])) for same in wanted.values()]


def said(wanted: Sequence[str]) -> str:
    """The first that wants it, and how many others do."""
    others = len(set(wanted)) - 1
    return f"{wanted[0]} (and {others} more)" if others else wanted[0]
