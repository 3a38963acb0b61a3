"""`interp circuits`: what each head's matrices do to tokens, without running the model."""

from typing import Any

import torch

from analyses.arguments import Circuits
from analyses.loading import Subject, load_subject
from analyses.output import deliver, png
from analyses.tables import interval, number, paragraph, table, token
from interp.circuits import (
    asymmetry,
    centred_rows,
    direct_path,
    full_ov,
    full_qk,
    skip_trigrams,
    top_entries,
)
from interp.diagonal import diagonal_scores
from interp.factored import Factored
from interp.implied import positional_pattern
from interp.names import Head
from interp.plots import circuit_matrix, eigenvalue_spectra
from interp.scored import Scored
from interp.transformer_weights import TransformerWeights
from interp.weights import weights_of

NOTE = (
    "Weights only: what a head would do to tokens that reach it unmixed. OV: attending to a token raises which logit; "
    "QK: at a token, which token is attended to (scores before the softmax). Both relative to their row's mean, which "
    "the softmax ignores. A score of 1 is a table that favours each token's own self in every direction, as that of "
    "a head that copies (OV) or that attends to earlier copies (QK), -1 one that disfavours it; its null is the same "
    "table with columns relabelled at random, of which the middle 95 % are shown."
)
DRAWS = 200
PLACES = ("previous", "itself", "first")
NAMED_ONLY = "Name heads (--head L1H0) to have their OV and QK tables drawn as well."


def run(arguments: Circuits) -> int:
    """Scores and strongest entries of the chosen heads; with --head, their tables as PNGs."""
    subject = load_subject(arguments.model, arguments.device)
    folder = subject.folder(arguments.out)
    heads = subject.choose(arguments.head)
    weights = weights_of(subject.model).to(device="cpu")
    offset = 1 if weights.rotary_base is not None and arguments.offset is None else arguments.offset
    tables = {head: (attended(weights, head, offset), raised(weights, head)) for head in heads}
    generator = torch.Generator().manual_seed(arguments.seed)
    ov = diagonals([each for _, each in tables.values()], generator)
    qk = diagonals([each for each, _ in tables.values()], generator)
    found = {
        str(head): {
            "ov": ov[index] | {"top": entries(subject, tables[head][1], arguments.top)},
            "qk": qk[index] | {"top": entries(subject, tables[head][0], arguments.top)},
            "skip_trigrams": triples(subject, weights, head, arguments.top, offset),
            "positions_alone": places(subject, weights, head),
        }
        for index, head in enumerate(heads)
    }
    direct = direct_path(weights)
    values = {
        "model": subject.to_dict(),
        "offset": offset,
        "folded": weights.folded,
        "note": NOTE,
        "direct_path": {
            "top": entries(subject, centred_rows(direct), arguments.top),
            "asymmetry": float(asymmetry(direct)),
            "tied": weights.tied,
        },
        "heads": found,
    }
    files = {"circuits.png": spectra(subject, tables, found)}
    for head in heads if arguments.head else ():
        files |= drawings(subject, head, *tables[head])
    return deliver(arguments, folder, values, report(subject, values, bool(arguments.head)), files)


def diagonals(tables: list[Factored], generator: torch.Generator) -> list[dict[str, Any]]:
    """How much each table favours its diagonal, beside the same with columns relabelled."""
    batch = Factored(torch.stack([table.A for table in tables]), torch.stack([table.B for table in tables]))
    scores = diagonal_scores(batch, generator, DRAWS)
    named = {"eigenvalue": scores.eigenvalue, "cosine": scores.cosine, "top1": scores.top1}
    return [
        {name: Scored(s.value[i], s.draws[:, i], s.null).to_dict() for name, s in named.items()}
        | {"chance": scores.chance}
        for i in range(len(tables))
    ]


def attended(w: TransformerWeights, head: Head, offset: int | None) -> Factored:
    """Attention scores [dest, src] of tokens, biases included, minus their mean over src."""
    table = full_qk(w, head, offset=offset, biases=True)
    return centred_rows(Factored(table.A / w.attn_scale, table.B))


def raised(w: TransformerWeights, head: Head) -> Factored:
    """Logits [src, out] minus their mean over out."""
    return centred_rows(full_ov(w, head))


def entries(subject: Subject, table: Factored, k: int) -> list[dict[str, Any]]:
    """The k largest entries above 0 (by more than rounding), with their tokens."""
    top = top_entries(table, k)
    rows, columns = top.row.tolist(), top.column.tolist()
    noise = float(torch.finfo(table.A.dtype).eps * table.A.norm() * table.B.norm())
    return [
        {"row": r, "column": c, "row_label": subject.labels[r], "column_label": subject.labels[c], "value": value}
        for r, c, value in zip(rows, columns, top.value.tolist(), strict=True)
        if value > noise
    ]


def triples(subject: Subject, w: TransformerWeights, head: Head, k: int, offset: int | None) -> list[dict[str, Any]]:
    """The k strongest skip-trigrams with their tokens."""
    names = subject.labels
    return [
        {**t._asdict(), "src_label": names[t.src], "dst_label": names[t.dst], "out_label": names[t.out]}
        for t in skip_trigrams(w, head, k, offset)
    ]


def places(subject: Subject, w: TransformerWeights, head: Head) -> dict[str, float | None]:
    """Where the head would look if all tokens were the average one: mean mass over positions from 1 on."""
    pattern = positional_pattern(w, head, subject.bos)
    if len(pattern) < 2:
        return dict.fromkeys(PLACES)
    masses = (pattern.diagonal(-1), pattern.diagonal()[1:], pattern[1:, 0])
    return {place: mass.mean().item() for place, mass in zip(PLACES, masses, strict=True)}


def spectra(subject: Subject, tables: dict[Head, tuple[Factored, Factored]], found: dict[str, Any]) -> bytes:
    """Eigenvalues of the OV tables as a PNG."""
    scores = [found[str(head)]["ov"]["eigenvalue"] for head in tables]
    figure = eigenvalue_spectra(
        [ov.eigenvalues() for _, ov in tables.values()],
        [str(head) for head in tables],
        [score["value"] for score in scores],
        nulls=[f"null {interval(score['null_low'], score['null_high'], 2)}" for score in scores],
        title=f"Eigenvalues of the OV circuits of {subject.name}",
        protocol="Weights only: W_E OV W_U, relative to the mean over outputs. Null: columns relabelled at random.",
        columns=min(4, subject.config.n_heads),
    )
    return png(figure)


def drawings(subject: Subject, head: Head, qk: Factored, ov: Factored) -> dict[str, bytes]:
    """The two tables of a head as PNGs."""
    names, weights_only = subject.labels, "Weights only, relative to the mean of each row."
    figure_ov = circuit_matrix(
        ov.dense(),
        names,
        names,
        title=f"{head} of {subject.name}: OV circuit",
        row_name="source token",
        column_name="output token",
        label="logit",
        protocol=weights_only,
    )
    figure_qk = circuit_matrix(
        qk.dense(),
        names,
        names,
        title=f"{head} of {subject.name}: QK circuit",
        row_name="destination token (query)",
        column_name="source token (key)",
        label="attention score",
        protocol=weights_only,
    )
    return {f"circuits-{head}-ov.png": png(figure_ov), f"circuits-{head}-qk.png": png(figure_qk)}


def report(subject: Subject, values: dict[str, Any], drawn: bool) -> str:
    """Scores of all heads, then the strongest entries of each."""
    rotary = [] if values["offset"] is None else [f"Query and key are {values['offset']} apart."]
    parts = [paragraph(subject.describe()), paragraph(" ".join([NOTE, *rotary])), scores_table(values["heads"])]
    parts += [direct_table(values["direct_path"])]
    parts += [head_table(name, found) for name, found in values["heads"].items()]
    parts += [paragraph(" ".join(values["folded"]))]
    return "\n\n".join(parts if drawn else [*parts, NAMED_ONLY])


def scores_table(heads: dict[str, Any]) -> str:
    """How much each head's OV and QK tables favour a token's own self, and where positions alone would look."""
    rows = []
    for name, found in heads.items():
        row = [name]
        for circuit in ("ov", "qk"):
            score = found[circuit]["eigenvalue"]
            row += [number(score["value"]), interval(score["null_low"], score["null_high"], 2)]
        rows.append([*row, *(number(found["positions_alone"][place], 2) for place in PLACES)])
    header = ["head", "OV copies", "null", "QK matches", "null", *(f"to {place}" for place in PLACES)]
    return (
        table(header, rows, "lrlrlrrr")
        + "\n"
        + paragraph("Last three: where positions alone would look, were all tokens the average one.")
    )


def head_table(name: str, found: dict[str, Any]) -> str:
    """The strongest entries of one head, side by side."""
    columns = [
        [(arrow(e), e["value"]) for e in found["ov"]["top"]],
        [(arrow(e), e["value"]) for e in found["qk"]["top"]],
        [(triple(t), t["score"]) for t in found["skip_trigrams"]],
    ]
    columns = [column or [("none", None)] for column in columns]
    depth = max(map(len, columns))
    padded = [[*column, *[("", None)] * (depth - len(column))] for column in columns]
    rows = [
        [cell for text, value in line for cell in (text, "" if value is None else number(value, 2))]
        for line in zip(*padded, strict=True)
    ]
    header = [f"{name}: read → raised", "logit", "at → attended", "score", "skip-trigram", "product"]
    return table(header, rows, "lrlrlr")


def direct_table(direct: dict[str, Any]) -> str:
    """The bigrams that the direct path favours."""
    rows = [[arrow(e), number(e["value"], 2)] for e in direct["top"]]
    if not rows:
        return "The direct path (W_E W_U, a table of bigrams) favours no token over another."
    symmetric = f"asymmetry {number(direct['asymmetry'], 2)} (0 symmetric, about 1.41 unrelated)"
    tied = "embeddings are tied" if direct["tied"] else "embeddings are not tied"
    return table(["direct path: read → next", "logit"], rows, "lr") + f"\n{symmetric}; {tied}"


def arrow(entry: dict[str, Any]) -> str:
    return f"{short(entry['row_label'])} → {short(entry['column_label'])}"


def triple(trigram: dict[str, Any]) -> str:
    return f"{short(trigram['src_label'])} … {short(trigram['dst_label'])} → {short(trigram['out_label'])}"


def short(label: str) -> str:
    return token(label, 8)
