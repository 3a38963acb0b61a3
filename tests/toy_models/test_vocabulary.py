"""Labels and text of tokens."""

import json

import pytest

from toy_models.errors import InputError
from toy_models.text import train_bpe
from toy_models.vocabulary import (
    BOS,
    SYMBOLS,
    Vocabulary,
    bpe_vocabulary,
    byte_label,
    byte_vocabulary,
    piece_bytes,
    symbol_vocabulary,
)

HOSTILE = "</script><bos> \"quoted\" 'é' naïve 🙂 \x00\x1b[31m\t\r\n שלום \\n · \u202e"


@pytest.fixture(scope="module")
def bpe():
    return bpe_vocabulary(train_bpe(["the cat sat on the mat <bos> " * 20, "das ist é 🙂 " * 9], 300), bos=True)


def test_symbols_are_single_characters_while_they_last():
    vocabulary = symbol_vocabulary(63, bos=True)
    assert vocabulary.labels[:4] == ("<bos>", "A", "B", "C")
    assert len(vocabulary) == 64
    assert all(len(label) == 1 for label in vocabulary.labels[1:])
    assert symbol_vocabulary(len(SYMBOLS) + 1, bos=False).labels[-1] == f"t{len(SYMBOLS)}"


def test_symbols_survive_encoding_and_decoding():
    for n_symbols in (5, 200):
        for bos in (False, True):
            vocabulary = symbol_vocabulary(n_symbols, bos)
            tokens = [*range(len(vocabulary)), 3, 3, 0]
            assert vocabulary.encode(vocabulary.decode(tokens)) == tokens


def test_single_symbols_are_read_with_and_without_spaces():
    vocabulary = symbol_vocabulary(4, bos=True)
    assert vocabulary.encode("<bos>ABBA D") == vocabulary.encode(" <bos> A B B A\nD ") == [0, 1, 2, 2, 1, 4]
    assert vocabulary.decode([0, 1, 2]) == "<bos>AB"


@pytest.mark.parametrize("text, symbol", [("AB?", r"'\?'"), ("<b", "'<'"), ("ABE", "'E'")])
def test_an_unknown_symbol_is_named(text, symbol):
    with pytest.raises(InputError, match=f"{symbol} is not in the vocabulary of 5 symbols: <bos> A B C D"):
        symbol_vocabulary(4, bos=True).encode(text)


def test_an_unknown_word_is_named_when_symbols_are_words():
    with pytest.raises(InputError, match="'t200' is not in the vocabulary of 200 symbols"):
        symbol_vocabulary(200, bos=False).encode("t1 t200")


@pytest.mark.parametrize("token", [-1, 5])
def test_a_token_outside_the_vocabulary_is_refused(token):
    vocabulary = symbol_vocabulary(4, bos=True)
    for read in (vocabulary.label, lambda t: vocabulary.decode([t])):
        with pytest.raises(InputError, match=rf"token {token} is outside the vocabulary 0\.\.4"):
            read(token)


def test_bytes_are_numbered_after_bos():
    assert byte_vocabulary(bos=False).encode("aé") == [97, 195, 169]
    assert byte_vocabulary(bos=True).encode("aé") == [98, 196, 170]
    assert byte_vocabulary(bos=True).decode([0, 98, 196, 170]) == "<bos>aé"


def test_broken_utf8_is_shown_as_replacement_characters():
    assert byte_vocabulary(bos=False).decode([97, 195]) == "a\ufffd"


@pytest.mark.parametrize("bos", [False, True])
def test_any_text_survives_bytes(bos):
    vocabulary = byte_vocabulary(bos)
    assert vocabulary.decode(vocabulary.encode(HOSTILE)) == HOSTILE


def test_any_text_survives_bpe(bpe):
    assert bpe.decode(bpe.encode(HOSTILE)) == HOSTILE
    assert len(bpe.encode("the cat")) < len("the cat")


def test_bos_in_text_is_plain_text_and_not_the_token(bpe):
    assert 0 not in bpe.encode("a <bos> b")
    assert 0 not in byte_vocabulary(bos=True).encode("<bos>")
    assert bpe.decode([0]) == "<bos>"
    assert bpe.labels[0] == BOS
    assert len(set(bpe.labels)) == len(bpe.labels)


def test_bpe_labels_name_their_bytes(bpe):
    token = bpe.encode(" the")[0]
    assert bpe.label(token) == "·the"
    assert bpe.tokenizer_json is not None
    assert len(bpe) == 1 + len(json.loads(bpe.tokenizer_json)["model"]["vocab"]) > 1 + 256


def test_a_tokenizer_that_does_not_fit_the_labels_is_refused(bpe):
    with pytest.raises(InputError, match="tokens, but there are 2 labels"):
        Vocabulary(("a", "b"), None, "bpe", bpe.tokenizer_json).encode("text")


def test_labels_of_bytes_are_printable_and_all_different():
    vocabulary = byte_vocabulary(bos=True)
    assert all(label.isprintable() and " " not in label for label in vocabulary.labels)
    assert len(set(vocabulary.labels)) == 257


@pytest.mark.parametrize(
    "piece, label",
    [
        (b" a", "·a"),
        (b"\n\t\r", r"\n\t\r"),
        (b"\\n", r"\\n"),
        (b"\x1b", r"\x1b"),
        (b"\xe2a", r"\xe2a"),
        ("é".encode(), "é"),
        ("·".encode(), r"\xc2\xb7"),
        ("\u202e".encode(), r"\xe2\x80\xae"),
    ],
)
def test_byte_labels(piece, label):
    assert byte_label(piece) == label


def test_every_byte_has_one_character_in_the_byte_level_alphabet():
    from tokenizers.pre_tokenizers import ByteLevel

    assert sorted(piece_bytes(character)[0] for character in ByteLevel.alphabet()) == list(range(256))
    (shown, _), *_ = ByteLevel(add_prefix_space=False).pre_tokenize_str(" \xadé\x00")
    assert piece_bytes(shown) == " \xadé\x00".encode()[: len(piece_bytes(shown))]


def test_json_gives_back_the_same_vocabulary(bpe):
    for vocabulary in (bpe, byte_vocabulary(bos=True), symbol_vocabulary(9, bos=False)):
        again = Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict())))
        assert again == vocabulary
        assert again.encode("AABA") == vocabulary.encode("AABA")


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Vocabulary((), None, "symbols"), "at least one label"),
        (lambda: Vocabulary(("a", ""), None, "symbols"), "none may be empty"),
        (lambda: Vocabulary(("a", "b", "a"), None, "symbols"), "two tokens are called 'a'"),
        (lambda: Vocabulary(("a", "b"), 1, "symbols"), "bos must be token 0, or left out, got 1"),
        (lambda: Vocabulary(("a", "b"), None, "bpe"), "needs tokenizer_json"),
        (lambda: Vocabulary(("a", "b"), None, "symbols", "{}"), "needs tokenizer_json"),
        (lambda: Vocabulary(("a", "b"), None, "bytes"), "has 256 tokens"),
        (lambda: bpe_vocabulary("{}", True), "not what the tokenizers library writes"),
        (lambda: piece_bytes("a b"), "not written in byte-level characters"),
        (lambda: byte_vocabulary(True).encode("\ud800"), "cannot be written as UTF-8"),
        (lambda: Vocabulary.from_dict({"labels": ["a"], "bos": None, "kind": "symbols", "x": 1}), "no field 'x'"),
    ],
)
def test_vocabularies_that_cannot_work_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
