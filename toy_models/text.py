"""Real text as a task: windows of tokens from training files, and from held-out ones."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toy_models.corpus import TextFile, read_corpus
from toy_models.errors import InputError
from toy_models.task_config import TextConfig
from toy_models.tasks.base import Batch, LossEstimate, chance_loss, check_count, estimate_loss
from toy_models.vocabulary import Vocabulary, bpe_vocabulary, byte_vocabulary


@dataclass(frozen=True)
class Windows:
    """The tokens of several files one after the other; a window of `length` never crosses into the next file."""

    tokens: Int[Tensor, " token"]
    ends: Int[Tensor, " file"]
    length: int

    @cached_property
    def _windows_so_far(self) -> Int[Tensor, " file"]:
        """How many windows there are in the files up to and with each."""
        sizes = self.ends.diff(prepend=torch.zeros(1, dtype=torch.int64))
        return (sizes - self.length + 1).clamp(min=0).cumsum(dim=0)

    @property
    def n_windows(self) -> int:
        return int(self._windows_so_far[-1])

    def sample(self, n: int, generator: torch.Generator) -> Int[Tensor, "batch pos"]:
        """n windows, all equally likely."""
        window = torch.randint(self.n_windows, (n,), generator=generator)
        file = torch.searchsorted(self._windows_so_far, window, right=True)
        start = self.ends[file] - self.length - (self._windows_so_far[file] - 1 - window)
        return self.tokens[start[:, None] + torch.arange(self.length)].long()


class TextTask:
    """Windows of text, [bos] and then n_ctx - 1 tokens of one file; all positions after the first are predictable.

    Nobody knows the best loss on text, nor the best of a reader that only counts, so `optimal_loss` and
    `order_free_loss` are None; `unigram_loss` and `bigram_loss` are measured on held-out text.

    Files are read when the task is made, and a BPE tokenizer is trained on the training files only. Raises
    `InputError` as `read_corpus` does, and if no file of one side is as long as a window.
    """

    def __init__(self, config: TextConfig, vocabulary: Vocabulary | None = None):
        self.config = config
        corpus = read_corpus(config)
        self.vocabulary = vocabulary or _make_vocabulary(config, corpus.train)
        self.train_files = tuple(file.name for file in corpus.train)
        self.held_out_files = tuple(file.name for file in corpus.held_out)
        length = config.n_ctx - config.bos
        self._train = _windows(corpus.train, self.vocabulary, length, "training")
        self._held_out = _windows(corpus.held_out, self.vocabulary, length, "held-out") if corpus.held_out else None

    @classmethod
    def from_tokenizer_json(cls, config: TextConfig, tokenizer_json: str) -> "TextTask":
        """The task with a tokenizer that was saved (`tokenizer_json`) instead of a newly trained one."""
        return cls(config, bpe_vocabulary(tokenizer_json, config.bos))

    @property
    def tokenizer_json(self) -> str | None:
        """The BPE tokenizer as the `tokenizers` library writes it; None for bytes."""
        return self.vocabulary.tokenizer_json

    @property
    def d_vocab(self) -> int:
        return len(self.vocabulary)

    @property
    def n_ctx(self) -> int:
        return self.config.n_ctx

    @property
    def chance_loss(self) -> float:
        return chance_loss(self.d_vocab)

    @property
    def n_train_tokens(self) -> int:
        return len(self._train.tokens)

    @property
    def n_held_out_tokens(self) -> int:
        return 0 if self._held_out is None else len(self._held_out.tokens)

    def sample(self, n: int, generator: torch.Generator) -> Batch:
        """n windows of the training files."""
        return self._batch(self._train, n, generator)

    def held_out(self, n: int, generator: torch.Generator) -> Batch:
        """n windows of the held-out files; `InputError` if there are none."""
        return self._batch(self._held_out_windows(), n, generator)

    def optimal_loss(self, n_sequences: int, generator: torch.Generator) -> None:
        """None: nobody knows how predictable text is."""
        return None

    def order_free_loss(self, n_sequences: int, generator: torch.Generator) -> None:
        """None: the best reader that only counts a context of real text is not known."""
        return None

    def unigram_loss(self, n_sequences: int, generator: torch.Generator) -> LossEstimate:
        """Held-out loss of the frequencies of tokens in the training files.

        p(v) = (n_v + 1) / (n + d_vocab) over the training tokens, without bos.
        """
        batch = self.held_out(n_sequences, generator)
        return estimate_loss(-self._unigram().log()[batch.tokens], batch.predictable)

    def bigram_loss(self, n_sequences: int, generator: torch.Generator) -> LossEstimate:
        """Held-out loss of a reader of the token before alone, with the frequencies of the training files.

        p(v | u) = (n_uv + k_u p(v)) / (n_u + k_u), with k_u the number of different successors of u and p(v) the
        unigram reader's, which also predicts the token after bos. Source: Witten & Bell 1991.
        """
        batch = self.held_out(n_sequences, generator)
        d, train = self.d_vocab, self._train
        before, after = train.tokens[:-1].long(), train.tokens[1:].long()
        same_file = torch.ones(len(before), dtype=torch.bool)
        same_file[train.ends[:-1] - 1] = False
        keys, counts = (before * d + after)[same_file].unique(return_counts=True)
        seen = torch.zeros(d, dtype=torch.int64).index_add_(0, keys // d, counts)
        kinds = torch.bincount(keys // d, minlength=d)
        previous, target = batch.tokens[:, :-1], batch.tokens[:, 1:]
        wanted = previous * d + target
        place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
        joint = torch.where(keys[place] == wanted, counts[place], 0)
        unigram = self._unigram()[target]
        known = (joint + kinds[previous] * unigram) / (seen + kinds)[previous].clamp(min=1)
        losses = -torch.where(seen[previous] > 0, known, unigram).log()
        return estimate_loss(torch.nn.functional.pad(losses, (1, 0)), batch.predictable)

    def _unigram(self) -> Float[Tensor, " vocab"]:
        counts = torch.bincount(self._train.tokens.long(), minlength=self.d_vocab).double() + 1
        return counts / counts.sum()

    def _held_out_windows(self) -> Windows:
        if self._held_out is None:
            raise InputError("this task was made without held-out text; set held_out above 0")
        return self._held_out

    def _batch(self, windows: Windows, n: int, generator: torch.Generator) -> Batch:
        check_count(n)
        tokens = torch.nn.functional.pad(windows.sample(n, generator), (int(self.config.bos), 0))
        predictable = torch.ones(tokens.shape, dtype=torch.bool)
        predictable[:, 0] = False
        return Batch(tokens, predictable)


def _make_vocabulary(config: TextConfig, files: Sequence[TextFile]) -> Vocabulary:
    if config.tokenizer == "bytes":
        return byte_vocabulary(config.bos)
    return bpe_vocabulary(train_bpe((file.text for file in files), config.max_vocab - config.bos), config.bos)


def train_bpe(texts: Iterable[str], max_vocab: int) -> str:
    """A byte-level BPE tokenizer as JSON: 256 bytes, then the most frequent merges while any pair occurs twice."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=max_vocab,
        min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return str(tokenizer.to_str())


def _windows(files: Sequence[TextFile], vocabulary: Vocabulary, length: int, side: str) -> Windows:
    pieces = [torch.tensor(vocabulary.encode(file.text), dtype=torch.int32) for file in files]
    longest = max(range(len(files)), key=lambda i: len(pieces[i]))
    if len(pieces[longest]) < length:
        raise InputError(
            f"the longest {side} file, {files[longest].path}, has {len(pieces[longest])} tokens, but one sequence "
            f"needs {length}: name longer files or lower n_ctx"
        )
    ends = torch.tensor([len(piece) for piece in pieces]).cumsum(dim=0)
    return Windows(torch.cat(pieces), ends, length)
