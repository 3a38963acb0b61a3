"""The audit, from a model to verdicts: measure once, gather evidence, weigh it."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from analyses.audit.behaviour import Behaviour
from analyses.audit.budget import make_plan
from analyses.audit.causal import Causal
from analyses.audit.copying import Copying
from analyses.audit.idle import Idle
from analyses.audit.in_context import affordable, measure_in_context
from analyses.audit.matching import Edge, matching_edges
from analyses.audit.measured import material_of
from analyses.audit.placed import Placed
from analyses.audit.plan import Plan
from analyses.audit.progress import Progress
from analyses.audit.readable import measure_readable
from analyses.audit.result import AuditReport
from analyses.audit.sampling import sampled, weight_evidence
from analyses.audit.suppression import Suppression
from analyses.audit.verdicts import Sources
from analyses.audit.virtual import Virtual
from analyses.audit.within import verdicts_of
from analyses.criteria import Criteria
from analyses.evidence import KINDS, Kind
from analyses.loading import Subject, load_subject
from interp.causality import require_causal
from interp.errors import InputError
from interp.heads import HeadBattery, measure_heads, next_token_push
from interp.names import Head
from interp.weights import TransformerWeights, weights_of
from interp.weights.shape import shape_of


def audit(
    model: nn.Module | Subject | str | Path,
    *,
    bos: int | None = None,
    seed: int = 0,
    criteria: Criteria | None = None,
    skip: Collection[str] = (),
    context: bool = True,
    tuned: bool = False,
    budget: float | None = None,
    plan: Plan | None = None,
    progress: bool = False,
) -> AuditReport:
    """Give every head of a transformer a role, with the evidence for it.

    `model`: a run or checkpoint folder, or a model in memory (ours, or a TransformerLens bridge), with `bos`
    its beginning-of-sequence token if it has one (folders know theirs). Everything random comes from `seed`; `skip`
    leaves out kinds of evidence. Behaviour and ablation are measured on repeated random tokens, Olsson et al.'s
    protocol or the largest like it that fits; `criteria` hold the thresholds and their sources. With `context` the
    in-context picture and the logit lens are measured too, which decide no verdict; `tuned` adds the tuned lens.
    Where everything would take longer than `budget` minutes (by default: a minute, and then four are planned for),
    less is measured, by a plan that the report keeps; given as `plan` it is followed again, with the same numbers.
    `progress` shows a bar where there is a terminal.
    Raises `InputError` for folders that cannot be read, models that are no transformers, without attention layers, or
    too small to repeat anything.
    """
    if unknown := set(skip) - set(KINDS):
        raise InputError(f"no kind of evidence is called {unknown.pop()!r}; there are {', '.join(KINDS)}")
    skipped = tuple(kind for kind in KINDS if kind in skip)
    if skipped == KINDS:
        raise InputError(f"all of {', '.join(KINDS)} are skipped: without evidence there is no verdict")
    if isinstance(model, str | Path):
        model = load_subject(model)
    if not isinstance(model, Subject):
        about = {"path": None, "class": type(model).__name__}
        plan = plan or make_plan(model, bos, minutes=budget)
        return _audit(model, about, bos, seed, criteria or Criteria(), skipped, Extras(plan, context, tuned))
    bos = model.bos if bos is None else bos
    plan = plan or make_plan(model.model, bos, model.excluded, budget)
    extras = Extras(plan, context, tuned, model.run, model.excluded, progress)
    return _audit(model.model, model.to_dict(), bos, seed, criteria or Criteria(), skipped, extras)


@dataclass(frozen=True)
class Extras:
    """How much is measured, and what beside the evidence that decides.

    `run` is the run folder whose checkpoints are looked at; `excluded` are tokens that are never drawn.
    """

    plan: Plan
    context: bool = True
    tuned: bool = False
    run: Path | None = None
    excluded: tuple[int, ...] = ()
    progress: bool = False


def _audit(
    model: nn.Module,
    about: dict[str, Any],
    bos: int | None,
    seed: int,
    criteria: Criteria,
    skip: tuple[Kind, ...],
    extras: Extras,
) -> AuditReport:
    plan = extras.plan
    with Progress(plan.estimated, extras.progress) as bar:
        sources, battery, chosen = _gather(model, bos, seed, criteria, skip, extras, bar)
    verdicts = verdicts_of(shape_of(model).heads, sources, chosen)
    picture = None
    seen = extras.context and plan.everything and "behaviour" not in skip
    if seen and affordable(model, battery):
        causal = "causal" not in skip
        picture = measure_in_context(model, battery, verdicts, criteria, seed, run=extras.run, causal=causal)
    shown = None if "behaviour" in skip else battery
    return AuditReport(about, verdicts, sources, criteria, seed, skip, shown, picture, plan)


def _gather(
    model: nn.Module,
    bos: int | None,
    seed: int,
    criteria: Criteria,
    skip: tuple[Kind, ...],
    extras: Extras,
    bar: Progress,
) -> tuple[Sources, HeadBattery, tuple[Head, ...] | None]:
    """The evidence, and the heads that the plan has chosen for its costly part."""
    require_causal(model, "the audit")
    generator, plan = torch.Generator().manual_seed(seed), extras.plan
    weights = weights_of(model)
    with bar.stage("behaviour"):
        level, excluded = criteria.interval_level, extras.excluded
        battery = measure_heads(
            model, generator, bos=bos, excluded=excluded, n=plan.sequences, level=level, weights=weights
        )
    chosen = plan.chosen(battery)
    seen = extras.context and plan.everything and "behaviour" not in skip
    readable = measure_readable(model, battery, criteria, seed, tuned=extras.tuned) if seen else None
    read, first = sampled(weights.to(device="cpu"), plan, bos, extras.excluded, generator)
    with bar.stage("weights"):
        edges = _edges(read, battery, criteria, plan, chosen, generator) if "weights" not in skip else {}
        behaviour = None if "behaviour" in skip else _behaviour(model, weights, battery, criteria, generator)
        evidence = None if "weights" in skip else weight_evidence(read, edges, criteria, generator, first, chosen)
    material = material_of(model, weights, battery, criteria, generator, bos, (*skip, *plan.skip_beside))
    feeders = None if chosen is None else plan.feeders_of(chosen, battery)
    with bar.stage("causal"):
        measured = (material.intact, weights, battery, criteria, generator, edges, chosen, feeders)
        causal = Causal(*measured) if "causal" not in skip else None
    unpredicted = replace(material, skip=(*material.skip, *plan.skip_predicted))
    sources = Sources(
        behaviour=behaviour,
        weights=evidence,
        causal=causal,
        criteria=criteria,
        copying=Copying(material, behaviour, evidence),
        suppression=Suppression(unpredicted, evidence),
        placed=Placed(material),
        virtual=Virtual(material),
        idle=Idle(unpredicted, causal if plan.everything else None),
        readable=readable,
    )
    return sources, battery, chosen


def _edges(
    weights: TransformerWeights,
    battery: HeadBattery,
    criteria: Criteria,
    plan: Plan,
    chosen: tuple[Head, ...] | None,
    generator: torch.Generator,
) -> dict[Head, tuple[Edge, ...]]:
    partners = None if chosen is None else plan.partners_of(chosen, battery)
    offset = battery.protocol.period - 1
    return matching_edges(weights, generator, criteria.null_quantile, offset, plan.draws, partners)


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
