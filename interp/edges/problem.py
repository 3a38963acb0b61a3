"""The question that every method of finding edges answers: which edges carry what a model does on these tokens?

A problem holds the tokens, what is measured (a cost: higher is worse), and what stands in for an edge that is shut.
The last is part of every result: faithfulness depends strongly on it (Miller et al. 2024, arXiv:2407.08734).
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.ablation.losses import masked_means, scored_masks
from interp.causality import require_causal
from interp.edges.graph import Graph, graph_of
from interp.edges.graph_run import Nudge, Outputs, embeddings, run_graph
from interp.errors import InputError
from interp.finite import require_finite
from interp.inputs import checked
from interp.patching.metrics import kl_divergences, scored_losses
from interp.weights import TransformerWeights

Ablation = Literal["resample", "mean", "zero"]
Metric = Literal["loss", "logit difference", "kl"]
METRICS: dict[Metric, str] = {
    "loss": "nats per token",
    "logit difference": "logits",
    "kl": "nats per token",
}
"""What is measured of the scored tokens, and in which unit; as a cost, the logit difference counts negatively."""


@dataclass(frozen=True, eq=False)
class EdgeProblem:
    """A model, tokens, a cost of its logits, and what shut edges carry; made by `edge_problem`."""

    weights: TransformerWeights
    graph: Graph
    tokens: Int[Tensor, "batch pos"]
    scored: Bool[Tensor, "batch pos"]
    """The token at i counts, predicted from the positions before it."""
    metric: Metric
    ablation: Ablation
    others: Outputs
    """What stands in for each sender."""
    start: Outputs
    """The embeddings of `tokens`."""
    written: Outputs
    """What each sender writes in the intact model."""
    logits: Float[Tensor, "batch pos d_vocab"]
    """Of the intact model."""
    text: str

    @property
    def changes(self) -> Outputs:
        """What each sender writes, less what stands in for it."""
        return self.written.minus(self.others)

    def ones(self) -> Float[Tensor, " edge"]:
        """The masks of the intact model."""
        return torch.ones(len(self.graph.edges), dtype=self.weights.dtype, device=self.weights.device)

    def costs(
        self, masks: Float[Tensor, " edge"] | None = None, start: Outputs | None = None, nudge: Nudge | None = None
    ) -> Float[Tensor, " batch"]:
        """The cost of each sequence: its mean over the scored tokens, float64, differentiable."""
        logits, _ = run_graph(self.weights, self.graph, start or self.start, masks, self.others, nudge)
        return cost_of(self.metric, logits, self.tokens, self.scored, self.logits)

    @torch.no_grad()
    def circuit_costs(self, keep: Bool[Tensor, " edge"]) -> Float[Tensor, " batch"]:
        """The cost of each sequence with only these edges open."""
        return self.costs(keep.to(self.ones()))

    def intact_costs(self) -> Float[Tensor, " batch"]:
        return cost_of(self.metric, self.logits, self.tokens, self.scored, self.logits)

    def empty_costs(self) -> Float[Tensor, " batch"]:
        """With every edge shut."""
        return self.circuit_costs(torch.zeros(len(self.graph.edges), dtype=torch.bool))

    def to_dict(self) -> dict[str, Any]:
        return {"ablation": self.ablation, "metric": self.metric, "unit": METRICS[self.metric], "protocol": self.text}


@checked
@torch.no_grad()
def edge_problem(
    weights: TransformerWeights,
    tokens: Int[Tensor, "batch pos"],
    scored: Bool[Tensor, "batch pos"],
    *,
    metric: Metric = "loss",
    ablation: Ablation = "resample",
    corrupted: Int[Tensor, "corrupted_batch corrupted_pos"] | None = None,
    reference: Int[Tensor, "reference_batch reference_pos"] | None = None,
) -> EdgeProblem:
    """Everything that is needed to ask what edges are worth.

    weights: `weights_of(model, fold=False)`, so that a patched input is normalised as the model would.
    metric: "loss" (-ln p of the scored tokens), "logit difference" (their logit less the mean logit of all other
        tokens), or "kl" (of the predictions from those of the intact model, Conmy et al. 2023).
    ablation: what a shut edge carries. "resample": what the sender writes on `corrupted`, at the same position of the
        same row; "mean": what it writes on average over sequences and positions of `reference` (of `tokens`, without);
        "zero": nothing. Where `corrupted` has the same token or position, a resampled edge carries nothing new: edges
        from positions are then always worth 0.

    Raises `InputError` for masks that score nothing in some sequence or the first position, resampling without
    corrupted tokens, tokens that cannot be run, or an unknown metric or ablation.
    """
    _check(tokens, scored, metric, ablation, corrupted, reference)
    if metric != "kl":
        require_causal(weights, "a metric of the next token")
    graph = graph_of(weights)
    tokens, scored = tokens.to(weights.device), scored.to(weights.device)
    start = embeddings(weights, graph, tokens)
    logits, written = run_graph(weights, graph, start)
    require_finite("the logits", logits)
    others, said = _stand_in(weights, graph, written, ablation, corrupted, reference)
    text = f"{len(tokens)} sequences, {int(scored.sum())} scored tokens; {said}"
    return EdgeProblem(weights, graph, tokens, scored, metric, ablation, others, start, written, logits, text)


def _stand_in(
    w: TransformerWeights,
    graph: Graph,
    written: Outputs,
    ablation: Ablation,
    corrupted: Tensor | None,
    reference: Tensor | None,
) -> tuple[Outputs, str]:
    """What shut edges carry, and that in words."""
    if ablation == "zero":
        return written.map(lambda x: torch.zeros_like(x[:, :1, :1])), "shut edges carry nothing (zero)"
    if ablation == "resample":
        assert corrupted is not None
        return run_graph(w, graph, embeddings(w, graph, corrupted))[1], "shut edges carry the corrupted run (resample)"
    name = "these tokens" if reference is None else "the reference tokens"
    if reference is not None:
        written = run_graph(w, graph, embeddings(w, graph, reference))[1]
    mean = written.map(lambda x: x.mean((1, 2), keepdim=True))
    return mean, f"shut edges carry their mean over sequences and positions of {name} (mean)"


def _check(
    tokens: Tensor, scored: Tensor, metric: str, ablation: str, corrupted: Tensor | None, reference: Tensor | None
) -> None:
    for what, value, known in (("metric", metric, METRICS), ("ablation", ablation, ("resample", "mean", "zero"))):
        if value not in known:
            raise InputError(f"the {what} must be one of {', '.join(known)}, got {value!r}")
    scored_masks(tokens, scored)
    if not bool(scored.any(1).all()):
        raise InputError("every sequence needs a scored token: leave out those without")
    if ablation == "resample" and corrupted is None:
        raise InputError("resampling needs corrupted tokens, a sequence for each: pass corrupted=, or ablate to a mean")
    if corrupted is not None and corrupted.shape != tokens.shape:
        raise InputError(f"corrupted tokens must be {list(tokens.shape)} like the tokens, got {list(corrupted.shape)}")
    if ablation == "mean" and len(tokens if reference is None else reference) < 2:
        raise InputError("a mean over sequences needs at least two of them")


def cost_of(
    metric: Metric,
    logits: Float[Tensor, "batch pos d_vocab"],
    tokens: Int[Tensor, "batch pos"],
    scored: Bool[Tensor, "batch pos"],
    intact: Float[Tensor, "batch pos d_vocab"],
) -> Float[Tensor, " batch"]:
    """Mean over each sequence's scored tokens; higher is worse."""
    if metric == "loss":
        return scored_losses(logits, tokens, scored)
    if metric == "kl":
        return kl_divergences(logits, intact.double().log_softmax(-1), scored.roll(-1, dims=1))
    return -masked_means(logit_leads(logits, tokens)[None], scored[None])[0, 0]


def logit_leads(
    logits: Float[Tensor, "batch pos d_vocab"], tokens: Int[Tensor, "batch pos"]
) -> Float[Tensor, "batch pos"]:
    """Logit of each token less the mean logit of all others, from the position before; 0 at position 0."""
    before, n = logits[:, :-1].double(), logits.shape[-1]
    right = before.gather(-1, tokens[:, 1:, None])[..., 0]
    return torch.nn.functional.pad(right - (before.sum(-1) - right) / (n - 1), (1, 0))
