"""The options of `interp search`; no torch import."""

from dataclasses import dataclass
from typing import Literal

from analyses.arguments.common import OnModel, Real, Whole
from toy_models.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Search(OnModel):
    """Which edges between heads carry induction: scores, a circuit, and a check with all other edges ablated."""

    method: Literal["eap-ig", "eap", "exact", "greedy", "random", "weights"] = "eap-ig"
    """How edges are scored: eap-ig and eap by gradients, exact and greedy by a run for each edge; random and weights
    are baselines."""
    ablation: Literal["resample", "mean", "zero"] = "resample"
    """What an ablated edge carries: what it does on other tokens at the same positions, its mean, or nothing."""
    metric: Literal["loss", "logit-difference", "kl"] = "loss"
    """What is measured of predictable tokens: loss, logit less the mean of all others, or KL from the whole model."""
    edges: Whole = None
    """Circuit of so many best edges."""
    threshold: Real = None
    """Circuit of all edges that score so much; for greedy, the rise of the cost from which an edge stays."""
    faithfulness: Real = None
    """Smallest circuit of best edges that reaches this share of what all edges carry; 0.9 if nothing is asked for."""
    steps: int = 10
    """Points between ablated and intact embeddings, for eap-ig."""

    def __post_init__(self) -> None:
        super().__post_init__()
        asked = {name: getattr(self, name) for name in ("edges", "threshold", "faithfulness")}
        given = [f"--{name}" for name, value in asked.items() if value is not None]
        if len(given) > 1:
            raise InputError(f"{' and '.join(given)} exclude each other: give one of them")
        for name, value, lowest in (("edges", self.edges, 1), ("steps", self.steps, 1)):
            if value is not None and value < lowest:
                raise InputError(f"--{name} must be at least {lowest}, got {value}")
        for name in ("threshold", "faithfulness"):
            value = asked[name]
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"--{name} must be a number above 0, got {value}")
