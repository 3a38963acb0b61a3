"""The tokenizer of a Hugging Face folder: names of tokens, text to tokens, and which tokens are special."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toy_models.errors import InputError
from toy_models.vocabulary import byte_label, piece_bytes

FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
"""One of these must be there; tokenizer_config.json alone names no tokens."""
EMPTY = "∅"
SPECIAL = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "decoder_start_token_id")


@dataclass(frozen=True)
class TokenizerTokens:
    """The tokens of a tokenizer of transformers, as `Subject.vocabulary`."""

    labels: tuple[str, ...]
    """One for each row of the embedding; the number of a row that no token has."""
    bos: int | None
    special: tuple[int, ...]
    """Special tokens and rows that no token has."""
    tokenizer: Any = field(repr=False)
    kind: str = "bpe"

    def encode(self, text: str) -> list[int]:
        """Tokens of a text, without special ones added."""
        return list(self.tokenizer.encode(text, add_special_tokens=False))


def read_tokenizer(folder: Path, d_vocab: int) -> TokenizerTokens | None:
    """The folder's tokenizer; None without one. `InputError` for one that cannot be read."""
    if not any((folder / name).exists() for name in FILES):
        return None
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        return tokens_of(tokenizer, d_vocab)
    except Exception as error:  # transformers raises whatever its many readers raise
        raise InputError(f"{folder}: its tokenizer cannot be read: {first_line(error)}") from error


def tokens_of(tokenizer: Any, d_vocab: int) -> TokenizerTokens:
    """The tokens of a tokenizer, for a model with `d_vocab` rows of embedding."""
    pieces = tokenizer.convert_ids_to_tokens(range(min(len(tokenizer), d_vocab)))
    labels = tuple(str(row) if piece is None else label_of(piece) for row, piece in enumerate(pieces))
    beyond = range(len(labels), d_vocab)
    special = {*tokenizer.all_special_ids, *beyond, *(row for row, piece in enumerate(pieces) if piece is None)}
    bos = tokenizer.bos_token_id
    return TokenizerTokens(
        labels + tuple(str(row) for row in beyond),
        bos if bos is not None and bos < d_vocab else None,
        tuple(sorted(token for token in special if token < d_vocab)),
        tokenizer,
    )


def label_of(piece: str) -> str:
    """A piece as `byte_label` writes it, where it is written in byte-level characters; else as it is."""
    try:
        return byte_label(piece_bytes(piece)) or EMPTY
    except InputError:
        return piece


def special_tokens(config: Mapping[str, Any], d_vocab: int) -> tuple[int, ...]:
    """Special tokens that a config.json names; there a value is a number, a list of numbers or null."""
    found: set[int] = set()
    for name in SPECIAL:
        value = config.get(name)
        values: Iterable[Any] = value if isinstance(value, list) else [value]
        found |= {number for number in values if type(number) is int and 0 <= number < d_vocab}
    return tuple(sorted(found))


def first_line(error: BaseException) -> str:
    """What an error of another library says, on one line of reasonable length."""
    text = " ".join(str(error).split())
    if not text or isinstance(error, KeyError):
        text = f"{type(error).__name__} {text}".strip()
    return text if len(text) <= 240 else f"{text[:240]} ..."
