"""`interp patterns`: where every head looks on one sequence, as an interactive page and a PNG."""

import torch
from jaxtyping import Float
from torch import Tensor

from analyses.arguments import Patterns
from analyses.loading import Subject, load_subject
from analyses.output import deliver, png
from analyses.sequences import Example, example_of
from analyses.tables import number, paragraph, table, token
from interp.hooks import record
from interp.names import Head, pattern_name
from interp.pages import attention_heads, attention_patterns, page
from interp.plots import attention_grid


def run(arguments: Patterns) -> int:
    """Runs the model once, with every pattern recorded."""
    subject = load_subject(arguments.model, arguments.device)
    folder = subject.folder(arguments.out)
    heads = subject.choose(arguments.head)
    example = example_of(subject, arguments)
    pattern = patterns_of(subject, example, heads)
    names = [str(head) for head in heads]
    columns = min(len(heads), subject.config.n_heads)
    title, shown = f"Attention patterns of {subject.name}", (pattern, example.labels, names)
    parts = [
        attention_patterns(*shown, columns=columns, caption="Hover a token to see where it looks."),
        attention_heads(*shown, columns=columns, caption="Hover a head to see it large."),
    ]
    figure = attention_grid(
        pattern, names, example.labels, title=title, protocol=f"On {example.source}.", columns=columns
    )
    values = {
        "model": subject.to_dict(),
        "source": example.source,
        "tokens": example.numbers,
        "labels": example.labels,
        "pattern": dict(zip(names, pattern, strict=True)),
    }
    files: dict[str, bytes | str] = {"patterns.html": page(title, parts), "patterns.png": png(figure)}
    return deliver(arguments, folder, values, report(subject, example, names, pattern), files)


def patterns_of(subject: Subject, example: Example, heads: tuple[Head, ...]) -> Float[Tensor, "head dest src"]:
    """The patterns of these heads, in this order."""
    names = sorted({pattern_name(head.layer) for head in heads})
    recorded = record(subject.model, example.tokens, names=names)
    return torch.stack([recorded[pattern_name(head.layer)][0, head.index] for head in heads]).cpu()


def report(subject: Subject, example: Example, names: list[str], pattern: Float[Tensor, "head dest src"]) -> str:
    """The sequence, and mean attention by place beside what even attention gives."""
    even = torch.ones_like(pattern[0]).tril()
    even = even / even.sum(-1, keepdim=True)
    rows = [[name, *places(each)] for name, each in zip([*names, "even"], [*pattern, even], strict=True)]
    return "\n\n".join(
        [
            paragraph(subject.describe()),
            paragraph(f"{len(example.labels)} tokens, {example.source}: {' '.join(map(token, example.labels))}"),
            "Mean attention to a place, over all positions but the first; entropy of the pattern in nats.\n"
            '"even" is a head that attends to everything it can see alike.',
            table(["head", "previous", "itself", "first", "entropy"], rows, "lrrrr"),
        ]
    )


def places(pattern: Float[Tensor, "dest src"]) -> list[str]:
    """Mean attention to the token before, to itself and to the first one, and the entropy, over positions from 1 on."""
    if len(pattern) < 2:
        return ["n/a"] * 4
    rows = pattern[1:].double()
    entropy = torch.special.entr(rows).sum(-1).mean().item()
    means = (pattern.diagonal(-1), pattern.diagonal()[1:], pattern[1:, 0])
    return [*(number(each.double().mean().item()) for each in means), number(entropy, 2)]
