"""What each edge is worth: exactly, by attribution, and the baselines that a method must beat.

All have one signature, `(problem, generator) -> EdgeScores`, so that they can take each other's place.
"""

from collections.abc import Callable

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from interp.edges.graph import LOGITS, POSITION, TOKEN
from interp.edges.graph_run import Nudge, Outputs
from interp.edges.problem import METRICS, EdgeProblem
from interp.edges.scores import EdgeScores, scores_from
from interp.errors import InputError
from interp.names import Head
from interp.weights import TransformerWeights
from interp.weights.folding import fold

IG_STEPS = 10


@torch.no_grad()
def exact(problem: EdgeProblem, generator: torch.Generator | None = None) -> EdgeScores:
    """cost(all edges but e) - cost(all edges), by one run for each edge e.

    What attribution approximates. Edges that stand in for each other each cost little alone.
    """
    intact, masks, found = problem.intact_costs(), problem.ones(), []
    for edge in range(len(masks)):
        masks[edge] = 0
        found.append(problem.costs(masks) - intact)
        masks[edge] = 1
    said = "cost without the edge, minus intact (exact)"
    return scores_from(
        problem, "exact", torch.stack(found, dim=1), said, runs=1 + len(found), unit=METRICS[problem.metric]
    )


def eap(problem: EdgeProblem, generator: torch.Generator | None = None) -> EdgeScores:
    """Edge attribution patching: (other_s - out_s) · d cost / d input_r, the gradient taken in the intact model.

    Syed et al. 2023 (arXiv:2310.10348): minus the derivative of the cost by the edge's mask at 1. Blind where the
    gradient vanishes, as in saturated attention. Raises `InputError` for the KL from the intact model, which is flat
    there whatever the edges do.
    """
    if problem.metric == "kl":
        raise InputError("the KL is flat at the intact model, so EAP would find nothing: take eap-ig, exact or greedy")
    gradient = _gradient(problem, problem.start)
    said = "first order in the edge's mask, at the intact model (EAP)"
    return scores_from(problem, "eap", -gradient, said, runs=2, unit=METRICS[problem.metric])


def eap_ig(problem: EdgeProblem, generator: torch.Generator | None = None, steps: int = IG_STEPS) -> EdgeScores:
    """EAP with integrated gradients over inputs (Hanna et al. 2024, arXiv:2403.17806).

        (other_s - out_s) · mean over k of d cost / d input_r  at the embeddings  other + a_k (out - other),

    a_k = (k - 1/2) / steps, k = 1..steps; out_s and other_s stay those of the intact and the ablated run. (The paper
    takes a_k = k / steps; midpoints make the sum below exact to second order.) All edges from the embeddings together
    sum to cost(embeddings ablated) - cost(intact), up to the error of the integral.
    Raises `InputError` for fewer than one step.
    """
    if steps < 1:
        raise InputError(f"integrated gradients need at least 1 step, got {steps}")
    n = problem.graph.n_embeddings
    low = problem.others.first(n)
    total = torch.zeros(())
    for step in range(steps):
        share = (step + 0.5) / steps
        start = low.combine(problem.start, lambda a, b, share=share: a + share * (b - a))  # type: ignore[misc]
        total = total.to(problem.weights.device) + _gradient(problem, start)
    said = f"first order in the edge's input, mean of {steps} points between ablated and intact embeddings (EAP-IG)"
    return scores_from(problem, "eap-ig", -total / steps, said, runs=2 * steps, unit=METRICS[problem.metric])


def random_scores(problem: EdgeProblem, generator: torch.Generator) -> EdgeScores:
    """A number drawn from 0..1 for each edge: what ranking edges by chance gives."""
    values = torch.rand(len(problem.graph.edges), generator=generator, dtype=torch.float64)
    return scores_from(problem, "random", values, "drawn at random", runs=0, unit="no unit, ranks only")


def weight_norm(problem: EdgeProblem, generator: torch.Generator | None = None) -> EdgeScores:
    """||A B|| / (||A|| ||B||) (Frobenius), A what the sender writes with and B what the receiver reads with.

    A: W_E, W_pos, W_V W_O, W_out; B: W_Q W_K^T for Q, W_K W_Q^T for K, W_V W_O for V, W_in (a gated MLP's W_gate
    beside it), W_U: the composition scores of Elhage et al. 2021, for every edge. Says nothing of tokens; without
    rotations. 0 where a matrix is 0.
    """
    w, graph = fold(problem.weights), problem.graph
    writes = {sender: gram(write_matrix(w, sender)) for sender in graph.senders if sender != POSITION}
    reads = {receiver: gram(read_matrix(w, receiver).T) for receiver in graph.receivers}
    if w.W_pos is not None:
        writes[POSITION] = gram(w.W_pos)
    by_layer = {} if w.W_pos_attn is None else {layer: gram(w.W_pos_attn[layer]) for layer in range(w.n_layers)}
    values = []
    for edge in graph.edges:
        shared = writes.get(edge.sender)
        A = by_layer[Head.parse(edge.node).layer] if shared is None else shared
        B = reads[edge.receiver]
        size = (A.trace() * B.trace()).sqrt()
        values.append(((A * B).sum().clamp_min(0).sqrt() / size).nan_to_num(0.0))
    said = "norm of the product of the sender's and the receiver's weights, over the product of their norms"
    return scores_from(problem, "weights", torch.stack(values), said, runs=0, unit="no unit, ranks only")


def _gradient(problem: EdgeProblem, start: Outputs) -> Float[Tensor, "batch edge"]:
    """(out_s - other_s) · d cost / d input_r of every sequence, the derivative at the embeddings `start`."""
    with torch.enable_grad():
        size = problem.ones().new_zeros(len(problem.tokens), len(problem.graph.edges), requires_grad=True)
        cost = problem.costs(start=start, nudge=Nudge(size, problem.changes)).sum()
        (gradient,) = torch.autograd.grad(cost, size)
    return gradient


def gram(A: Float[Tensor, "n d_model"]) -> Float[Tensor, "d_model d_model"]:
    """A^T A in float64: ||A B||² = sum(A^T A * B B^T), ||A||² its trace."""
    return einsum(A.double(), A.double(), "n i, n j -> i j")


def write_matrix(w: TransformerWeights, sender: str) -> Float[Tensor, "n d_model"]:
    if sender == TOKEN:
        return w.W_E
    if sender.endswith(" MLP"):
        assert w.W_out is not None
        return w.W_out[int(sender[1:-4])]
    head = Head.parse(sender)
    return w.W_V[head] @ w.W_O[head]


def read_matrix(w: TransformerWeights, receiver: str) -> Float[Tensor, "d_model n"]:
    if receiver == LOGITS:
        return w.W_U
    if receiver.endswith(" MLP"):
        assert w.W_in is not None
        layer = int(receiver[1:-4])
        return w.W_in[layer] if w.W_gate is None else torch.cat([w.W_gate[layer], w.W_in[layer]], dim=1)
    name, _, channel = receiver.partition(".")
    head = Head.parse(name)
    pairs: dict[str, Callable[[], Tensor]] = {
        "Q": lambda: w.W_Q[head] @ w.W_K[head].T,
        "K": lambda: w.W_K[head] @ w.W_Q[head].T,
        "V": lambda: w.W_V[head] @ w.W_O[head],
    }
    return pairs[channel]()
