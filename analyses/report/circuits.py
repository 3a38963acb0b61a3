"""What the weights of heads with a role do to tokens, without running the model; and the direct path."""

import shlex
from typing import Any

import torch

from analyses.circuit_readings import entries as largest
from analyses.report.blocks import Block, Caution, Cell, Gallery, Picture, Piece, Section, Table, Token, sentence
from analyses.report.context import READING, Context
from analyses.report.drawing import picture
from analyses.report.numbers import interval, number
from interp.circuits import (
    DiagonalScores,
    Factored,
    asymmetry,
    centred_rows,
    direct_path,
    full_ov,
    full_qk,
)
from interp.circuits.implied import positional_pattern
from interp.composition import token_table
from interp.names import Head
from interp.plots import attention_grid, circuit_matrix, eigenvalue_spectra

BY_TOKENS = (*READING, "duplicate-token", "copy-suppression", "copying")
PLACES = ("previous-token", "current-token", "first-token", "positional")
MOST_DRAWN = 2
"""Heads whose tables are drawn, one of a role, the surest."""
MOST_PATTERNS = 4
"""Heads that look at a place, whose pattern by position is drawn."""
MOST_TOKENS = 26
"""Rows and columns of a drawn table: the tokens with the largest entries."""
MOST_PLACES = 64
TOP = 6


def section(context: Context) -> Section:
    """Spectra of all heads, tables of some, strongest entries of those with a role, and the direct path."""
    evidence = context.report.sources.weights
    blocks: list[Block] = []
    values: dict[str, Any] = {"direct_path": (direct := direct_values(context))}
    if evidence is None:
        blocks.append(Caution("Copying and matching were not scored: weights were left out (--skip weights)."))
    else:
        blocks += [spectra(context, evidence.copying), copying_table(context, evidence.copying)]
    values["top_entries"] = {str(head): top_values(context, head) for head in context.marked}
    blocks += tables(context)
    if context.marked:
        blocks.append(strongest(context, values["top_entries"]))
    else:
        blocks.append(sentence("No head has a role, so no head's tables are drawn."))
    blocks += direct_blocks(context, direct)
    return Section(
        "circuits",
        "What the weights do to tokens",
        "A head's OV circuit says which token's score rises when it attends to a token; its QK circuit says which "
        "tokens attend to which. Both are read off the weights: tables of token by token.",
        "A head that copies has its largest OV entries on the diagonal (framed), and eigenvalues right of 0: a copying "
        "score near 1, above that of the same table with its columns relabelled at random. A head that looks for "
        "earlier copies has a diagonal in its QK circuit, through the head that feeds it.",
        tuple(blocks),
        values,
    )


def spectra(context: Context, copying: DiagonalScores) -> Picture:
    """Eigenvalues of every head's OV circuit."""
    low, high = copying.eigenvalue.null_quantile(0.025), copying.eigenvalue.null_quantile(0.975)
    heads = context.heads if len(context.heads) <= 16 else tuple(sorted(context.marked[:16])) or context.heads[:16]
    figure = eigenvalue_spectra(
        [centred_rows(full_ov(context.weights, head)).eigenvalues() for head in heads],
        [str(head) for head in heads],
        [float(copying.eigenvalue.value[head]) for head in heads],
        nulls=[f"null {float(low[head]):.2f} to {float(high[head]):.2f}".replace("-", "−") for head in heads],
        title="Eigenvalues of the OV circuits",
        protocol="Null: the middle 95 % with the table's columns relabelled at random.",
        columns=min(4, context.subject.config.n_heads) if context.subject.config.n_heads > 1 else 4,
    )
    return picture("ov-eigenvalues", figure, "Eigenvalues of OV circuits in the complex plane, with copying scores")


def copying_table(context: Context, copying: DiagonalScores) -> Table:
    """Three readings of each head's diagonal, beside their nulls."""
    rows = []
    for head in context.heads:
        row: list[Cell] = [str(head)]
        for scored in (copying.eigenvalue, copying.cosine, copying.top1):
            low, high = scored.null_quantile(0.025), scored.null_quantile(0.975)
            row += [number(float(scored.value[head])), interval(float(low[head]), float(high[head]))]
        rows.append(tuple(row))
    header = ("head", "copying score", "null", "diagonal (cosine)", "null", "tokens that raise themselves most", "null")
    caption = "Nulls: the middle 95 % with columns relabelled at random."
    return Table(header, tuple(rows), caption, (1, 2, 3, 4, 5, 6))


def tables(context: Context) -> list[Block]:
    """QK and OV circuit of the surest head of each role that goes by tokens; where positions send those of a place."""
    by_role: dict[str, list[Head]] = {}
    for verdict in context.with_role:
        by_role.setdefault(verdict.role, []).append(Head.parse(verdict.head))
    drawn = [heads[0] for role, heads in by_role.items() if role in BY_TOKENS][:MOST_DRAWN]
    placed = [head for role, heads in by_role.items() if role in PLACES for head in heads][:MOST_PATTERNS]
    blocks: list[Block] = []
    if drawn:
        blocks.append(Gallery(tuple(each for head in drawn for each in (looks(context, head), moves(context, head)))))
        more = sorted(head for role in BY_TOKENS for head in by_role.get(role, []) if head not in drawn)
        if more:
            command = f"interp circuits {shlex.quote(str(context.subject.path))} --head {more[0]}"
            blocks.append(sentence(f"{command} draws the same for another head.", quiet=True))
    return [*blocks, *([places(context, sorted(placed))] if placed else [])]


def places(context: Context, heads: list[Head]) -> Picture:
    """Where positions alone send heads that look at a place."""
    size = min(MOST_PLACES, context.weights.n_ctx)
    patterns = [positional_pattern(context.weights, head, context.subject.bos)[:size, :size] for head in heads]
    figure = attention_grid(
        torch.stack(patterns),
        [f"{head}: {context.report[str(head)].role}" for head in heads],
        title="Where positions alone send them",
        protocol=f"Attention over the first {size} positions if all tokens were the average one (weights only).",
    )
    return picture("places", figure, "Attention that positions alone imply")


def moves(context: Context, head: Head) -> Picture:
    """The full OV circuit."""
    labels = context.subject.labels
    figure = circuit_matrix(
        centred_rows(full_ov(context.weights, head)),
        labels,
        labels,
        title=f"{head}: what attending to a token raises (OV)",
        row_name="token attended to",
        column_name="token whose score rises",
        label="logit, relative to the row's mean",
        largest=MOST_TOKENS,
    )
    return picture(f"{head}-ov", figure, f"OV circuit of {head} in token space")


def looks(context: Context, head: Head) -> Picture:
    """The term of the QK circuit that runs through the head that feeds it; the direct one where none does."""
    channels = {feeder.channel: feeder.head for feeder in reversed(context.report[str(head)].claims[0].feeders)}
    if "K" in channels:
        feeder = Head.parse(channels["K"])
        return drawn_qk(context, head, token_table(context.weights, feeder, head, "K", offset=context.offset), feeder)
    if "Q" in channels and context.weights.W_pos is not None:
        return pointer(context, head, Head.parse(channels["Q"]))
    return drawn_qk(context, head, full_qk(context.weights, head, offset=context.offset), None)


def pointer(context: Context, head: Head, feeder: Head) -> Picture:
    """From positions to positions: where the query points that the feeder filled."""
    table = token_table(context.weights, feeder, head, "Q", moved="position", other="position", offset=context.offset)
    size = min(MOST_PLACES, table.shape[-1])
    names = [str(place) for place in range(size)]
    figure = circuit_matrix(
        centred_rows(table).dense()[:size, :size] / context.weights.attn_scale,
        names,
        [f"{name} " for name in names],  # no diagonal to frame: the entry one to its right is the one that counts
        title=f"{head}: where its query points, filled by {feeder} (QK)",
        row_name=f"position that {feeder} moved into the query",
        column_name="position attended to",
        label="attention score, relative to the row's mean",
    )
    return picture(f"{head}-qk", figure, f"QK circuit of {head} from positions to positions through {feeder}")


def drawn_qk(context: Context, head: Head, table: Factored, feeder: Head | None) -> Picture:
    """A QK circuit from tokens to tokens."""
    centred = centred_rows(table)
    labels, through = context.subject.labels, "by tokens alone" if feeder is None else f"keys through {feeder}"
    figure = circuit_matrix(
        Factored(centred.A / context.weights.attn_scale, centred.B),
        labels,
        labels,
        title=f"{head}: which tokens match, {through} (QK)",
        row_name="present token (query)",
        column_name="token attended to" if feeder is None else f"token that {feeder} moved into the key",
        label="attention score, relative to the row's mean",
        largest=MOST_TOKENS,
    )
    return picture(f"{head}-qk", figure, f"QK circuit of {head} in token space, {through}")


def top_values(context: Context, head: Head) -> list[dict[str, Any]]:
    """The largest entries of the OV circuit."""
    return entries(context, centred_rows(full_ov(context.weights, head)))


def entries(context: Context, table: Factored) -> list[dict[str, Any]]:
    """The largest entries above 0 (by more than rounding), the token that begins sequences left out as an output."""
    found = largest(context.subject, table, min(TOP, table.shape[-1] * table.shape[-2]), without=context.subject.bos)
    return [{side: each[side] for side in ("row", "column", "value")} for each in found]


def strongest(context: Context, found: dict[str, list[dict[str, Any]]]) -> Table:
    """A row a head: its largest OV entries."""
    rows = tuple(
        (head, context.report[head].role, entry_cells(context, each) or "it raises no token")
        for head, each in found.items()
    )
    header = ("head", "role", "strongest OV entries: token attended to → token raised, by how much")
    return Table(
        header,
        rows,
        "Logits in nats, relative to the mean over the vocabulary; the token that begins sequences, which is never "
        "predicted, is left out.",
    )


def entry_cells(context: Context, entries: list[dict[str, Any]]) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    for entry in entries:
        row, column = (context.subject.labels[entry[side]] for side in ("row", "column"))
        pieces += [" · " if pieces else "", Token(row), " → ", Token(column), " ", number(entry["value"])]
    return tuple(pieces)


def direct_values(context: Context) -> dict[str, Any]:
    """The bigram table's largest entries and its symmetry."""
    table = direct_path(context.weights)
    return {
        "top": entries(context, centred_rows(table)),
        "asymmetry": float(asymmetry(table)),
        "tied": context.weights.tied,
    }


def direct_blocks(context: Context, direct: dict[str, Any]) -> list[Block]:
    tied = "Embedding and unembedding are tied" if direct["tied"] else "Embedding and unembedding are separate"
    said = sentence(
        "Without any head, the embedding read by the unembedding is a table of bigrams (the direct path). ",
        f"{tied}; asymmetry of the table: ",
        number(direct["asymmetry"]),
        " (0 is symmetric, about 1.41 unrelated: a symmetric table cannot say that B follows A but not A follows B).",
    )
    if not direct["top"]:
        return [said, sentence("It favours no token over another.")]
    return [said, sentence("Its strongest entries: ", *entry_cells(context, direct["top"]), ".")]
