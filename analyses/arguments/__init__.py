"""The options of every `interp` command; no torch import, so that `--help` is quick."""

from analyses.arguments.auditing import Audit
from analyses.arguments.claims import Claims
from analyses.arguments.common import Common, OnModel, OnSequence
from analyses.arguments.making import Demo, Handmade, Train
from analyses.arguments.reading import Aim, Circuits, Composition, Heads, Lens, Paths, Patterns
from analyses.arguments.searching import Search
from analyses.arguments.training_shelf import TRAIN_KINDS, TrainKind, TrainShelf
from analyses.arguments.units import Ablate, Maximise, OnRun, Units

COMMANDS: dict[str, type[Common]] = {
    kind.__name__.lower(): kind
    for kind in (
        Demo,
        Train,
        Handmade,
        Audit,
        Heads,
        Patterns,
        Circuits,
        Composition,
        Lens,
        Paths,
        Search,
        Claims,
        Units,
        Maximise,
        Ablate,
    )
}

__all__ = [
    "COMMANDS",
    "TRAIN_KINDS",
    "Ablate",
    "Aim",
    "Audit",
    "Circuits",
    "Claims",
    "Common",
    "Composition",
    "Demo",
    "Handmade",
    "Heads",
    "Lens",
    "Maximise",
    "OnModel",
    "OnRun",
    "OnSequence",
    "Paths",
    "Patterns",
    "Search",
    "Train",
    "TrainKind",
    "TrainShelf",
    "Units",
]
