"""The options of `interp claims`; no torch import."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from analyses.arguments.common import Common, Folder
from toy_models.errors import InputError

Action = Annotated[
    Literal["list", "run", "placebo", "report"],
    tyro.conf.Positional,
    tyro.conf.arg(metavar="[{list,run,placebo,report}]"),
]
Names = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[NAME ...]")]


@dataclass(frozen=True, kw_only=True)
class Claims(Common):
    """Known claims about small networks, each an experiment with a control: list, run, placebo or report."""

    action: Action = "list"
    """list: the claims with their stored verdicts. run: train their arms and judge. placebo: judge the control arm
    against itself with other seeds. report: a table, and a page with a figure for each."""
    names: Names = ()
    """Which claims; for list and report all of them if left out."""
    all: bool = False
    """Every claim."""
    seeds: int = 3
    """How many seeds, from --seed on: the same ones for each arm, which are compared in pairs."""
    jobs: int = 1
    """Processes of one thread each."""
    budget: float = 1.0
    """Scales the length of every training; 1.0 is what each claim declares."""
    draws: int = 20
    """Of placebo: how many times two sets of seeds are compared."""
    pool: int = 8
    """Of placebo: the fewest seeds of the control arm that draws take theirs from, those of the run among them; where
    trainings are short there are more, up to seeds of its own for each draw."""
    out: Folder = None
    """Folder of what is written: of run and placebo the results' JSON (left out: those that come with the package,
    written with the default seeds and budget only), of report the page (left out: runs/claims)."""
    results: Folder = None
    """Folder of the results' JSON that list and report read; left out: those that come with the package."""
    cache: Folder = None
    """Folder where every training's numbers are kept, so that none is done twice; runs/claims if left out."""
    seed: int = 0
    """The first seed; of placebo, what its draws are drawn with."""
    threads: int = 1
    """One: every training runs on one thread, --jobs of them at a time."""
    readme: bool = False
    """Of report: write the README's table and figure again."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in {"seeds": 1, "jobs": 1, "draws": 1, "pool": 2}.items():
            if getattr(self, name) < least:
                raise InputError(f"--{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 < self.budget < float("inf"):
            raise InputError(f"--budget must be above 0 (1.0 is the declared length), got {self.budget}")
        if self.threads != 1:
            raise InputError("interp claims trains in processes of one thread each: use --jobs instead of --threads")
        if self.names and self.all:
            raise InputError(f"either names of claims or --all, got both --all and {self.names[0]}")
        if self.action in ("run", "placebo"):
            if not self.names and not self.all:
                raise InputError(f"which claims? interp claims {self.action} NAME ... or --all (interp claims list)")
            if self.results is not None:
                raise InputError(f"interp claims {self.action} writes its results into --out; --results is read only")
        if self.action == "placebo" and (self.seeds, self.budget, self.device) != (3, 1.0, "cpu"):
            raise InputError("interp claims placebo takes seeds, budget and device from the stored results")
        if self.readme and (self.action != "report" or self.results is not None):
            raise InputError("--readme goes with interp claims report, and with the results that come with the package")
