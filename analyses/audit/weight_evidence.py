"""What weights say by themselves, as evidence: copying by OV, matching by QK through earlier heads, and positions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from analyses.audit.matching import CHANNELS, READINGS, Edge
from analyses.audit.mechanism import Way
from analyses.criteria import Criteria
from analyses.evidence import Measurement
from interp.circuits import DiagonalScores, copying_score
from interp.circuits.implied import positional_pattern, token_match
from interp.names import Head
from interp.weights import TransformerWeights


@dataclass(frozen=True, eq=False)
class Implied:
    """What positions and tokens alone imply for every head, [layer head], beside even attention and chance."""

    places: Mapping[str, Float[Tensor, "layer head"]]
    even: Mapping[str, float]
    match: Float[Tensor, "layer head"]
    chance: float


THROUGH_EARLIER = "; else undecided: positions may come through earlier heads, which is not read here"


class WeightEvidence:
    """Weight evidence of each head; `edges` are its possible matches through earlier heads, the best one first."""

    def __init__(
        self,
        weights: TransformerWeights,
        edges: Mapping[Head, tuple[Edge, ...]],
        criteria: Criteria,
        generator: torch.Generator,
        bos: int | None,
    ):
        self.weights, self.criteria, self.edges = weights, criteria, edges
        self.copying: DiagonalScores = self.scored_copying(weights, generator)
        self.implied = implied(weights, bos)

    def scored_copying(self, weights: TransformerWeights, generator: torch.Generator) -> DiagonalScores:
        """Of every head, [layer head]."""
        return copying_score(weights, generator)

    def reading(self, role: str, head: Head) -> tuple[Measurement, ...]:
        """For heads that read what followed: the OV circuit's sign, and a QK circuit that matches through feeders."""
        copying = () if role == "prefix-matching" else self.copies(head, rises=role == "induction")
        return (*copying, self._matching(head))

    def copies(self, head: Head, rises: bool) -> tuple[Measurement, ...]:
        """That the OV circuit raises (or lowers) the token attended to."""
        return (self._copying(rises, head), *self._also(head))

    def place(self, role: str, head: Head) -> tuple[Measurement, ...]:
        """For heads that look at a place: that positions alone (or for duplicates, tokens alone) send them there."""
        if role == "duplicate-token":
            return (self._token_match(head),)
        if not self.weights.has_positions:
            return ()
        value, even = float(self.implied.places[role][head]), self.implied.even[role]
        margin = self.criteria.positional_margin
        return (
            Measurement(
                "the same attention, implied by positions alone",
                value,
                f"at least {margin:g} above even attention{THROUGH_EARLIER if head.layer else ''}",
                value - even >= margin or (None if head.layer else False),
                "share of attention",
                nulls={"even attention": even},
                threshold=even + margin,
            ),
        )

    def matched(self, head: Head) -> dict[Way, bool]:
        """By which mechanisms of induction its weights alone could match equal tokens."""
        edges = self.edges.get(head, ())
        found: dict[Way, bool] = {c: any(e.stands_out for e in edges if e.channel == c) for c in CHANNELS}
        return found | {"smeared": self._smeared_match(head)[0] >= self.criteria.token_match}

    def to_dict(self) -> dict[str, Any]:
        return {
            "copying": self.copying.to_dict(),
            "implied by positions": {
                role: {"mass": mass.tolist(), "even attention": self.implied.even[role]}
                for role, mass in self.implied.places.items()
            },
            "token match": {"share": self.implied.match.tolist(), "chance": self.implied.chance},
            "edges": {
                str(later): [
                    {
                        "earlier": str(edge.earlier),
                        "channel": edge.channel,
                        "reading": READINGS[edge.channel],
                        "value": edge.value,
                        "threshold": edge.threshold,
                        "null": edge.scored.null,
                    }
                    for edge in edges
                ]
                for later, edges in self.edges.items()
            },
        }

    def _copying(self, rises: bool, head: Head) -> Measurement:
        scored, q = self.copying.eigenvalue, self.criteria.null_quantile
        value, low, high = (
            float(t[head]) for t in (scored.value, scored.null_quantile(1 - q), scored.null_quantile(q))
        )
        return Measurement(
            "copying score of the full OV circuit, sum(λ)/sum(|λ|)",
            value,
            f"{'above' if rises else 'below'} 0 and the {q if rises else 1 - q:.0%} quantile of its null",
            value > max(high, 0.0) if rises else value < min(low, 0.0),
            "from -1 to 1",
            nulls={f"{1 - q:.0%} quantile, {scored.null}": low, f"{q:.0%} quantile": high},
            threshold=max(high, 0.0) if rises else min(low, 0.0),
        )

    def _also(self, head: Head) -> tuple[Measurement, ...]:
        top1 = self.copying.top1
        return (
            Measurement(
                "share of tokens that the OV circuit raises most when attending to them",
                float(top1.value[head]),
                "for information: positive eigenvalues alone do not prove copying",
                None,
                "share of the vocabulary",
                nulls={"chance": self.copying.chance},
                informs=True,
            ),
        )

    def _matching(self, head: Head) -> Measurement:
        if head not in self.edges:
            value, chance = self._smeared_match(head)
            return Measurement(
                "share of tokens whose own smeared key matches best (no earlier head to compose with)",
                value,
                f"at least {self.criteria.token_match:g}, by smeared keys; without them a first layer cannot do it",
                value >= self.criteria.token_match,
                "share of the vocabulary",
                nulls={"chance": chance},
                threshold=self.criteria.token_match,
            )
        best, n = self.edges[head][0], len(self.edges[head])
        return Measurement(
            f"match in the QK circuit through {best}: {READINGS[best.channel]}",
            best.value,
            f"above 0 and the {self.criteria.null_quantile:.0%} quantile of its null, corrected for {n} edges",
            best.stands_out,
            nulls={best.scored.null: best.threshold},
            threshold=best.threshold,
        )

    def _smeared_match(self, head: Head) -> tuple[float, float]:
        smeared = self.weights.smear is not None and float(self.weights.smear[head]) < 0.5
        return (float(self.implied.match[head]) if smeared else 0.0), self.implied.chance

    def _token_match(self, head: Head) -> Measurement:
        value, threshold = float(self.implied.match[head]), self.criteria.token_match
        return Measurement(
            "share of tokens that match themselves best in the QK circuit, by tokens alone",
            value,
            f"at least {threshold:g}",
            value >= threshold,
            "share of the vocabulary",
            nulls={"chance": self.implied.chance},
            threshold=threshold,
        )


def implied(weights: TransformerWeights, bos: int | None) -> Implied:
    """Mass that positions alone put on the token before, the own and the first position, averaged over dests >= 1."""
    masses: dict[str, list[float]] = {"previous-token": [], "current-token": [], "first-token": []}
    matches = []
    for layer in range(weights.n_layers):
        for index in range(weights.n_heads):
            pattern = positional_pattern(weights, (layer, index), bos)
            for role, mass in _place_masses(pattern).items():
                masses[role].append(mass)
            matches.append(token_match(weights, (layer, index), exclude=bos))
    even = 1 / torch.arange(1, weights.n_ctx + 1)
    shape = (weights.n_layers, weights.n_heads)
    return Implied(
        places={role: torch.tensor(values).view(shape) for role, values in masses.items()},
        even=_place_masses(even[:, None].expand(-1, weights.n_ctx).tril()),
        match=torch.tensor(matches).view(shape),
        chance=1 / (weights.d_vocab - (bos is not None)),
    )


def _place_masses(pattern: Float[Tensor, "dest src"]) -> dict[str, float]:
    return {
        "previous-token": float(pattern.diagonal(-1).mean()),
        "current-token": float(pattern.diagonal()[1:].mean()),
        "first-token": float(pattern[1:, 0].mean()),
    }
