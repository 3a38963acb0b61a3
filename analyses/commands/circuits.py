"""`interp circuits`: what each head's matrices do to tokens, without running the model."""

from typing import Any

import torch

from analyses.arguments import Circuits
from analyses.circuit_readings import (
    Budget,
    attended,
    bar,
    budget,
    diagonals,
    directions,
    entries,
    even_places,
    never_predicted,
    places,
    raised,
    triples,
)
from analyses.circuit_tables import NOTE, report
from analyses.loading import Subject, load_subject
from analyses.output import deliver, png
from analyses.tables import interval
from interp.circuits import asymmetry, centred_rows, direct_path, ov_tables
from interp.names import Head
from interp.plots import circuit_matrix, eigenvalue_spectra
from interp.weights import TransformerWeights, weights_of

DRAWS = 200
MOST_SPECTRA = 32
"""Heads whose eigenvalues are drawn."""


def run(arguments: Circuits) -> int:
    """Scores, ranks and strongest entries of the chosen heads; with --head, their tables as PNGs."""
    subject = load_subject(arguments.model, arguments.device)
    folder = subject.folder(arguments.out)
    heads, named = subject.choose(arguments.head), bool(arguments.head)
    weights = weights_of(subject.model).to(device="cpu")
    offset = 1 if weights.rotary_base is not None and arguments.offset is None else arguments.offset
    plan = budget(weights.d_vocab, DRAWS)
    found = read(subject, weights, heads, offset, plan, arguments.top if named or not plan.large else 0, arguments.seed)
    values = {
        "model": subject.to_dict(),
        "offset": offset,
        "folded": weights.folded,
        "note": NOTE,
        "left_out_of_outputs": [subject.labels[token] for token in never_predicted(subject)],
        "positions_even": even_places(weights),
        "sampled": plan.describe(weights.d_vocab, named),
        "direct_path": None if plan.large else direct(subject, weights, arguments.top),
        "heads": found,
    }
    files = {"circuits.png": spectra(subject, weights, found)}
    for head in heads if named else ():
        files |= drawings(subject, weights, head, offset)
    return deliver(arguments, folder, values, report(subject.describe(), values, named), files)


def read(
    subject: Subject,
    w: TransformerWeights,
    heads: tuple[Head, ...],
    offset: int | None,
    plan: Budget,
    top: int,
    seed: int,
) -> dict[str, Any]:
    """Everything that is known of each head; no strongest entries for a `top` of 0."""
    generator = torch.Generator().manual_seed(seed)
    scores = diagonals(w, heads, offset, plan, generator)
    found: dict[str, Any] = {}
    for index, head in enumerate(bar("heads", plan.large)(heads)):
        tables = {"ov": raised(w, head), "qk": attended(w, head, offset)}
        of_head = found[str(head)] = {
            name: scores[name][index] | directions(table, plan, generator) for name, table in tables.items()
        }
        for name, table in tables.items() if top else ():
            shown = f"{head} {name.upper()} entries" if plan.large else ""
            of_head[name]["top"] = entries(subject, table, top, shown, subject.bos if name == "ov" else None)
        if top:
            shown = f"{head} skip-trigrams" if plan.large else ""
            found[str(head)]["skip_trigrams"] = triples(subject, w, head, top, offset, shown)
        found[str(head)]["positions_alone"] = places(subject, w, head)
    return found


def direct(subject: Subject, w: TransformerWeights, top: int) -> dict[str, Any]:
    """The bigrams that the direct path favours, and how symmetric it is."""
    table = direct_path(w)
    return {
        "top": entries(subject, centred_rows(table), top, without=subject.bos),
        "asymmetry": float(asymmetry(table)),
        "tied": w.tied,
    }


def spectra(subject: Subject, w: TransformerWeights, found: dict[str, Any]) -> bytes:
    """Eigenvalues of the OV tables as a PNG, of the heads with the largest scores where they are many."""
    score = {Head.parse(name): each["ov"]["eigenvalue"] for name, each in found.items()}
    heads = sorted(sorted(score, key=lambda head: -abs(score[head]["value"]))[:MOST_SPECTRA])
    left_out = "" if len(heads) == len(score) else f" Drawn: {len(heads)} of {len(score)} heads, the largest scores."
    figure = eigenvalue_spectra(
        list(ov_tables(w, heads).eigenvalues()),
        [str(head) for head in heads],
        [score[head]["value"] for head in heads],
        nulls=[f"null {interval(score[head]['null_low'], score[head]['null_high'], 2)}" for head in heads],
        title=f"Eigenvalues of the OV circuits of {subject.name}",
        protocol="Weights only: W_E OV W_U, relative to the mean over outputs. "
        f"Null: the middle 95\N{NO-BREAK SPACE}% of {score[heads[0]]['n_draws']} relabellings of the columns."
        f"{left_out}",
        columns=min(4, subject.config.n_heads),
    )
    return png(figure)


def drawings(subject: Subject, w: TransformerWeights, head: Head, offset: int | None) -> dict[str, bytes]:
    """The two tables of a head as PNGs."""
    names, weights_only = subject.labels, "Weights only, relative to the mean of each row."
    figure_ov = circuit_matrix(
        raised(w, head),
        names,
        names,
        title=f"{head} of {subject.name}: OV circuit",
        row_name="source token",
        column_name="output token",
        label="logit",
        protocol=weights_only,
    )
    figure_qk = circuit_matrix(
        attended(w, head, offset),
        names,
        names,
        title=f"{head} of {subject.name}: QK circuit",
        row_name="destination token (query)",
        column_name="source token (key)",
        label="attention score",
        protocol=weights_only,
    )
    return {f"circuits-{head}-ov.png": png(figure_ov), f"circuits-{head}-qk.png": png(figure_qk)}
