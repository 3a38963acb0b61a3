"""Attention patterns as textbooks draw them: exact previous-token, induction, first-token and current-token attention.

Each is even over a set of sources for every query, and on position 0 (BOS, where there is one) where the set is empty.
Each has a wrong twin, whose sources lie one position further on or back: as sharp, and in the wrong place.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.errors import InputError
from interp.heads.matching import copy_entries, first_entries, offset_entries

Entries = Callable[[Int[Tensor, "batch pos"]], Bool[Tensor, "batch dest src"]]


@dataclass(frozen=True)
class IdealPattern:
    """A pattern that follows from the tokens alone; called with them it gives every query's attention.

    `entries` may hold several masks: a query takes the last of them that has a source for it.
    """

    name: str
    text: str
    entries: tuple[Entries, ...]
    shifted: tuple[Entries, ...]
    """Those of the wrong twin."""
    shifted_text: str

    @property
    def wrong(self) -> "IdealPattern":
        """The same, one position off: what a pattern gains only by being sharp, it gains too."""
        return IdealPattern(f"shifted {self.name}", self.shifted_text, self.shifted, self.entries, self.text)

    def __call__(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch dest src"]:
        """A[b, i, j] = 1 / |S_i| for j in the sources S_i of query i, else 0; rows sum to 1. In float64."""
        found = torch.zeros(*tokens.shape, tokens.shape[1], dtype=torch.float64, device=tokens.device)
        found[:, :, 0] = 1
        for entries in self.entries:
            mask = entries(tokens).double()
            sources = mask.sum(-1, keepdim=True)
            found = torch.where(sources > 0, mask / sources.clamp_min(1), found)
        return found


def back(positions: int) -> IdealPattern:
    """All attention on the token this many positions before the query (1: previous-token; 0: current-token)."""
    if positions < 0:
        raise InputError(f"attention looks back, so positions must be 0 or more, got {positions}")
    names = {0: "current-token", 1: "previous-token"}
    return IdealPattern(
        names.get(positions, f"{positions} back"),
        f"on the token {positions} before the query",
        (lambda tokens: offset_entries(tokens, positions),),
        (lambda tokens: offset_entries(tokens, positions + 1),),
        f"on the token {positions + 1} before the query",
    )


def induction(longest: int = 1) -> IdealPattern:
    """Evenly on what followed the earlier copies of the query's token, else on position 0.

    With `longest` 2, a query whose token and the one before both match somewhere ([A][B][C] .. [A][B]) looks only after
    those copies; and so on for longer matches.
    """
    if longest < 1:
        raise InputError(f"induction matches one token or more, got longest={longest}")
    matched = "the query's token" if longest == 1 else f"the longest match of up to {longest} tokens"
    lengths = range(1, longest + 1)
    return IdealPattern(
        "induction" if longest == 1 else f"induction, up to {longest} tokens",
        f"evenly on what followed earlier copies of {matched}, else on position 0",
        tuple(_after_copies(length, 1) for length in lengths),
        tuple(_after_copies(length, 2) for length in lengths),
        f"evenly on the second token after earlier copies of {matched}, else on position 0",
    )


def _after_copies(length: int, offset: int) -> Entries:
    return lambda tokens: match_entries(tokens, length, offset)


def match_entries(tokens: Int[Tensor, "batch pos"], length: int, offset: int = 1) -> Bool[Tensor, "batch dest src"]:
    """Positions `offset` after an earlier copy of the last `length` tokens up to the query.

    (i, m + offset), m < i, tokens[m - k] = tokens[i - k] for all 0 <= k < length; `copy_entries` for length 1.
    """
    ending = copy_entries(tokens, offset)
    found = ending
    for k in range(1, length):
        earlier = torch.zeros_like(ending)
        earlier[:, k:, k:] = ending[:, :-k, :-k]
        found = found & earlier
    return found


PREVIOUS_TOKEN, CURRENT_TOKEN = back(1), back(0)
INDUCTION, LONG_INDUCTION = induction(), induction(2)
FIRST_TOKEN = IdealPattern(
    "first-token",
    "on position 0",
    (first_entries,),
    (lambda tokens: first_entries(tokens).roll(1, dims=-1).tril(),),
    "on position 1",
)
