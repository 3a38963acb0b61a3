"""Names of tokens: readable labels, and text to tokens and back."""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Literal

from toy_models.config import check_field_types, from_dict
from toy_models.errors import InputError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BOS = "<bos>"
SYMBOLS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/!?@#$%&*=~^|:;,._-"


@dataclass(frozen=True)
class Vocabulary:
    """Labels of the tokens, one for each, and how text is read.

    `kind`: "symbols", made-up tokens that are their labels; "bytes", one token for each byte of UTF-8 text;
    "bpe", a byte-level BPE tokenizer, kept as the JSON of the `tokenizers` library. `bos`: 0 where a token
    begins every sequence, else None; bytes and pieces of text are numbered from the token after it. Raises
    `InputError` when made, if labels are missing, empty or double.
    """

    labels: tuple[str, ...]
    bos: int | None
    kind: Literal["symbols", "bytes", "bpe"]
    tokenizer_json: str | None = None

    def __post_init__(self) -> None:
        check_field_types(self)
        if not self.labels or not all(self.labels):
            raise InputError("a vocabulary needs at least one label, and none may be empty")
        if len(set(self.labels)) < len(self.labels):
            double = next(label for label in self.labels if self.labels.count(label) > 1)
            raise InputError(f"two tokens are called {double!r}; labels must differ")
        if self.bos not in (None, 0):
            raise InputError(f"bos must be token 0, or left out, got {self.bos}")
        if (self.kind == "bpe") != (self.tokenizer_json is not None):
            raise InputError("a vocabulary of kind 'bpe', and no other, needs tokenizer_json")
        if self.kind == "bytes" and len(self.labels) != 256 + (self.bos is not None):
            raise InputError(f"a vocabulary of bytes has 256 tokens, and <bos> or not, got {len(self.labels)}")

    def __len__(self) -> int:
        return len(self.labels)

    def label(self, token: int) -> str:
        """Readable name of a token; `InputError` if there is no such token."""
        if not 0 <= token < len(self.labels):
            raise InputError(f"token {token} is outside the vocabulary 0..{len(self.labels) - 1}")
        return self.labels[token]

    def encode(self, text: str) -> list[int]:
        """Tokens of a text, without adding bos; `InputError` names a symbol that is not in the vocabulary.

        Symbols of one character each may be written with or without spaces between them, longer ones need
        spaces. "<bos>" is read as the token among symbols, and as five plain characters in text.
        """
        if self.kind == "symbols":
            return [self._symbol(word) for word in self._words(text)]
        try:
            data = text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(f"text cannot be written as UTF-8: {error}") from error
        pieces = list(data) if self.kind == "bytes" else self._tokenizer.encode_batch_fast([text])[0].ids
        return [piece + self._shift for piece in pieces]

    def decode(self, tokens: list[int]) -> str:
        """Text of the tokens; bytes that are no valid UTF-8 become U+FFFD."""
        labels = [self.label(token) for token in tokens]
        if self.kind == "symbols":
            return ("" if self._single_characters else " ").join(labels)
        text = b"".join(BOS.encode() if token == self.bos else self._piece(token) for token in tokens)
        return text.decode("utf-8", errors="replace")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "labels": list(self.labels),
            "bos": self.bos,
            "kind": self.kind,
            "tokenizer_json": self.tokenizer_json,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Vocabulary":
        """The vocabulary that `to_dict` wrote."""
        return from_dict(cls, values)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {label: token for token, label in enumerate(self.labels)}

    @cached_property
    def _single_characters(self) -> bool:
        return all(len(label) == 1 for token, label in enumerate(self.labels) if token != self.bos)

    @property
    def _shift(self) -> int:
        return 0 if self.bos is None else 1

    @cached_property
    def _tokenizer(self) -> "Tokenizer":
        tokenizer = load_tokenizer(str(self.tokenizer_json))
        if tokenizer.get_vocab_size() + self._shift != len(self.labels):
            raise InputError(f"the tokenizer has {tokenizer.get_vocab_size()} tokens, but there are {len(self)} labels")
        return tokenizer

    def _piece(self, token: int) -> bytes:
        if self.kind == "bytes":
            return bytes([token - self._shift])
        return piece_bytes(str(self._tokenizer.id_to_token(token - self._shift)))

    def _words(self, text: str) -> list[str]:
        if not self._single_characters:
            return text.split()
        bos = None if self.bos is None else self.labels[self.bos]
        parts = [text] if bos is None else text.split(bos)
        words: list[str] = []
        for i, part in enumerate(parts):
            words += [bos] if i and bos is not None else []
            words += [character for character in part if not character.isspace()]
        return words

    def _symbol(self, word: str) -> int:
        if word not in self._ids:
            shown = " ".join(self.labels[:12]) + (" ..." if len(self.labels) > 12 else "")
            raise InputError(f"{word!r} is not in the vocabulary of {len(self.labels)} symbols: {shown}")
        return self._ids[word]


def symbol_vocabulary(n_symbols: int, bos: bool) -> Vocabulary:
    """Made-up tokens with readable labels: A B C ... a b c ... 0 1 2 ... +, or t0 t1 ... when there are many."""
    symbols = SYMBOLS[:n_symbols] if n_symbols <= len(SYMBOLS) else [f"t{i}" for i in range(n_symbols)]
    return Vocabulary((BOS,) * bos + tuple(symbols), bos=0 if bos else None, kind="symbols")


def byte_vocabulary(bos: bool) -> Vocabulary:
    """One token for each byte value."""
    labels = tuple(byte_label(bytes([value])) for value in range(256))
    return Vocabulary((BOS,) * bos + labels, bos=0 if bos else None, kind="bytes")


def byte_label(piece: bytes) -> str:
    r"""Printable name of a piece of UTF-8 text, different for different pieces.

    Space is shown as a middle dot, line ends and other controls as \n, \t, \x1b, bytes that are no
    printable character by themselves as \xe2, and a backslash as two.
    """
    try:
        text = piece.decode("utf-8")
    except UnicodeDecodeError:
        return "".join(byte_label(bytes([value])) if value < 128 else f"\\x{value:02x}" for value in piece)
    return "".join(_character_label(character) for character in text)


def bpe_vocabulary(tokenizer_json: str, bos: bool) -> Vocabulary:
    """The tokens of a byte-level BPE tokenizer, in its own order, after <bos>.

    `InputError` if the JSON is of another kind of tokenizer: pieces must be written as `ByteLevel` writes them.
    """
    tokenizer = load_tokenizer(tokenizer_json)
    pieces = [str(tokenizer.id_to_token(i)) for i in range(tokenizer.get_vocab_size())]
    labels = tuple(byte_label(piece_bytes(piece)) for piece in pieces)
    return Vocabulary((BOS,) * bos + labels, bos=0 if bos else None, kind="bpe", tokenizer_json=tokenizer_json)


def load_tokenizer(tokenizer_json: str) -> "Tokenizer":
    """The tokenizer from its JSON; `InputError` if it is none."""
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(tokenizer_json)
    except Exception as error:  # the library raises nothing more specific
        raise InputError(f"tokenizer_json is not what the tokenizers library writes: {error}") from error


def piece_bytes(piece: str) -> bytes:
    """Bytes of a token of a byte-level tokenizer, which writes each byte as one printable character."""
    table = _bytes_of_characters()
    if any(character not in table for character in piece):
        raise InputError(f"the token {piece!r} is not written in byte-level characters")
    return bytes(table[character] for character in piece)


@cache
def _bytes_of_characters() -> dict[str, int]:
    """GPT-2's table: printable bytes of Latin-1 stand for themselves, the others for U+0100 and up, in order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [value for value in range(256) if value not in printable]
    return {chr(value): value for value in printable} | {chr(256 + i): value for i, value in enumerate(others)}


def _character_label(character: str) -> str:
    shown = {" ": "\u00b7", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\"}
    if character in shown:
        return shown[character]
    if character.isprintable() and character != "\u00b7":
        return character
    return "".join(f"\\x{value:02x}" for value in character.encode("utf-8"))
