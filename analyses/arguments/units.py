"""The options of the commands that read units and filters of the shelf's models; no torch import."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from analyses.arguments.common import Common, Whole
from toy_models.errors import InputError

UNIT_HELP = "A unit, as NAME:K (blocks.0.layer.hook_post:3), or all of a point, as NAME; may be repeated."
UNITS_HELP = "Units to remove together, as NAME:K, NAME:K,K or NAME:K-K; several points after one another."
POINT_HELP = "Only these hook points, by name or glob; may be repeated."

RunPath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
Points = Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="NAME", help=POINT_HELP)]
OneUnit = Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="NAME:K", help=UNIT_HELP)]
ManyUnits = Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME:K [NAME:K ...]", help=UNITS_HELP)]


@dataclass(frozen=True, kw_only=True)
class OnRun(Common):
    """Options of the commands that read a model of the shelf."""

    model: RunPath
    """Run or checkpoint folder of interp train convnet, resnet, mlp or dropout-ae."""
    inputs: Whole = None
    """How many of the held-out examples to measure on; all, if left out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inputs is not None and self.inputs < 2:
            raise InputError(f"--inputs must be at least 2, got {self.inputs}")


@dataclass(frozen=True, kw_only=True)
class Units(OnRun):
    """What units and filters do: responses, dead and saturated units, gradients, how linear layers are."""

    point: Points = ()


@dataclass(frozen=True, kw_only=True)
class Maximise(OnRun):
    """Inputs that drive a unit or filter as far as it goes, beside real ones and the same net untrained."""

    unit: OneUnit = ()
    steps: int = 200
    """Steps of gradient ascent on the input."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.unit:
            raise InputError("which unit? Name one with --unit, as in --unit blocks.0.layer.hook_post:3")
        if self.steps < 1:
            raise InputError(f"--steps must be at least 1, got {self.steps}")


@dataclass(frozen=True, kw_only=True)
class Ablate(OnRun):
    """What breaks when units or filters are removed, beside random and magnitude-matched sets, class by class."""

    units: ManyUnits = ()
    to: Literal["mean", "zero", "resample"] = "mean"
    """What a removed unit gives instead: its mean, nothing, or its values on another example."""
    controls: int = 100
    """How many random sets of as many units, and how many of like magnitude."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.units:
            raise InputError("which units? Name them with --units, as in --units blocks.0.layer.hook_post:3,5")
        if self.controls < 2:
            raise InputError(f"--controls must be at least 2, got {self.controls}")
