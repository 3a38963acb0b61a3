"""The short sequence that a report shows patterns and predictions on: something that stands there twice."""

import torch

from analyses.loading import Subject
from analyses.sequences import Example, repeated_block

SNIPPETS = ("for item in items: ", "total = 0\n", "ab ")
"""Tried in this order, for models of text."""
SHORTEST_BLOCK, LONGEST_BLOCK = 5, 15


def example_of(subject: Subject, seed: int) -> Example:
    """A snippet of text twice over for a model of text, else a block of random tokens twice over.

    At most 41 tokens, or what the context holds. Raises `InputError` where nothing can be repeated.
    """
    block = snippet(subject)
    if block is None:
        numbers, source = repeated_block(subject, seed)
    else:
        first = [] if subject.bos is None else [subject.bos]
        numbers, source = [*first, *block, *block], f"a snippet of {len(block)} tokens twice over"
    tokens = torch.tensor([numbers], device=next(subject.model.parameters()).device)
    return Example(tokens, tuple(subject.labels[number] for number in numbers), source)


def snippet(subject: Subject) -> list[int] | None:
    """The first snippet that fits, as tokens; None for models whose tokens are no text, or where none fits."""
    vocabulary = subject.vocabulary
    if vocabulary is None or vocabulary.kind == "symbols":
        return None
    room = (subject.config.n_ctx - (subject.bos is not None)) // 2
    for text in SNIPPETS:
        block = vocabulary.encode(text)[:LONGEST_BLOCK]
        if SHORTEST_BLOCK <= len(block) <= room:
            return block
    return None
