"""The heads that an audit names, made to attend exactly as textbooks say, and removed together."""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from analyses.evidence import Verdict
from analyses.paths.sample import Sample
from interp.ablation import IdealPattern, Interactions, Recovery, SetEffect, interactions, set_effect
from interp.ablation.ideal_patterns import INDUCTION, LONG_INDUCTION, PREVIOUS_TOKEN
from interp.ablation.idealised import idealised_recoveries
from interp.heads import Protocol
from interp.names import Head

PATTERNS: dict[str, IdealPattern] = {"previous-token": PREVIOUS_TOKEN, "induction": INDUCTION}
"""Roles that have a textbook pattern to compare with."""
MOST_OF_A_ROLE = 4
"""Heads of each role, the surest first."""
RANDOM_SETS = 8
DISTINCT = "these tokens"
AMBIGUOUS = "blocks that repeat tokens"


@dataclass(frozen=True, eq=False)
class Replacements:
    """By role, the heads it is about; `recoveries` are (role, where it was measured, recovery)."""

    heads: dict[str, tuple[Head, ...]]
    recoveries: tuple[tuple[str, str, Recovery], ...]
    sets: dict[str, SetEffect]
    """All heads of a role removed together, where there are several."""
    pairs: Interactions | None
    """Every two heads of a role, and all of them."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "heads": self.heads,
            "recoveries": [{"role": role, "on": on, **found.to_dict()} for role, on, found in self.recoveries],
            "sets": {role: found.to_dict() for role, found in self.sets.items()},
            "interactions": self.pairs and self.pairs.to_dict(),
        }


def named_heads(verdicts: tuple[Verdict, ...]) -> dict[str, tuple[Head, ...]]:
    """By role, the first few of the verdicts (the surest first) that have it; roles without heads are left out."""
    found = {
        role: [Head.parse(v.head) for v in verdicts if any(claim.role == role for claim in v.roles)][:MOST_OF_A_ROLE]
        for role in PATTERNS
    }
    return {role: tuple(sorted(heads)) for role, heads in found.items() if heads}


def measure(
    model: nn.Module, heads: dict[str, tuple[Head, ...]], sample: Sample, generator: torch.Generator
) -> Replacements:
    """All of it, on the sample's scored tokens; removed heads write their mean."""
    where = (model, sample.tokens, sample.scored, generator)
    sets = {role: set_effect(model, h, *where[1:], n_random=RANDOM_SETS) for role, h in heads.items() if len(h) > 1}
    together: list[tuple[Head, ...]] = [pair for each in heads.values() for pair in combinations(each, 2)]
    together += [each for each in heads.values() if len(each) > 2]
    return Replacements(
        heads,
        tuple(recoveries(model, heads, sample, generator)),
        sets,
        interactions(model, together, *where[1:]) if together else None,
    )


def recoveries(
    model: nn.Module, heads: dict[str, tuple[Head, ...]], sample: Sample, generator: torch.Generator
) -> list[tuple[str, str, Recovery]]:
    """Of all heads of a role together, of each alone, and of induction heads where one token's match is ambiguous."""
    groups = [(role, each) for role, named in heads.items() for each in dict.fromkeys([named, *((h,) for h in named)])]
    cases = [dict.fromkeys(group, PATTERNS[role]) for role, group in groups]
    measured = idealised_recoveries(model, cases, sample.tokens, sample.scored, generator)
    found = [(role, DISTINCT, each) for (role, _), each in zip(groups, measured, strict=True)]
    if "induction" in heads and sample.protocol is not None:
        tokens = with_repeats(sample.tokens, sample.protocol, generator)
        cases = [dict.fromkeys(heads["induction"], pattern) for pattern in (INDUCTION, LONG_INDUCTION)]
        measured = idealised_recoveries(model, cases, tokens, sample.scored, generator)
        found += [("induction", AMBIGUOUS, each) for each in measured]
    return found


def with_repeats(
    tokens: Int[Tensor, "batch pos"], protocol: Protocol, generator: torch.Generator
) -> Int[Tensor, "batch pos"]:
    """The same sequences with each block drawn anew, with replacement, from the first half of its tokens.

    Then a token alone does not tell what follows it, but with the one before it often does.
    """
    half, start = max(2, protocol.period // 2), protocol.start
    picks = torch.randint(half, (len(tokens), protocol.period), generator=generator, device=generator.device)
    block = tokens[:, start : start + protocol.period].gather(1, picks.to(tokens.device))
    found = tokens.clone()
    found[:, start:] = block.repeat(1, protocol.repeats)[:, : tokens.shape[1] - start]
    return found
