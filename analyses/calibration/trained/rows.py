"""One model judged: what the audit names, what brute force says of it, and which bars it meets."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from analyses.audit import audit
from analyses.calibration.trained.brute_force import BruteForce
from analyses.calibration.trained.cases import Case
from analyses.calibration.trained.minimal import Member, Others, members, others
from analyses.calibration.trained.named import Named, named_by
from analyses.calibration.trained.unseen import SEED, questions
from interp.stats import Estimate

REMOVED, PRESERVED = 0.9, 0.8
MINUTES = 600.0
"""Allowed for an audit: so much that none is cut short, however busy the machine, and all can be repeated."""

BARS: dict[str, str] = {
    "named": "a model with a gain has a circuit named, one without has none",
    "removed": f"without the circuit at least {REMOVED:.0%} of the gain is gone",
    "preserved": f"with the circuit only, at least {PRESERVED:.0%} of the gain is left",
    "members": "dropping any head of the circuit loses something, or the audit marks it as replaceable",
    "no better set": "no other set of as many heads does better",
    "not all heads": "some head is left out, or no set of one head fewer would meet the first two shares",
}
"""What a verdict is held against; for a model without a gain only the first."""


@dataclass(frozen=True)
class Row:
    """One model; `removed`, `preserved`, `members` and `others` where there is a gain and a circuit was named."""

    case: Case
    gain: Estimate
    """Share of what can be gained above the order-free reader."""
    has_gain: bool
    named: Named
    removed: Estimate | None
    preserved: Estimate | None
    members: tuple[Member, ...]
    others: Others | None
    bars: dict[str, bool]

    @property
    def agrees(self) -> bool:
        return all(self.bars.values())

    def to_dict(self) -> dict[str, Any]:
        """JSON, with what decided the model."""
        model, task, train = self.case.run.model, self.case.run.task, self.case.run.train
        return {
            "name": self.case.name,
            "kind": self.case.kind,
            "seed": self.case.seed,
            "digest": self.case.digest,
            "positions": self.case.positions,
            "n_layers": model.n_layers,
            "n_heads": model.n_heads,
            "d_model": model.d_model,
            "d_head": model.d_head,
            "d_vocab": model.d_vocab,
            "n_ctx": task.n_ctx,
            "most_steps": train.steps,
            "learning_rate": train.learning_rate,
            "gain": asdict(self.gain),
            "has_gain": self.has_gain,
            "induction": [str(head) for head in self.named.induction],
            "feeders": [str(head) for head in self.named.feeders],
            "support": [str(head) for head in self.named.support],
            "mechanisms": self.named.mechanisms,
            "confidence": self.named.confidence,
            "redundant": sorted(map(str, self.named.redundant)),
            "doubts": list(self.named.doubts),
            "removed": None if self.removed is None else asdict(self.removed),
            "preserved": None if self.preserved is None else asdict(self.preserved),
            "members": {
                str(m.head): {"removed": m.removed, "preserved": m.preserved, "needed": m.needed} for m in self.members
            },
            "others": None if self.others is None else self.others.to_dict(),
            "bars": self.bars,
            "agrees": self.agrees,
        }


def judge(case: Case, model: nn.Module) -> Row:
    """The case's model audited and held against brute force."""
    task = case.run.task
    report = audit(model, bos=0 if task.bos else None, budget=MINUTES)
    return row_of(case, named_by(report), BruteForce(model, questions(task)))


def row_of(case: Case, named: Named, force: BruteForce) -> Row:
    """What becomes of a named circuit."""
    circuit, has_gain = named.circuit, force.has_gain
    bars = {"named": bool(circuit) == has_gain}
    if not (circuit and has_gain):
        return Row(case, force.gain_of_whole, has_gain, named, None, None, (), None, bars)
    removed, preserved = force.removed(circuit), force.preserved(circuit)
    each = members(force, circuit)
    rest = others(force, circuit, torch.Generator().manual_seed(SEED))
    bars |= {
        "removed": removed.mean >= REMOVED,
        "preserved": preserved.mean >= PRESERVED,
        "members": all(member.needed or member.head in named.redundant for member in each),
        "no better set": rest.better == 0,
        "not all heads": len(circuit) < len(force.heads) or not _fewer_suffice(force),
    }
    return Row(case, force.gain_of_whole, has_gain, named, removed, preserved, each, rest, bars)


def _fewer_suffice(force: BruteForce) -> bool:
    """Whether all heads but one meet the bars of what is removed and preserved."""
    sets = [frozenset(force.heads) - {head} for head in force.heads]
    return any(force.removed(s).mean >= REMOVED and force.preserved(s).mean >= PRESERVED for s in sets)
