"""The in-context picture: what the model gains by reading more, which share the named heads carry, when it formed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from analyses.audit.completeness import Completeness, completeness
from analyses.audit.development import Development, measure_development
from analyses.criteria import Criteria
from analyses.evidence import RANK, Verdict
from interp.heads import HeadBattery, Protocol
from interp.heads.stimuli import random_tokens
from interp.in_context import (
    Carried,
    InContextScore,
    PositionLosses,
    ReaderLosses,
    Support,
    carried_share,
    in_context_score,
    loss_by_position,
    reader_losses,
    supporting_heads,
)
from interp.names import Head
from interp.stats import Estimate, bootstrap_interval

MOST_SETS = 40
"""Other sets of heads beside the circuit; all of them where there are not more."""
FEWEST_SETS = 5
"""Where fewer could be afforded, none are tried."""
MOST_WORK = 2e10
"""Parameters times tokens: of one pass, for the picture to be measured at all, and of the passes with other sets."""
SKIPPED = "causal evidence was left out"


@dataclass(frozen=True, eq=False)
class Circuit:
    """The heads that an audit names in induction, and the earlier ones that it says they read."""

    induction: tuple[Head, ...]
    feeders: tuple[Head, ...]
    undecided: tuple[Head, ...] = ()
    """Heads that evidence now missing or undecided could still make induction heads."""

    @property
    def heads(self) -> tuple[Head, ...]:
        return tuple(sorted({*self.induction, *self.feeders}))

    def __str__(self) -> str:
        return ", ".join(map(str, self.heads))

    def to_dict(self) -> dict[str, Any]:
        return {"induction": [str(head) for head in self.induction], "feeders": [str(head) for head in self.feeders]}


@dataclass(frozen=True, eq=False)
class InContext:
    """Measured on the battery's repeated tokens; `fresh` is the same on tokens that do not repeat."""

    losses: PositionLosses
    fresh: PositionLosses
    readers: ReaderLosses | None
    """Ideal readers on these tokens; None where a block may repeat tokens."""
    score: InContextScore
    fresh_score: InContextScore
    gain: Estimate
    """Loss on unpredictable minus predictable tokens, nats."""
    fresh_gain: Estimate
    """The same positions on fresh tokens: what position alone brings."""
    best_gain: float | None
    order_free_gain: float | None
    circuit: Circuit
    carried: Carried | None
    reason: str
    """Why there is no `carried`."""
    completeness: Completeness | None
    """Whether the circuit accounts for the gain; None where causal evidence was left out."""
    support: Support | None
    """Heads that the circuit needs beside it, looked for where too little stays with it alone."""
    development: Development
    text: str
    predictable: Tensor = field(repr=False)

    @property
    def doubts(self) -> tuple[str, ...]:
        """Where the circuit does not account for what is gained from order, and which heads take part beside it."""
        said = () if self.completeness is None else self.completeness.doubts
        if said and not self.circuit.heads and self.circuit.undecided:
            said = (f"{said[0]} (undecided as induction: {', '.join(map(str, self.circuit.undecided))})",)
        if self.support is None:
            return said
        heads, kept = ", ".join(map(str, self.support.heads)), self.support.kept
        take = "takes" if len(self.support.heads) == 1 else "take"
        stays = f"{kept.mean:.2f} [{kept.low:.2f}, {kept.high:.2f}] of it stays"
        return (*said, f"{heads} {take} part beside them: heads were added one by one until {stays}")

    def reader_score(self, losses: Tensor) -> float:
        """The in-context score of a reader with these losses by position."""
        return float(losses[self.score.late - 1] - losses[self.score.early - 1])

    def to_dict(self) -> dict[str, Any]:
        readers = None
        if self.readers is not None:
            scores = {
                f"{name}_score": self.reader_score(getattr(self.readers, name)) for name in ("best", "order_free")
            }
            readers = {
                **self.readers.to_dict(),
                **scores,
                "gain": self.best_gain,
                "order_free_gain": self.order_free_gain,
            }
        return {
            "protocol": self.text,
            "loss_by_position": self.losses.to_dict(),
            "fresh_loss_by_position": self.fresh.to_dict(),
            "readers": readers,
            "score": self.score.to_dict(),
            "fresh_score": self.fresh_score.to_dict(),
            "gain": self.gain.to_dict(),
            "fresh_gain": self.fresh_gain.to_dict(),
            "circuit": self.circuit.to_dict(),
            "carried": None if self.carried is None else self.carried.to_dict(),
            "reason": self.reason,
            "completeness": None if self.completeness is None else self.completeness.to_dict(),
            "support": None if self.support is None else self.support.to_dict(),
            "development": self.development.to_dict(),
        }


def measure_in_context(
    model: nn.Module,
    battery: HeadBattery,
    verdicts: Sequence[Verdict],
    criteria: Criteria,
    seed: int,
    *,
    run: Path | None = None,
    causal: bool = True,
    most_sets: int | None = None,
) -> InContext:
    """Everything in-context, from its own generator; `run` is the run folder whose checkpoints are looked at.

    Without `causal` no head is removed. `most_sets` other sets of heads stand beside the circuit (40, fewer for a large
    model).
    """
    generator, level = torch.Generator().manual_seed(seed), criteria.interval_level
    tokens, predictable = battery.tokens, battery.predictable
    losses = loss_by_position(model, tokens, generator, level)
    unrepeated = fresh_tokens(battery.protocol, len(tokens), generator)
    fresh = loss_by_position(model, unrepeated, generator, level)
    readers = reader_losses(battery.protocol)
    best, counting = (None, None) if readers is None else readers.gain(predictable[0])
    circuit = named_circuit(verdicts, criteria)
    reason = "" if circuit.heads else f"no head is named in induction, confidence {criteria.expect_confidence} or more"
    reason = reason if causal else SKIPPED
    carried = None
    if not reason:
        most = sets_for(model, battery) if most_sets is None else most_sets
        carried = carried_share(
            model, circuit.heads, tokens, predictable, generator, reference=unrepeated, most=most, level=level
        )
    gain = bootstrap_interval(losses.gain(predictable), generator, level)
    complete = completeness(gain, counting, best, str(circuit), carried, criteria) if causal else None
    lacking = complete is not None and not complete.keeps_enough and sets_for(model, battery) > 0
    support = _support(model, circuit, battery, unrepeated, counting, criteria, generator) if lacking else None
    return InContext(
        losses=losses,
        fresh=fresh,
        readers=readers,
        score=in_context_score(losses, generator, level=level),
        fresh_score=in_context_score(fresh, generator, level=level),
        gain=gain,
        fresh_gain=bootstrap_interval(fresh.gain(predictable), generator, level),
        best_gain=best,
        order_free_gain=counting,
        circuit=circuit,
        carried=carried,
        reason=reason,
        completeness=complete,
        support=support,
        development=measure_development(run, model, tokens, generator, level, causal),
        text=f"{len(tokens)} sequences: {battery.protocol.text}",
        predictable=predictable[0],
    )


def _support(
    model: nn.Module,
    circuit: Circuit,
    battery: HeadBattery,
    reference: Tensor,
    counting: float | None,
    criteria: Criteria,
    generator: torch.Generator,
) -> Support | None:
    """Heads that the circuit needs beside it."""
    return supporting_heads(
        model,
        circuit.heads,
        battery.tokens,
        battery.predictable,
        generator,
        reference=reference,
        counting=max(0.0, counting or 0.0),
        least=criteria.circuit_kept,
        level=criteria.interval_level,
    )


def named_circuit(verdicts: Sequence[Verdict], criteria: Criteria) -> Circuit:
    """Heads with an induction claim at the confidence that --expect asks for, and their feeders."""
    least = RANK[criteria.expect_confidence]
    claims = [
        (verdict.head, claim)
        for verdict in verdicts
        for claim in verdict.roles
        if claim.role == "induction" and claim.confidence is not None and RANK[claim.confidence] >= least
    ]
    feeders = {Head.parse(feeder.head) for _, claim in claims for feeder in claim.feeders}
    undecided = [
        verdict.head
        for verdict in verdicts
        for claim in verdict.claims
        if claim.role == "induction" and claim.confidence is None and claim.possible_confidence is not None
    ]
    return Circuit(
        tuple(Head.parse(head) for head, _ in claims), tuple(sorted(feeders)), tuple(map(Head.parse, undecided))
    )


def fresh_tokens(protocol: Protocol, n: int, generator: torch.Generator) -> Tensor:
    """Random tokens as long as the protocol's, without its repetition: all different if there are enough of them."""
    drawn = random_tokens(n, protocol.repeats * protocol.period, protocol.symbols, generator)
    return drawn if protocol.bos is None else nn.functional.pad(drawn, (1, 0), value=protocol.bos)


def affordable(model: nn.Module, battery: HeadBattery) -> bool:
    """Whether a pass over the battery's tokens is cheap enough for the some tens of them that this takes."""
    return work_of(model, battery) <= MOST_WORK


def sets_for(model: nn.Module, battery: HeadBattery) -> int:
    """How many other sets of heads can be tried, at two passes each."""
    count = int(min(MOST_SETS, MOST_WORK / (2 * work_of(model, battery))))
    return count if count >= FEWEST_SETS else 0


def work_of(model: nn.Module, battery: HeadBattery) -> float:
    """Parameters times tokens of one pass."""
    return float(sum(parameter.numel() for parameter in model.parameters())) * battery.tokens.numel()
