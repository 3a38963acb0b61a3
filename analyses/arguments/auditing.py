"""The options of `interp audit`; no torch import."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from analyses.arguments.common import ModelPath, OnModel, one_of, optional
from toy_models.errors import InputError


def _minutes(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise InputError(f"--budget takes a number of minutes, as in --budget 4, got {word!r}") from None


Expectations = Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="ROLE[:N]")]
Criteria = Annotated[Path | None, optional("FILE.json", lambda words: Path(words[0]))]
Minutes = Annotated[float | None, optional("MINUTES", lambda words: _minutes(words[0]))]
PlanFile = Annotated[Path | None, optional("FILE.json", lambda words: Path(words[0]))]
Before = Annotated[Path | None, optional("BEFORE", lambda words: Path(words[0]))]
Kinds = Annotated[tuple[Literal["weights", "behaviour", "causal"], ...], tyro.conf.UseAppendAction]
Sure = Annotated[Literal["weak", "moderate", "strong"] | None, one_of("weak", "moderate", "strong")]


NO_MODEL = Path("<none>")


@dataclass(frozen=True, kw_only=True)
class Audit(OnModel):
    """Give every head a role, with three kinds of evidence, and write the report."""

    model: ModelPath = NO_MODEL
    """Run or checkpoint folder, Hugging Face folder (safetensors), GGUF file, or the name of a model; may be left out
    with --print-criteria."""
    expect: Expectations = ()
    """As in induction or induction:2: at least so many heads of this role, whether or not it is the one they are named
    after; may be repeated. With a mechanism: induction-by-k, induction-by-q, induction-by-smeared-keys,
    induction-mixed, induction-unidentified. Exit code 0 if all hold, 1 if not, 3 if that cannot be decided."""
    confidence: Sure = None
    """Confidence from which a head counts for --expect; the default is in the criteria."""
    criteria: Criteria = None
    """JSON with thresholds of your own, as in {"pattern_mass": 0.5}; the others keep their defaults."""
    print_criteria: bool = False
    """Print the thresholds in force as JSON that --criteria reads, and do nothing else."""
    skip: Kinds = ()
    """A kind of evidence not to gather; may be repeated."""
    lens: Literal["logit", "tuned"] = "logit"
    """With tuned, a tuned lens is trained too (some seconds), shown beside the logit lens and a bias-only control."""
    budget: Minutes = None
    """Minutes that the audit may take, to trade depth for time; what is left out is said. Without it everything is
    measured of models whose audit takes less than a minute, and four minutes are planned for others."""
    plan: PlanFile = None
    """Measure what an earlier audit did: its report.json, or the plan in it. Gives the same numbers, whatever time it
    takes."""
    report: bool = True
    """Whether to write report.html and the PNGs beside report.json."""
    diff: Before = None
    """Compare this audit with that of MODEL, as in --diff BEFORE AFTER: heads are matched by what they do. Each is a
    folder, audited now, or the report.json of an earlier audit. Writes diff.json."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model == NO_MODEL and not self.print_criteria:
            raise InputError("missing from interp audit: MODEL")
