"""The audit, from a model to verdicts: measure once, gather evidence, weigh it."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from analyses.audit.behaviour import Behaviour
from analyses.audit.causal import Causal
from analyses.audit.in_context import affordable, measure_in_context
from analyses.audit.matching import matching_edges
from analyses.audit.readable import measure_readable
from analyses.audit.result import AuditReport
from analyses.audit.verdicts import Sources, verdict
from analyses.audit.weight_evidence import WeightEvidence
from analyses.criteria import Criteria
from analyses.evidence import KINDS, Kind
from analyses.loading import Subject, load_subject
from interp.errors import InputError
from interp.heads import HeadBattery, measure_heads, next_token_push
from interp.names import Head
from interp.weights import TransformerWeights, weights_of

EVERY_SEQUENCE = 32
"""Sequences of each protocol."""


def audit(
    model: nn.Module | Subject | str | Path,
    *,
    bos: int | None = None,
    seed: int = 0,
    criteria: Criteria | None = None,
    skip: Collection[str] = (),
    context: bool = True,
    tuned: bool = False,
) -> AuditReport:
    """Give every head of a transformer a role, with the evidence for it.

    `model`: a run or checkpoint folder, or a model in memory (ours, or a native TransformerLens bridge), with `bos`
    its beginning-of-sequence token if it has one (folders know theirs). Everything random comes from `seed`; `skip`
    leaves out kinds of evidence. Behaviour and ablation are measured on repeated random tokens, Olsson et al.'s
    protocol or the largest like it that fits; `criteria` hold the thresholds and their sources. With `context` the
    in-context picture and the logit lens are measured too, which decide no verdict; `tuned` adds the tuned lens.
    Raises `InputError` for folders that cannot be read, models that are no transformers, without attention layers, or
    too small to repeat anything.
    """
    if unknown := set(skip) - set(KINDS):
        raise InputError(f"no kind of evidence is called {unknown.pop()!r}; there are {', '.join(KINDS)}")
    skipped = tuple(kind for kind in KINDS if kind in skip)
    if isinstance(model, str | Path):
        model = load_subject(model)
    if not isinstance(model, Subject):
        about = {"path": None, "class": type(model).__name__}
        return _audit(model, about, bos, seed, criteria or Criteria(), skipped, Extras(context, tuned))
    bos = model.bos if bos is None else bos
    extras = Extras(context, tuned, model.run)
    return _audit(model.model, model.to_dict(), bos, seed, criteria or Criteria(), skipped, extras)


@dataclass(frozen=True)
class Extras:
    """What is measured beside the evidence that decides; `run` is the run folder whose checkpoints are looked at."""

    context: bool = True
    tuned: bool = False
    run: Path | None = None


def _audit(
    model: nn.Module,
    about: dict[str, Any],
    bos: int | None,
    seed: int,
    criteria: Criteria,
    skip: tuple[Kind, ...],
    extras: Extras,
) -> AuditReport:
    generator = torch.Generator().manual_seed(seed)
    weights = weights_of(model)
    battery = measure_heads(model, generator, bos=bos, n=EVERY_SEQUENCE, level=criteria.interval_level)
    offset = battery.protocol.period - 1
    on_cpu = weights.to(device="cpu")
    seen = extras.context and "behaviour" not in skip
    readable = measure_readable(model, battery, criteria, seed, tuned=extras.tuned) if seen else None
    edges = {} if "weights" in skip else matching_edges(on_cpu, generator, criteria.null_quantile, offset)
    sources = Sources(
        behaviour=None if "behaviour" in skip else _behaviour(model, weights, battery, criteria, generator),
        weights=None if "weights" in skip else WeightEvidence(on_cpu, edges, criteria, generator, bos),
        causal=None if "causal" in skip else Causal(model, weights, battery, criteria, generator, edges),
        criteria=criteria,
        readable=readable,
    )
    heads = [Head(layer, index) for layer in range(weights.n_layers) for index in range(weights.n_heads)]
    verdicts = tuple(verdict(head, sources) for head in heads)
    picture = None
    if seen and affordable(model, battery):
        causal = "causal" not in skip
        picture = measure_in_context(model, battery, verdicts, criteria, seed, run=extras.run, causal=causal)
    shown = None if "behaviour" in skip else battery
    return AuditReport(about, verdicts, sources, criteria, seed, skip, shown, picture)


def _behaviour(
    model: nn.Module,
    weights: TransformerWeights,
    battery: HeadBattery,
    criteria: Criteria,
    generator: torch.Generator,
) -> Behaviour:
    text = f"{len(battery.tokens)} sequences: {battery.protocol.text}"
    push = next_token_push(
        model,
        weights,
        battery.tokens,
        battery.predictable,
        generator,
        protocol=text,
        level=criteria.interval_level,
    )
    return Behaviour(battery, push, criteria, generator)
