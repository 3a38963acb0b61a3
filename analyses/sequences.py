"""The one sequence that a command runs a model on: a text, tokens by number, or a short example that repeats."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from analyses.arguments import OnSequence
from analyses.loading import Subject
from interp.heads import Protocol, repeated_tokens
from interp.heads.stimuli import drawable
from toy_models.errors import InputError

EXAMPLE_PERIOD = 20


@dataclass(frozen=True)
class Example:
    """Tokens with the name of each, and in words where they are from."""

    tokens: Int[Tensor, "one pos"]
    labels: tuple[str, ...]
    source: str

    @property
    def numbers(self) -> list[int]:
        return self.tokens[0].tolist()


def example_of(subject: Subject, arguments: OnSequence) -> Example:
    """The sequence that the options ask for: --text in the model's vocabulary (after its first token, where sequences
    begin with one), --tokens as they are, else a random block twice over.

    Raises `InputError` for both at once, an empty sequence, one longer than the context, tokens outside the
    vocabulary, and a text where the model has no vocabulary.
    """
    if arguments.text is not None and arguments.tokens is not None:
        raise InputError("--text and --tokens exclude each other: give one of them")
    if arguments.text is not None:
        numbers, source = encode(subject, arguments.text), "the given text"
    elif arguments.tokens is not None:
        numbers, source = list(arguments.tokens), "the given tokens"
    else:
        numbers, source = repeated_block(subject, arguments.seed)
    check_numbers(subject, numbers)
    tokens = torch.tensor([numbers], device=next(subject.model.parameters()).device)
    return Example(tokens, tuple(subject.labels[number] for number in numbers), source)


def encode(subject: Subject, text: str) -> list[int]:
    if subject.vocabulary is None:
        raise InputError(f"{subject.path} says nothing of a vocabulary, so text cannot be read; use --tokens")
    numbers = subject.vocabulary.encode(text)
    if not numbers:
        raise InputError("--text is empty; give at least one token")
    if subject.bos is not None and numbers[0] != subject.bos:
        numbers = [subject.bos, *numbers]
    return numbers


def repeated_block(subject: Subject, seed: int) -> tuple[list[int], str]:
    """A short block of random tokens twice over, and what it is in words."""
    config = subject.config
    room = (config.n_ctx - (subject.bos is not None)) // 2
    usable = len(drawable(config.d_vocab, subject.bos, subject.excluded))
    if room < 2 or usable < 2:
        raise InputError(
            f"a vocabulary of {config.d_vocab} and a context of {config.n_ctx} tokens hold no repeated block of two: "
            "use --tokens"
        )
    protocol = Protocol(2, min(EXAMPLE_PERIOD, room, usable), config.d_vocab, subject.bos, subject.excluded)
    tokens = repeated_tokens(protocol, 1, torch.Generator().manual_seed(seed))
    return tokens[0].tolist(), f"{protocol.period} random tokens twice over, seed {seed}"


def check_numbers(subject: Subject, numbers: list[int]) -> None:
    """`InputError` unless the model can read these tokens."""
    config = subject.config
    if not numbers:
        raise InputError("there are no tokens; give at least one")
    for number in numbers:
        if not 0 <= number < config.d_vocab:
            raise InputError(f"token {number} is outside the vocabulary 0..{config.d_vocab - 1}")
    if len(numbers) > config.n_ctx:
        raise InputError(f"the sequence has {len(numbers)} tokens, the model's context is {config.n_ctx}")
