"""Random tokens that repeat, as detectors need them, and the same sequences with the repetition taken out.

Everything is drawn from the generator that is passed, for any vocabulary with at least two tokens besides BOS.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from interp.errors import InputError

OLSSON_REPEATS, OLSSON_PERIOD = 4, 25
LONGEST_PERIOD = 64
SMALL_PERIOD = 8
"""A context too short for four blocks of this many tokens gets fewer blocks; a smaller vocabulary repeats tokens."""


@dataclass(frozen=True)
class Protocol:
    """Sequences of one random block of `period` tokens, `repeats` times over, behind `bos` where there is one.

    Within a block all tokens are different if the vocabulary (without BOS and `excluded`) has enough of them, else
    they are drawn with replacement. `InputError` if no such sequence can be made.
    """

    repeats: int
    period: int
    d_vocab: int
    bos: int | None = None
    excluded: tuple[int, ...] = ()
    """Tokens that are never drawn (Olsson et al. leave out the most and the least common ones)."""

    def __post_init__(self) -> None:
        if self.repeats < 2 or self.period < 2:
            raise InputError(
                f"a repetition needs at least 2 repeats of 2 tokens, got {self.repeats} repeats of {self.period}"
            )
        _check_vocabulary(self.d_vocab, self.bos, self.excluded)

    @property
    def length(self) -> int:
        return self.start + self.repeats * self.period

    @property
    def start(self) -> int:
        """Where the first block begins: 1 behind BOS, else 0."""
        return int(self.bos is not None)

    @property
    def multiples(self) -> list[int]:
        """Distances from a token to its later copies."""
        return [k * self.period for k in range(1, self.repeats)]

    @property
    def symbols(self) -> Int[Tensor, " symbol"]:
        """The tokens that are drawn from."""
        return drawable(self.d_vocab, self.bos, self.excluded)

    @property
    def distinct(self) -> bool:
        """Whether the tokens of a block all differ."""
        return len(self.symbols) >= self.period

    @property
    def text(self) -> str:
        paper = (self.repeats, self.period) == (OLSSON_REPEATS, OLSSON_PERIOD)
        aside = " (Olsson et al. 2022)" if paper else " (Olsson et al. 2022 have 4 x 25)"
        drawn = "different within a block" if self.distinct else "drawn with replacement, as the vocabulary is small"
        first = "no BOS" if self.bos is None else f"BOS ({self.bos}) first"
        return f"random tokens, {self.repeats} x {self.period}{aside}, {drawn}, {first}"


@dataclass(frozen=True)
class Control:
    """Sequences like those of a protocol in which no query's token has its earlier copies any more.

    Row `b * copies + c` belongs to sequence b. Read the (dest, src) entries of sequence b there, at the dests that
    `queries` marks: in each, the token at dest differs from the tokens that it equals in the original.
    """

    tokens: Int[Tensor, "row pos"]
    queries: Bool[Tensor, "row pos"]
    copies: int
    text: str

    def entries(self, original: Bool[Tensor, "batch dest src"]) -> Bool[Tensor, "row dest src"]:
        """The original sequences' entries, for every row, at the marked dests."""
        return original.repeat_interleave(self.copies, dim=0) & self.queries[:, :, None]


def drawable(d_vocab: int, bos: int | None = None, excluded: tuple[int, ...] = ()) -> Int[Tensor, " symbol"]:
    """All tokens but BOS and the excluded ones."""
    keep = torch.ones(d_vocab, dtype=torch.bool)
    keep[[*excluded, *([] if bos is None else [bos])]] = False
    return keep.nonzero()[:, 0]


def olsson_protocol(d_vocab: int, n_ctx: int, bos: int | None = None, excluded: tuple[int, ...] = ()) -> Protocol:
    """4 x 25 (Olsson et al. 2022, "In-context Learning and Induction Heads"), or the largest like it that fits.

    The period is at most the number of tokens to draw from (but 8 for a smaller vocabulary, whose blocks then repeat
    tokens) and what the context holds four times; where that is less than 8, fewer repeats are made.
    """
    room, longest = _room(d_vocab, n_ctx, bos, excluded)
    longest = min(longest, OLSSON_PERIOD)
    for repeats in range(OLSSON_REPEATS, 1, -1):
        period = min(longest, room // repeats)
        if period >= min(SMALL_PERIOD, longest) or repeats == 2:
            return Protocol(repeats, period, d_vocab, bos, excluded)
    raise AssertionError("unreachable: two repeats are always accepted")


def other_periods(first: Protocol, n_ctx: int) -> list[Protocol]:
    """Up to three more periods: the longest that fits twice, and some near 3/4 and 1/2 of the first one's.

    Each is repeated until the sequence is as long as the first one's, so that a head which acts at some positions only
    is asked about the same ones at every period. No distance from a query to what follows its copies (k * period - 1)
    belongs to two of all the periods, so that a head that attends a fixed distance back scores at one of them at most.
    """
    room, longest = _room(first.d_vocab, n_ctx, first.bos, first.excluded)

    def protocol(period: int) -> Protocol:
        repeats = max(2, (first.length - first.start) // period)
        return Protocol(repeats, period, first.d_vocab, first.bos, first.excluded)

    candidates = [protocol(period) for period in range(3, min(longest, room // 2, LONGEST_PERIOD) + 1)]
    chosen = [first]
    for wish in (LONGEST_PERIOD, 3 * first.period / 4, first.period / 2):
        taken = {multiple for other in chosen for multiple in other.multiples}
        fits = [candidate for candidate in candidates if taken.isdisjoint(candidate.multiples)]
        if fits:
            chosen.append(min(fits, key=lambda candidate: abs(candidate.period - wish)))
    return chosen[1:]


def repeated_tokens(protocol: Protocol, n: int, generator: torch.Generator) -> Int[Tensor, "n pos"]:
    """`n` sequences of the protocol."""
    blocks = random_tokens(n, protocol.period, protocol.symbols, generator)
    return _behind_bos(blocks.repeat(1, protocol.repeats), protocol.bos)


def random_tokens(
    n: int, length: int, symbols: Int[Tensor, " symbol"], generator: torch.Generator
) -> Int[Tensor, "n length"]:
    """`n` rows of tokens, all different within a row if there are enough symbols, else drawn with replacement."""
    if n < 1:
        raise InputError(f"the number of sequences must be at least 1, got {n}")
    if len(symbols) < length:
        return symbols[torch.randint(len(symbols), (n, length), generator=generator)]
    return symbols[torch.rand(n, len(symbols), generator=generator).topk(length).indices]


def predictable_positions(protocol: Protocol, n: int) -> Bool[Tensor, "n pos"]:
    """Where a token can be told from the tokens before it by looking for an earlier copy: second copies on.

    The first token of the second copy is left out, since nothing before it says that the repetition begins.
    """
    later = torch.arange(protocol.length) > protocol.start + protocol.period
    return later.repeat(n, 1)


def fresh_control(
    tokens: Int[Tensor, "batch pos"], protocol: Protocol, generator: torch.Generator, max_queries: int = 8
) -> Control:
    """The same sequences without the repetition; how depends on the size of the vocabulary, and `text` says it.

    With enough tokens, every later copy is replaced by tokens that do not occur earlier in the sequence. With fewer,
    but at least as many as repeats, each later copy is the first block with its tokens renamed cyclically, by another
    shift each: tokens recur, but never at an entry that is scored. Else (or where a block repeats tokens) one query
    at a time gets another token than its own, in up to `max_queries` copies of each sequence.
    """
    symbols, later = protocol.symbols, (protocol.repeats - 1) * protocol.period
    if protocol.distinct and len(symbols) >= protocol.period + later:
        changed = _with_fresh_tokens(tokens, protocol, generator)
        text = "later copies replaced by tokens that do not occur earlier"
    elif protocol.distinct and len(symbols) >= protocol.repeats:
        changed = _with_renamed_tokens(tokens, protocol, generator)
        text = (
            f"later copies renamed by a cyclic shift of the vocabulary each ({len(symbols)} tokens are too few for "
            f"{protocol.period + later} different ones): a token may recur, but never at a scored entry"
        )
    else:
        return _with_other_queries(tokens, protocol, generator, min(max_queries, later))
    return Control(changed, torch.ones_like(tokens, dtype=torch.bool), 1, text)


def _with_fresh_tokens(tokens: Tensor, protocol: Protocol, generator: torch.Generator) -> Tensor:
    symbols, end = protocol.symbols, protocol.start + protocol.period
    keys = torch.rand(len(tokens), protocol.d_vocab, generator=generator)
    keys.scatter_(1, tokens[:, :end], -1.0)  # tokens of the first block come last
    fresh = symbols[keys[:, symbols].topk(protocol.length - end).indices]
    return torch.cat([tokens[:, :end], fresh], dim=1)


def _with_renamed_tokens(tokens: Tensor, protocol: Protocol, generator: torch.Generator) -> Tensor:
    symbols = protocol.symbols
    rank = torch.zeros(protocol.d_vocab, dtype=torch.long).index_put((symbols,), torch.arange(len(symbols)))
    shifts = 1 + torch.rand(len(tokens), len(symbols) - 1, generator=generator).topk(protocol.repeats - 1).indices
    shifts = torch.cat([torch.zeros(len(tokens), 1, dtype=torch.long), shifts], dim=1)
    ranks = rank[tokens[:, protocol.start :]] + shifts.repeat_interleave(protocol.period, dim=1)
    return _behind_bos(symbols[ranks % len(symbols)], protocol.bos)


def _with_other_queries(tokens: Tensor, protocol: Protocol, generator: torch.Generator, copies: int) -> Control:
    symbols = protocol.symbols
    rank = torch.zeros(protocol.d_vocab, dtype=torch.long).index_put((symbols,), torch.arange(len(symbols)))
    has_copy = (tokens[:, :, None] == tokens[:, None, :]).tril(-1).any(-1)
    keys = torch.rand(tokens.shape, generator=generator).masked_fill(~has_copy, -1.0)
    dest = keys.topk(copies).indices.flatten()[:, None]
    rows = tokens.repeat_interleave(copies, dim=0)
    shift = torch.randint(1, len(symbols), dest.shape, generator=generator)
    other = symbols[(rank[rows.gather(1, dest)] + shift) % len(symbols)]
    queries = torch.zeros_like(rows, dtype=torch.bool).scatter(1, dest, True)
    text = (
        f"one query at a time given another token ({len(symbols)} tokens are too few to replace a whole copy), "
        f"{copies} queries a sequence"
    )
    return Control(rows.scatter(1, dest, other), queries, copies, text)


def _behind_bos(tokens: Tensor, bos: int | None) -> Tensor:
    return tokens if bos is None else torch.nn.functional.pad(tokens, (1, 0), value=bos)


def _room(d_vocab: int, n_ctx: int, bos: int | None, excluded: tuple[int, ...]) -> tuple[int, int]:
    """Positions behind BOS, and the longest period that the vocabulary allows."""
    _check_vocabulary(d_vocab, bos, excluded)
    room = n_ctx - int(bos is not None)
    if room < 4:
        raise InputError(f"two copies of two tokens need {4 + n_ctx - room} positions, the context holds {n_ctx}")
    return room, max(len(drawable(d_vocab, bos, excluded)), SMALL_PERIOD)


def _check_vocabulary(d_vocab: int, bos: int | None, excluded: tuple[int, ...]) -> None:
    for name, ids in {"bos": [] if bos is None else [bos], "excluded": excluded}.items():
        if outside := [i for i in ids if not 0 <= i < d_vocab]:
            raise InputError(f"{name} {outside[0]} is outside the vocabulary 0..{d_vocab - 1}")
    left = d_vocab - len({*excluded, *([] if bos is None else [bos])})
    if left < 2:
        raise InputError(f"random tokens need at least 2 to draw from, besides BOS and excluded ones there are {left}")
