"""What `interp circuits` prints: copying, own entries, ranks, and the strongest entries of each head."""

from typing import Any

from analyses.circuit_readings import PLACES
from analyses.tables import interval, number, paragraph, table, token

NOTE = (
    "Weights only: what a head would do to tokens that reach it unmixed. OV: attending to a token raises which logit; "
    "QK: at a token, which token is attended to (scores before the softmax). Both relative to their row's mean, which "
    "the softmax ignores. A score of 1 is a table that favours each token's own self in every direction, as that of "
    "a head that copies (OV) or that attends to earlier copies (QK), -1 one that disfavours it; its null is the same "
    "table with columns relabelled at random, of which the middle 95 % are shown."
)
NAMED_ONLY = "Name heads (--head L1H0) to have their OV and QK tables drawn as well."
CIRCUITS = ("ov", "qk")


def report(described: str, values: dict[str, Any], named: bool) -> str:
    """Scores of all heads, then the strongest entries of each."""
    heads = values["heads"]
    rotary = [] if values["offset"] is None else [f"Query and key are {values['offset']} apart."]
    sampled = [values["sampled"]] if values["sampled"] else []
    unseen = [
        f"{token(label)} is never predicted, so nothing trains its logit: it is left out of what is raised."
        for label in values["left_out_of_outputs"]
    ]
    parts = [paragraph(described), paragraph(" ".join([NOTE, *rotary, *sampled, *unseen]))]
    parts += [scores_table(heads, values["positions_even"]), own_table(heads), ranks_table(heads)]
    if values["direct_path"] is not None:
        parts.append(direct_table(values["direct_path"]))
    parts += [head_table(name, found) for name, found in heads.items() if "skip_trigrams" in found]
    parts += [paragraph(" ".join(values["folded"]))]
    return "\n\n".join(parts if named else [*parts, NAMED_ONLY])


def scores_table(heads: dict[str, Any], even: float) -> str:
    """How much each head's OV and QK tables favour a token's own self, and where positions alone would look."""
    rows = []
    for name, found in heads.items():
        row = [name]
        for circuit in CIRCUITS:
            score = found[circuit]["eigenvalue"]
            row += [number(score["value"]), interval(score["null_low"], score["null_high"], 2)]
        rows.append([*row, *(number(found["positions_alone"][place], 2) for place in PLACES)])
    header = ["head", "OV copies", "null", "QK matches", "null", *(f"to {place}" for place in PLACES)]
    return (
        table(header, rows, "lrlrlrrr")
        + "\n"
        + paragraph(
            "Last three: where positions alone would look, were all tokens the average one; even attention gives "
            f"{number(even, 2)} to each."
        )
    )


def own_table(heads: dict[str, Any]) -> str:
    """How each token's own entry stands in its row."""
    rows = []
    for name, found in heads.items():
        row = [name]
        for circuit in CIRCUITS:
            own = found[circuit]["own_entry"]
            row += [number(own["top1"]["mean"]), number(own["top5"]["mean"]), number(own["deviations"], 2)]
            row += [f"± {number(2 * own['deviations_null_std'], 2)}"]
        rows.append(row)
    header = ["own entry", *(cell for c in ("OV", "QK") for cell in (f"{c} top-1", "top-5", "mean", "null"))]
    own = next(iter(heads.values()))["ov"]["own_entry"]
    said = (
        "top-1, top-5: share of tokens whose own entry is among so many largest of its row, ties counted against it; "
        f"chance {own['top1']['chance']:.2g} and {own['top5']['chance']:.2g}. mean: of the own entry, in standard "
        "deviations of its row above the row's mean; null: 0 ± 2 standard deviations over all relabellings."
    )
    if own["top1"]["method"] != "all rows":
        widest = max(
            share["high"] - share["low"]
            for found in heads.values()
            for circuit in CIRCUITS
            for share in (found[circuit]["own_entry"][k] for k in ("top1", "top5"))
        )
        said += f" Shares of {own['top1']['n']:,} tokens: 95 % intervals at most {widest:.3f} wide."
    return table(header, rows, "lrrrlrrrl") + "\n" + paragraph(said)


def ranks_table(heads: dict[str, Any]) -> str:
    """How many directions each table has, and in how few entries its rows hold their mass."""
    rows = []
    for name, found in heads.items():
        row = [name]
        for circuit in CIRCUITS:
            rank, dense = found[circuit]["rank"], found[circuit]["concentration"]
            row += [f"{rank['numerical']}", number(rank["stable"], 1), number(rank["entropy"], 1)]
            row += [f"{dense['entries']['mean']:.0%}", f"{dense['random']['mean']:.0%}"]
        rows.append(row)
    columns = ("rank", "stable", "effective", "90 % in", "random")
    header = ["head", *(cell for c in ("OV", "QK") for cell in (f"{c} {columns[0]}", *columns[1:]))]
    first = next(iter(heads.values()))["qk"]
    said = (
        f"rank: singular values above rounding, of at most {first['rank']['at_most']}, the head's width; stable: sum "
        "of their squares over the largest; effective: exp of their entropy. 90 % in: share of a row's entries that "
        "holds 90 % of its squared mass, mean over rows; random: the same of tables with the same singular values in "
        f"random directions ({first['concentration']['random']['n']} draws). A sparse table is far below random; a "
        "table may be low in rank, as QK always is, and not sparse at all."
    )
    return table(header, rows, "lrrrrrrrrrr") + "\n" + paragraph(said)


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
        [cell for text, value in line for cell in (text, "" if value is None else amount(value))]
        for line in zip(*padded, strict=True)
    ]
    header = [f"{name}: read → raised", "logit", "at → attended", "score", "skip-trigram", "product"]
    return table(header, rows, "lrlrlr")


def direct_table(direct: dict[str, Any]) -> str:
    """The bigrams that the direct path favours."""
    rows = [[arrow(e), amount(e["value"])] for e in direct["top"]]
    if not rows:
        return "The direct path (W_E W_U, a table of bigrams) favours no token over another."
    symmetric = f"asymmetry {number(direct['asymmetry'], 2)} (0 symmetric, about 1.41 unrelated)"
    tied = "embeddings are tied" if direct["tied"] else "embeddings are not tied"
    return table(["direct path: read → next", "logit"], rows, "lr") + f"\n{symmetric}; {tied}"


def amount(value: float) -> str:
    """Two decimals, or two digits where those would be too few to tell entries apart."""
    return number(value, 2) if abs(value) >= 0.1 else f"{value:.2g}"


def arrow(entry: dict[str, Any]) -> str:
    return f"{short(entry['row_label'])} → {short(entry['column_label'])}"


def triple(trigram: dict[str, Any]) -> str:
    return f"{short(trigram['src_label'])} … {short(trigram['dst_label'])} → {short(trigram['out_label'])}"


def short(label: str) -> str:
    return token(label, 8)
