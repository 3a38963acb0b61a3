"""What is read off the full circuits of each head, and how much of it at which vocabulary, for `interp circuits`."""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from analyses.loading import Subject
from interp.circuits import (
    Concentration,
    Factored,
    OwnContrast,
    OwnRanks,
    centred_rows,
    concentration,
    diagonal_scores,
    full_ov,
    full_qk,
    ov_tables,
    own_contrast,
    own_ranks,
    qk_tables,
    ranks,
    skip_trigrams,
    top_entries,
)
from interp.circuits.entries import check_finite
from interp.circuits.implied import positional_pattern
from interp.names import Head
from interp.stats import Scored
from interp.weights import TransformerWeights

PLACES = ("previous", "itself", "first")
SHARE = 0.9
"""Of the squared mass of a row, for its concentration."""


@dataclass(frozen=True)
class Budget:
    """How much is drawn and searched; `large` vocabularies are sampled, and searched only in heads that are named."""

    large: bool
    draws: int
    """Relabellings in the null of a copying score."""
    ranked: int | None
    """Rows whose own entry is ranked; None for all."""
    sorted: int
    """Rows whose entries are sorted by magnitude, at most."""

    def describe(self, d_vocab: int, named: bool) -> str:
        """What the size of the vocabulary leaves out, in sentences; nothing for a small one."""
        if not self.large:
            return ""
        searched = "" if named else "strongest entries and skip-trigrams are searched only in heads named by --head; "
        return (
            f"With {d_vocab:,} tokens: {self.draws} relabellings; top-1 and top-5 of {self.ranked:,} tokens drawn at "
            f"random; concentration of {self.sorted} rows; {searched}the direct path is left out."
        )


LARGE = 4_000
"""Tokens from which a vocabulary is large: tables of all pairs take seconds each."""


def budget(d_vocab: int, draws: int) -> Budget:
    """Everything, with `draws` relabellings, where the vocabulary is small; else a quarter of them, and samples."""
    if d_vocab < LARGE:
        return Budget(False, draws, None, 256)
    return Budget(True, max(2, draws // 4), 2_000, 64)


def attended(w: TransformerWeights, head: Head, offset: int | None) -> Factored:
    """Attention scores [dest, src] of tokens, biases included, minus their mean over src."""
    table = full_qk(w, head, offset=offset, biases=True)
    return centred_rows(Factored(table.A / w.attn_scale, table.B))


def raised(w: TransformerWeights, head: Head) -> Factored:
    """Logits [src, out] minus their mean over out."""
    return centred_rows(full_ov(w, head))


def bar(what: str, shown: bool) -> Callable[[Any], Any]:
    """Wraps what is worked through: a bar on standard error where that is a terminal, gone when it is done."""
    return lambda steps: tqdm(steps, desc=what, leave=False, disable=None if shown else True, file=sys.stderr)


def diagonals(
    w: TransformerWeights, heads: tuple[Head, ...], offset: int | None, plan: Budget, generator: torch.Generator
) -> dict[str, list[dict[str, Any]]]:
    """How much each head's OV and QK table favours its diagonal, beside the same with columns relabelled."""
    if not plan.large:
        tables = {"ov": [raised(w, head) for head in heads], "qk": [attended(w, head, offset) for head in heads]}
        return {name: small_diagonals(each, generator, plan.draws) for name, each in tables.items()}
    found = {}
    for name, shared in (("ov", ov_tables(w, heads)), ("qk", qk_tables(w, heads, offset))):
        scored = shared.scored(generator, plan.draws, bar(f"{name.upper()} relabelled", True))
        found[name] = [{"eigenvalue": one_of(scored, i), "chance": 1 / w.d_vocab} for i in range(len(heads))]
    return found


def small_diagonals(tables: list[Factored], generator: torch.Generator, draws: int) -> list[dict[str, Any]]:
    """All three scores of a diagonal, table by table."""
    batch = Factored(torch.stack([table.A for table in tables]), torch.stack([table.B for table in tables]))
    check_finite(batch)
    scores = diagonal_scores(batch, generator, draws)
    named = {"eigenvalue": scores.eigenvalue, "cosine": scores.cosine, "top1": scores.top1}
    return [
        {name: one_of(scored, i) for name, scored in named.items()} | {"chance": scores.chance}
        for i in range(len(tables))
    ]


def one_of(scored: Scored, index: int) -> dict[str, Any]:
    return Scored(scored.value[index], scored.draws[:, index], scored.null).to_dict()


def directions(table: Factored, plan: Budget, generator: torch.Generator) -> dict[str, Any]:
    """Where a table's own entries stand in their rows, how many directions it has, and how dense its rows are."""
    own = own_ranks(table, plan.ranked, generator)
    contrast = own_contrast(table)
    counted = ranks(table)
    dense = concentration(table, generator, SHARE, plan.sorted)
    return {
        "own_entry": own_entry(own, contrast),
        "rank": {
            "at_most": counted.bound,
            "numerical": counted.numerical,
            "stable": counted.stable,
            "entropy": counted.entropy,
            "participation": counted.participation,
            "singular_values": counted.singular_values,
        },
        "concentration": spread(dense),
    }


def own_entry(own: OwnRanks, contrast: OwnContrast) -> dict[str, Any]:
    shares = {f"top{k}": {**own.share(k).to_dict(), "chance": own.chance(k)} for k in (1, 5)}
    return {
        **shares,
        "deviations": contrast.deviations,
        "deviations_null_std": contrast.deviations_null,
        "entry": contrast.entry,
        "entry_null_std": contrast.entry_null,
    }


def spread(dense: Concentration) -> dict[str, Any]:
    return {"share": dense.share, "entries": dense.entries.to_dict(), "random": dense.random.to_dict()}


def entries(
    subject: Subject, table: Factored, k: int, shown: str = "", without: int | None = None
) -> list[dict[str, Any]]:
    """The k largest entries above 0 (by more than rounding), with their tokens; one column can be left out."""
    kept = torch.tensor([c for c in range(table.shape[-1]) if c != without])
    top = top_entries(Factored(table.A, table.B[..., kept]), k, progress=bar(shown, bool(shown)))
    rows, columns = top.row.tolist(), kept[top.column].tolist()
    noise = float(torch.finfo(table.A.dtype).eps * table.A.norm() * table.B.norm())
    return [
        {"row": r, "column": c, "row_label": subject.labels[r], "column_label": subject.labels[c], "value": value}
        for r, c, value in zip(rows, columns, top.value.tolist(), strict=True)
        if value > noise
    ]


def never_predicted(subject: Subject) -> tuple[int, ...]:
    """The token that begins sequences, if there is one: its logit is trained by nothing, and may be the largest."""
    return () if subject.bos is None else (subject.bos,)


def triples(
    subject: Subject, w: TransformerWeights, head: Head, k: int, offset: int | None, shown: str = ""
) -> list[dict[str, Any]]:
    """The k strongest skip-trigrams with their tokens."""
    names = subject.labels
    return [
        {**t._asdict(), "src_label": names[t.src], "dst_label": names[t.dst], "out_label": names[t.out]}
        for t in skip_trigrams(w, head, k, offset, bar(shown, bool(shown)), never_predicted(subject))
    ]


def even_places(w: TransformerWeights) -> float:
    """What even attention gives to the previous, the own and the first position alike: the mean of 1 / (i + 1)."""
    return float((1 / torch.arange(2.0, w.n_ctx + 1)).mean()) if w.n_ctx > 1 else math.nan


def places(subject: Subject, w: TransformerWeights, head: Head) -> dict[str, float | None]:
    """Where the head would look if all tokens were the average one: mean mass over positions from 1 on."""
    pattern = positional_pattern(w, head, subject.bos)
    if len(pattern) < 2:
        return dict.fromkeys(PLACES)
    masses = (pattern.diagonal(-1), pattern.diagonal()[1:], pattern[1:, 0])
    return {place: mass.mean().item() for place, mass in zip(PLACES, masses, strict=True)}
