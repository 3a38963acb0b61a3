"""Where every head looks on a short sequence that repeats, to hover over."""

import torch
from jaxtyping import Float
from torch import Tensor

from analyses.report.blocks import Block, Interactive, Section, Token, sentence
from analyses.report.context import Context
from analyses.report.drawing import picture
from interp.hooks import record
from interp.names import Head, pattern_name
from interp.pages import attention_heads, attention_patterns
from interp.plots import attention_grid

MOST_HEADS = 32
"""More are slow to draw in a browser: then those with a role come first, the others in order."""


def section(context: Context) -> Section:
    """Both interactive views, and the same as a figure."""
    heads, example = chosen(context), context.example
    pattern = patterns_of(context, heads)
    names = [str(head) for head in heads]
    columns = min(len(heads), context.subject.config.n_heads, 8)
    shown = (pattern, example.labels, names)
    left_out = len(context.heads) - len(heads)
    rest = f"Shown are {len(heads)} heads, those with a role first; {left_out} more are left out." if left_out else ""
    blocks: tuple[Block, ...] = (
        sentence(f"{len(example.labels)} tokens, {example.source}: ", *spaced(example.labels)),
        Interactive(
            attention_patterns(
                *shown, columns=columns, caption="Hover a token to see where it looks; click a head to keep it."
            )
        ),
        Interactive(attention_heads(*shown, columns=columns, caption="Hover a head to see it large.")),
        *([sentence(rest, quiet=True)] if rest else []),
        picture(
            "patterns",
            attention_grid(pattern, names, example.labels, title="Attention patterns", columns=columns),
            "Attention patterns of the heads, destination down and source across",
            "The same as a figure",
        ),
    )
    return Section(
        "patterns",
        "Where each head looks",
        "Each small square is a head's attention pattern on one short sequence that stands there twice: a row for each "
        "token that looks (destination), a column for each it can look at (source).",
        "An induction head shows, in the second half, a stripe one step right of the earlier copy; a previous-token "
        "head shows a stripe just below the diagonal. One sequence illustrates and proves nothing: the scores above "
        "are the evidence.",
        blocks,
        {"tokens": example.numbers, "labels": example.labels, "pattern": dict(zip(names, pattern, strict=True))},
    )


def chosen(context: Context) -> list[Head]:
    """At most 32 heads, in order."""
    rest = [head for head in context.heads if head not in context.marked]
    return sorted([*context.marked, *rest][:MOST_HEADS])


def patterns_of(context: Context, heads: list[Head]) -> Float[Tensor, "head dest src"]:
    """The patterns of these heads on the example."""
    names = sorted({pattern_name(head.layer) for head in heads})
    found = record(context.subject.model, context.example.tokens, names=names)
    return torch.stack([found[pattern_name(head.layer)][0, head.index] for head in heads]).float().cpu()


def spaced(labels: tuple[str, ...]) -> list[Token | str]:
    """Tokens with spaces between them."""
    return [piece for label in labels for piece in (Token(label), " ")]
