"""The sequence that a command runs a model on."""

import pytest

from analyses.arguments import Lens
from analyses.loading import load_subject
from analyses.sequences import example_of
from toy_models.checkpoint import save_checkpoint
from toy_models.config import TransformerConfig
from toy_models.errors import InputError
from toy_models.transformer import Transformer
from toy_models.vocabulary import byte_vocabulary

pytest_plugins = ("tests.command_line",)


def example(folder, **options):
    return example_of(load_subject(folder), Lens(model=folder, **options))


def test_without_a_sequence_a_random_block_stands_twice_behind_bos(tiny):
    made = example(tiny)
    first, block, copy = made.numbers[0], made.numbers[1:12], made.numbers[12:]
    assert first == 0
    assert block == copy
    assert len(set(block)) == 11
    assert 0 not in block
    assert made.source == "11 random tokens twice over, seed 0"
    assert made.labels[0] == "<bos>"


def test_the_seed_decides_the_block(tiny):
    assert example(tiny, seed=1).numbers == example(tiny, seed=1).numbers != example(tiny, seed=2).numbers


def test_a_model_that_knows_of_no_bos_gets_the_block_alone(nameless):
    made = example(nameless)
    assert len(made.numbers) == 24
    assert made.numbers[:12] == made.numbers[12:]


def test_text_is_read_in_the_models_vocabulary_behind_bos(tiny):
    assert example(tiny, text="A B C A").numbers == [0, 1, 2, 3, 1]
    assert example(tiny, text="<bos>AB").numbers == [0, 1, 2]


def test_bytes_are_a_vocabulary_too(tmp_path):
    vocabulary = byte_vocabulary(bos=True)
    config = TransformerConfig(n_layers=1, d_model=8, d_vocab=257, n_ctx=16)
    save_checkpoint(tmp_path / "m", Transformer(config), {"vocabulary": vocabulary.to_dict()})
    made = example(tmp_path / "m", text="é\x1b")
    assert made.numbers == [0, 0xC3 + 1, 0xA9 + 1, 0x1B + 1]


def test_tokens_are_taken_as_they_are(tiny):
    made = example(tiny, tokens=(3, 0, 3))
    assert made.numbers == [3, 0, 3]
    assert made.labels == ("C", "<bos>", "C")
    assert made.source == "the given tokens"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens": ()}, "there are no tokens; give at least one"),
        ({"text": ""}, "--text is empty"),
        ({"text": "   "}, "--text is empty"),
        ({"tokens": (1, 12)}, r"token 12 is outside the vocabulary 0\.\.11"),
        ({"tokens": (-1,)}, r"token -1 is outside the vocabulary 0\.\.11"),
        ({"tokens": (1,) * 25}, "the sequence has 25 tokens, the model's context is 24"),
        ({"text": "A" * 24}, "the sequence has 25 tokens, the model's context is 24"),
        ({"text": "A B Z"}, "'Z' is not in the vocabulary"),
        ({"text": "A", "tokens": (1,)}, "--text and --tokens exclude each other"),
    ],
)
def test_a_sequence_that_cannot_be_is_refused(tiny, options, message):
    with pytest.raises(InputError, match=message):
        example(tiny, **options)


def test_text_needs_a_vocabulary(nameless):
    with pytest.raises(InputError, match="says nothing of a vocabulary, so text cannot be read; use --tokens"):
        example(nameless, text="A")


@pytest.mark.parametrize(("d_vocab", "n_ctx"), [(2, 3), (2, 8)])
def test_a_model_too_small_for_a_repeated_block_needs_tokens(tmp_path, d_vocab, n_ctx):
    save_checkpoint(tmp_path / "m", Transformer(TransformerConfig(d_vocab=d_vocab, n_ctx=n_ctx)))
    if n_ctx == 3:
        with pytest.raises(InputError, match="hold no repeated block of two: use --tokens"):
            example(tmp_path / "m")
    else:
        assert len(example(tmp_path / "m").numbers) == 4
    assert example(tmp_path / "m", tokens=(1,)).numbers == [1]
