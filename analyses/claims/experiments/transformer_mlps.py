"""MLPs of a transformer: they move nothing between positions, and what they hold of facts that were learnt by heart
lies in few neurons each (Geva et al. 2021, Transformer Feed-Forward Layers Are Key-Value Memories)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from analyses.claims.claim import Arm, Claim, Comparison, Row
from analyses.claims.experiments.identities import exact
from analyses.claims.experiments.transformer_models import random_tokens, random_transformer
from analyses.claims.experiments.transformer_stream import FRAMEWORK, ROUNDING
from interp.hooks import intervene, record
from toy_models.config import TransformerConfig
from toy_models.training.seeds import generator_for
from toy_models.transformer import Transformer

SUBJECTS, RELATIONS, OBJECTS = 8, 8, 16
STEPS, RATE = 600, 0.005
NEURONS = 64
REMOVED = 6
"""Neurons that are silenced for a fact: about a tenth of them."""
POST, OUT = "blocks.0.mlp.hook_post", "blocks.0.hook_mlp_out"


def nothing_moves(seed: int, device: str, budget: float) -> Row:
    """Change elsewhere when one position's input of the MLP, or of attention, is another; and the MLP as a sum."""
    model = random_transformer(seed, device, n_layers=1, d_mlp=9)
    tokens = random_tokens(seed, device, model)
    points = {"MLP": ("blocks.0.hook_resid_mid", OUT), "attention": ("hook_embed", "blocks.0.hook_attn_out")}
    row: Row = {}
    for name, (read, written) in points.items():
        before = record(model, tokens, names=[read, written])
        other = before[read].clone()
        other[:, 3] += 1
        with intervene(model, {read: other}):
            change = (record(model, tokens, names=written)[written] - before[written]).abs()
        row[name] = float(change[:, torch.arange(tokens.shape[1]) != 3].detach().max())
    run = record(model, tokens, names=[POST, OUT])
    mlp = model.blocks[0].mlp
    summed = sum(run[POST][..., n, None] * mlp.W_out[n] for n in range(9))
    row["as a sum"] = float((summed + mlp.b_out - run[OUT]).detach().abs().max())
    row["as a sum, without bias"] = float((summed - run[OUT]).detach().abs().max())
    return row


@dataclass(frozen=True, eq=False)
class Facts:
    """Every subject with every relation, and an object drawn for each: no sum of a subject's and a relation's logits
    gives them all, so the MLP has to tell pairs apart."""

    tokens: Int[Tensor, "fact two"]
    objects: Int[Tensor, " fact"]


def draw_facts(seed: int, device: str) -> Facts:
    pairs = torch.cartesian_prod(torch.arange(SUBJECTS), SUBJECTS + torch.arange(RELATIONS))
    drawn = torch.randint(OBJECTS, (len(pairs),), generator=generator_for(seed, "facts"))
    return Facts(pairs.to(device), (SUBJECTS + RELATIONS + drawn).to(device))


def learn_facts(seed: int, device: str, budget: float, *, trained: bool = True) -> Row:
    """Share of facts lost when each one's own neurons are silenced, when others of like size are, and of other facts;
    mean |cos| of what a neuron reads and what it writes."""
    facts = draw_facts(seed, device)
    config = TransformerConfig(
        n_layers=1, n_heads=4, d_model=32, d_head=8, d_vocab=SUBJECTS + RELATIONS + OBJECTS, n_ctx=2, d_mlp=NEURONS,
        activation="relu",
    )  # fmt: skip
    model = Transformer(config, generator_for(seed, "weights")).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    for _ in range(max(1, round(STEPS * budget)) if trained else 0):
        loss = F.cross_entropy(model(facts.tokens)[:, 1], facts.objects)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        mlp = model.blocks[0].mlp
        cosines = F.cosine_similarity(mlp.W_in.T, mlp.W_out, dim=1)
        return silenced(model.eval(), facts) | {"|cos|": float(cosines.abs().mean())}


def silenced(model: Transformer, facts: Facts) -> Row:
    """Of the facts that the model knows: how many are lost without their neurons, and how many others."""
    run = record(model, facts.tokens, names=POST)
    known = run.output[:, 1].argmax(-1) == facts.objects
    active = run[POST][:, 1]
    own, like = chosen_neurons(model, active, facts.objects)
    lost = known & ~right_without(model, facts, own)
    n = len(facts.objects)
    crossed = Facts(facts.tokens.repeat(n, 1), facts.objects.repeat(n))
    others = known & ~right_without(model, crossed, own.repeat_interleave(n, 0)).view(n, n)
    apart = ~torch.eye(n, dtype=torch.bool, device=known.device)
    written = active * model.blocks[0].mlp.W_out.norm(dim=1)
    know = known.double().sum().clamp_min(1)
    return {
        "known": float(known.double().mean()),
        "lost": float(lost.double().sum() / know),
        "lost, others of like size": float((known & ~right_without(model, facts, like)).double().sum() / know),
        "other facts lost": float((others & apart).double().sum() / (know * (n - 1))),
        "size of others": float((written * like).sum() / (written * own).sum().clamp_min(1e-9)),
    }


def chosen_neurons(
    model: Transformer, active: Float[Tensor, "fact unit"], objects: Int[Tensor, " fact"]
) -> tuple[Bool[Tensor, "fact unit"], Bool[Tensor, "fact unit"]]:
    """For each fact the neurons that raise its object's logit most, above the mean over the vocabulary; and as many
    others, each the nearest left in the length of what it writes."""
    W_out, W_U = model.blocks[0].mlp.W_out, model.W_U
    raised = active * (W_out @ (W_U - W_U.mean(1, keepdim=True)))[:, objects].T
    own = torch.zeros_like(active, dtype=torch.bool).scatter(1, raised.topk(REMOVED).indices, True)
    lengths, like = active * W_out.norm(dim=1), torch.zeros_like(own)
    for fact, mine in enumerate(own):
        left = ~mine
        for length in lengths[fact, mine].sort(descending=True).values:
            nearest = (lengths[fact] - length).abs().masked_fill(~left, torch.inf).argmin()
            like[fact, nearest], left[nearest] = True, False
    return own, like


def right_without(model: Transformer, facts: Facts, neurons: Bool[Tensor, "fact unit"]) -> Bool[Tensor, " fact"]:
    """Whether each fact is still said with its row's neurons silent at the last position."""

    def silence(value: Tensor) -> Tensor:
        value[:, 1] = value[:, 1].masked_fill(neurons, 0.0)
        return value

    with intervene(model, {POST: silence}):
        return model(facts.tokens)[:, 1].argmax(-1) == facts.objects


CLAIMS = (
    Claim(
        name="transformer-mlps-move-nothing",
        numbers=(80,),
        statement="MLPs do not move information between positions; attention does.",
        source=FRAMEWORK,
        arms={"random": Arm(nothing_moves)},
        comparisons=(
            exact("one position's input replaced", "largest change of the output elsewhere", "random", "MLP", ROUNDING,
                  wrong="attention"),
            exact("a sum over neurons", "largest |sum of activation x W_out + b_out - output|", "random", "as a sum",
                  ROUNDING, wrong="as a sum, without bias"),
        ),
        why="The same change in front of attention; and the sum without the bias.",
        trained=False,
    ),
    Claim(
        name="transformer-mlps-are-key-value-memories",
        numbers=(80,),
        statement="MLPs are key-value memories: a memorised fact lies in a few neurons, and goes with them.",
        source="Geva et al. 2021, Transformer Feed-Forward Layers Are Key-Value Memories",
        arms={"trained": Arm(learn_facts), "untrained": Arm(learn_facts, {"trained": False})},
        comparisons=(
            Comparison(
                "a fact goes with its neurons", "facts lost without their own 6 of 64 neurons, less without 6 of like "
                "size", "lost", "trained", "trained", "greater", 0.25, control_value="lost, others of like size",
                resolution=1 / 64,
            ),
            Comparison(
                "other facts stay", "facts lost without their own neurons, less without another fact's", "lost",
                "trained", "trained", "greater", 0.25, control_value="other facts lost", resolution=1 / 64,
            ),
            Comparison(
                "keys and values are unrelated directions", "mean |cos(W_in, W_out)| of a neuron", "|cos|", "trained",
                "untrained", "equivalent", 0.1,
            ),
        ),
        why="Neurons that write as much for the fact, but were not chosen for it; other facts with the same neurons "
        "silent; and the untrained model, whose directions are random.",
    ),
)  # fmt: skip
