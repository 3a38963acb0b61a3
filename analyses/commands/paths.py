"""`interp paths`: terms of the loss and of the right token's logit, or of a head's attention score."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import torch
from tqdm import tqdm

from analyses.arguments import Paths
from analyses.loading import Subject, load_subject
from analyses.output import deliver, png
from analyses.paths import figures
from analyses.paths.logits import LogitParts, logit_parts
from analyses.paths.sample import Sample, given_sample, random_sample
from analyses.paths.score_tables import score_report
from analyses.paths.scores import score_parts, score_runs
from analyses.paths.term_tables import head_table, layer_table, logit_table, order_table, pair_table
from analyses.sequences import example_of
from analyses.tables import paragraph
from interp.names import Head
from interp.paths import TermImportance, freeze, term_importance_of
from interp.paths.importance import Pair

DELAY = 2.0
"""Seconds before a progress bar appears."""

Made = tuple[Mapping[str, Any], Sequence[str], Mapping[str, bytes | str]]
"""Values for JSON, paragraphs and tables, and figures."""


def run(arguments: Paths) -> int:
    """On random sequences that repeat, or on the one that is given, whose numbers then have no interval."""
    subject = load_subject(arguments.model, arguments.device)
    folder = subject.folder(arguments.out)
    chosen = subject.choose([] if arguments.head is None else [arguments.head])
    head = None if arguments.head is None else chosen[0]
    sample = sample_of(subject, arguments)
    values = {
        "model": subject.to_dict(),
        "source": sample.text,
        "tokens": sample.tokens[0].tolist() if sample.single else None,
        "order": arguments.order,
        "heads": subject.heads,
    }
    if arguments.scores and head is not None:
        found, text, files = scores_of(arguments, subject, sample, head)
    else:
        found, text, files = terms_of(arguments, subject, sample, head)
    return deliver(arguments, folder, {**values, **found}, "\n\n".join([paragraph(subject.describe()), *text]), files)


def sample_of(subject: Subject, arguments: Paths) -> Sample:
    """What the options ask for, on the model's device."""
    if arguments.text is None and arguments.tokens is None:
        sample = random_sample(subject, arguments.seed)
    else:
        sample = given_sample(example_of(subject, arguments))
    device = next(subject.model.parameters()).device
    return replace(sample, tokens=sample.tokens.to(device), scored=sample.scored.to(device))


def scores_of(arguments: Paths, subject: Subject, sample: Sample, head: Head) -> Made:
    """The attention score of one head, part by part."""
    generator = torch.Generator().manual_seed(arguments.seed)
    runs = score_runs(subject.model, sample, generator)
    found = score_parts(runs, head, generator, arguments.target or "induction", arguments.order)
    figure = figures.score_figure(
        found, f"What carries the attention scores of {head} of {subject.name}", f"On {sample.text}.", arguments.top
    )
    text = [paragraph(f"On {sample.text}."), *score_report(found, arguments.top)]
    return {"scores": found.to_dict()}, text, {f"paths-{head}-scores.png": png(figure)}


def terms_of(arguments: Paths, subject: Subject, sample: Sample, head: Head | None) -> Made:
    """Term importance and the paths of the right token's logit, or what of both runs through one head."""
    generator = torch.Generator().manual_seed(arguments.seed)
    frozen = freeze(subject.model, sample.tokens)
    parts = logit_parts(frozen, sample, generator, head, arguments.order, bar("paths to logits", "part"))
    terms = None
    if not sample.single:
        pairs = None if head is None else [pair for pair in pairs_of(subject.heads) if head in pair]
        terms = term_importance_of(frozen, generator, sample.scored, pairs=pairs, progress=bar("virtual heads", "pair"))
    values = {"terms": None if terms is None else terms.to_dict(), "logit": parts.to_dict()}
    return values, report(arguments, subject, sample, terms, parts), drawings(arguments, subject, sample, terms, parts)


def pairs_of(heads: Sequence[Head]) -> list[Pair]:
    return [(early, late) for early, late in product(heads, repeat=2) if early.layer < late.layer]


def bar(what: str, unit: str) -> Callable[[Sequence[Any]], Iterable[Any]]:
    """Progress on standard error where something takes long."""
    return partial(tqdm, desc=what, unit=unit, delay=DELAY, leave=False)


def report(
    arguments: Paths, subject: Subject, sample: Sample, terms: TermImportance | None, parts: LogitParts
) -> list[str]:
    """Terms of the loss where there are some, then the paths of the logit."""
    heads = subject.heads if parts.head is None else (parts.head,)
    if terms is None:
        return [
            paragraph(
                f"On {sample.text}: what each path adds to the logits. A loss has terms on many sequences only: leave "
                "out --text and --tokens."
            ),
            logit_table(parts, arguments.top),
        ]
    found = [paragraph(f"On {sample.text}; tokens that an earlier copy predicts.")]
    if parts.head is None:
        found += [order_table(terms), layer_table(terms)]
    found += [head_table(terms, heads), pair_table(terms, arguments.top), logit_table(parts, arguments.top)]
    return found


def drawings(
    arguments: Paths, subject: Subject, sample: Sample, terms: TermImportance | None, parts: LogitParts
) -> dict[str, bytes | str]:
    """The waterfall, and the bars of the logit's paths."""
    through = "" if parts.head is None else f" through {parts.head}"
    protocol = f"On {sample.text}."
    found: dict[str, bytes | str] = {}
    if terms is not None and parts.head is None:
        title = f"Loss of {subject.name} by the paths that are let through"
        found["paths-loss.png"] = png(figures.terms_figure(terms, subject.heads, title, protocol))
    if parts.paths:
        title = f"Paths{through} to the next token's logit in {subject.name}"
        name = "paths-logit.png" if parts.head is None else f"paths-{parts.head}-logit.png"
        found[name] = png(figures.logit_figure(parts, title, protocol, arguments.top))
    return found
