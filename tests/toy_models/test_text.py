"""Windows of real text."""

import itertools
import math
from collections import Counter

import pytest
import torch

from toy_models.errors import InputError
from toy_models.task_config import TextConfig
from toy_models.text import TextTask, train_bpe

TEXTS = {
    "one.txt": "the cat sat on the mat and the dog sat on the log " * 20,
    "two.txt": "a man a plan a canal " * 30,
    "three.txt": "the end of the story is the end of the tale " * 20,
    "four.txt": "so it goes and so it went " * 20,
    "short.txt": "tiny",
}


@pytest.fixture
def folder(tmp_path):
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def task_of(*paths, **options):
    defaults = {"n_ctx": 16, "max_vocab": 300, "held_out": 0.3}
    return TextTask(TextConfig(paths=tuple(map(str, paths)), **(defaults | options)))


@pytest.mark.parametrize("tokenizer", ["bpe", "bytes"])
@pytest.mark.parametrize("bos", [False, True])
def test_every_window_is_a_piece_of_one_file_of_its_side(folder, tokenizer, bos, generator):
    task = task_of(folder, tokenizer=tokenizer, bos=bos)
    for batch, files in ((task.sample, task.train_files), (task.held_out, task.held_out_files)):
        tokens = batch(200, generator).tokens
        assert tokens.shape == (200, 16)
        encoded = [task.vocabulary.encode(TEXTS[name]) for name in files]
        for row in tokens.tolist():
            data = row[1:] if bos else row
            assert not bos or row[0] == 0
            assert any(data == text[i : i + len(data)] for text in encoded for i in range(len(text)))


def test_every_window_is_equally_likely(tmp_path, generator):
    """Files of 5, 1 and 4 bytes have 3, 0 and 2 windows of 3 bytes."""
    for name, text in {"a.txt": "abcde", "b.txt": "x", "c.txt": "1234"}.items():
        (tmp_path / name).write_text(text)
    task = task_of(tmp_path, tokenizer="bytes", n_ctx=4, held_out=0.0)
    drawn = Counter(map(task.vocabulary.decode, task.sample(10000, generator).tokens[:, 1:].tolist()))
    assert set(drawn) == {"abc", "bcd", "cde", "123", "234"}
    assert all(abs(number - 2000) < 5 * math.sqrt(2000) for number in drawn.values())


def test_all_positions_after_the_first_are_predictable(folder, generator):
    predictable = task_of(folder).sample(2, generator).predictable
    assert predictable.tolist() == [[False] + [True] * 15] * 2


def test_the_tokenizer_sees_training_files_only(folder):
    task = task_of(folder)
    train = [TEXTS[name] for name in task.train_files]
    assert task.tokenizer_json == train_bpe(train, 299)
    assert task.tokenizer_json != train_bpe(TEXTS.values(), 299)


def test_the_saved_tokenizer_gives_the_same_task(folder, generator):
    task = task_of(folder)
    assert task.tokenizer_json is not None
    again = TextTask.from_tokenizer_json(task.config, task.tokenizer_json)
    assert again.vocabulary == task.vocabulary
    other = torch.Generator().manual_seed(0)
    assert torch.equal(again.sample(4, other).tokens, task.sample(4, generator).tokens)


def test_vocabulary_sizes_count_bos(folder):
    assert task_of(folder, tokenizer="bytes").d_vocab == 257
    assert task_of(folder, tokenizer="bytes", bos=False).d_vocab == 256
    assert task_of(folder, max_vocab=270).d_vocab == 270
    assert task_of(folder, tokenizer="bytes").tokenizer_json is None


def test_what_nobody_knows_is_none(folder, generator):
    task = task_of(folder)
    assert task.optimal_loss(10, generator) is None
    assert task.order_free_loss(10, generator) is None


def baseline_task(folder, train, held_out):
    """A byte task with the one text for training and the other held out."""
    for text in ("zz", train):
        for name in ("p.txt", "q.txt"):
            (folder / name).write_text(text)
        if text == "zz":
            side = task_of(folder, tokenizer="bytes", n_ctx=3).held_out_files[0]
    (folder / side).write_text(held_out)
    return task_of(folder, tokenizer="bytes", n_ctx=3)


def test_unigram_loss_is_that_of_the_training_frequencies(tmp_path, generator):
    task = baseline_task(tmp_path, "aaab", "ab")
    p_a, p_b = 4 / (4 + 257), 2 / (4 + 257)
    assert task.unigram_loss(5, generator).mean == pytest.approx(-(math.log(p_a) + math.log(p_b)) / 2)


def test_bigram_loss_mixes_pairs_with_frequencies_by_the_number_of_successors(tmp_path, generator):
    """After a in aaab: a twice, b once, two kinds; so p(b | a) = (1 + 2 p(b)) / (3 + 2). After bos: p(a)."""
    task = baseline_task(tmp_path, "aaab", "ab")
    p_a, p_b = 4 / (4 + 257), 2 / (4 + 257)
    wanted = -(math.log(p_a) + math.log((1 + 2 * p_b) / 5)) / 2
    assert task.bigram_loss(5, generator).mean == pytest.approx(wanted)


def test_an_unseen_predecessor_leaves_the_frequencies(tmp_path, generator):
    task = baseline_task(tmp_path, "aaab", "ca")
    p_c, p_a = 1 / (4 + 257), 4 / (4 + 257)
    assert task.bigram_loss(5, generator).mean == pytest.approx(-(math.log(p_c) + math.log(p_a)) / 2)


def test_bigrams_do_not_cross_from_file_to_file(folder, generator):
    """Pairs of training text are counted within files: losses equal those of a count in plain Python."""
    task = task_of(folder, tokenizer="bytes")
    pairs: Counter = Counter()
    singles: Counter = Counter()
    for name in task.train_files:
        text = task.vocabulary.encode(TEXTS[name])
        singles.update(text)
        pairs.update(itertools.pairwise(text))
    total = sum(singles.values()) + 257
    state = generator.get_state()
    loss = task.bigram_loss(50, generator).mean
    generator.set_state(state)
    summed = 0.0
    for row in task.held_out(50, generator).tokens.tolist():
        for u, v in itertools.pairwise(row):
            successors = [n for (first, _), n in pairs.items() if first == u]
            unigram = (singles[v] + 1) / total
            p = (
                (pairs[u, v] + len(successors) * unigram) / (sum(successors) + len(successors))
                if successors
                else unigram
            )
            summed -= math.log(p)
    assert loss == pytest.approx(summed / (50 * 15))


def test_files_shorter_than_a_sequence_are_refused_by_name(tmp_path):
    for name in ("one.txt", "two.txt"):
        (tmp_path / name).write_text("only few words")
    with pytest.raises(InputError, match=r"the longest training file, .*\.txt, has 14 tokens, .* needs 63"):
        task_of(tmp_path, tokenizer="bytes", n_ctx=64)


def test_a_held_out_side_that_is_too_short_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"the longest held-out file, .*\.txt, has 1 tokens, .* needs 2"):
        baseline_task(tmp_path, "aaab", "a")


def test_held_out_text_is_refused_where_there_is_none(folder, generator):
    task = task_of(folder, held_out=0.0)
    assert task.n_held_out_tokens == 0
    for ask in (task.held_out, task.unigram_loss, task.bigram_loss):
        with pytest.raises(InputError, match="made without held-out text"):
            ask(3, generator)


def test_bpe_training_gives_the_same_tokenizer_every_time():
    assert train_bpe(TEXTS.values(), 320) == train_bpe(TEXTS.values(), 320)


def test_the_default_text_is_the_standard_library(generator):
    task = TextTask(TextConfig(max_bytes=300_000, max_vocab=400))
    assert task.d_vocab == 400
    assert "self" in task.vocabulary.decode(task.sample(50, generator).tokens.flatten().tolist())
    assert task.n_train_tokens > 50_000
    assert task.bigram_loss(100, generator).mean < task.unigram_loss(100, generator).mean - 0.5
