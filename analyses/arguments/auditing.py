"""The options of `interp audit`; no torch import."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from analyses.arguments.common import OnModel, optional

Expectations = Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="ROLE[:N]")]
Before = Annotated[Path | None, optional("BEFORE", lambda words: Path(words[0]))]
Kinds = Annotated[tuple[Literal["weights", "behaviour", "causal"], ...], tyro.conf.UseAppendAction]


@dataclass(frozen=True, kw_only=True)
class Audit(OnModel):
    """Give every head a role, with three kinds of evidence, and write the report."""

    expect: Expectations = ()
    """As in induction or induction:2: at least so many heads of this role; may be repeated. Exit code 0 if all
    hold, 1 if not, 3 if that cannot be decided."""
    confidence: Literal["weak", "moderate", "strong"] | None = None
    """Confidence from which a head counts for --expect; the default is in the criteria."""
    skip: Kinds = ()
    """A kind of evidence not to gather; may be repeated."""
    lens: Literal["logit", "tuned"] = "logit"
    """With tuned, a tuned lens is trained too (some seconds) and shown beside the logit lens and a bias-only control."""
    report: bool = True
    """Write report.html and the PNGs beside report.json."""
    diff: Before = None
    """Compare this audit with that of MODEL, as in --diff BEFORE AFTER: heads are matched by what they do. Each is a
    folder, audited now, or the report.json of an earlier audit. Writes diff.json."""
