"""Circuits of known weights: a shift head, composition by Q, K and V, and a virtual head put into one layer."""

import math

import torch
from torch import Tensor

from analyses.claims.claim import Arm, Claim, Row
from analyses.claims.experiments.identities import exact
from analyses.claims.experiments.transformer_models import random_tokens, random_transformer
from analyses.claims.experiments.transformer_stream import FRAMEWORK
from interp.circuits import Factored
from interp.composition import composition_scores
from interp.heads.matching import copy_entries, offset_entries
from interp.hooks import intervene, record
from interp.paths import freeze, logit_paths, score_paths, virtual_ov, virtual_pattern
from interp.paths.frozen_terms import chain_output
from interp.weights import weights_of
from toy_models.config import TransformerConfig, to_dict
from toy_models.handmade import Handmade, make
from toy_models.transformer import Transformer

BY = 1
TOLERANCE = 1e-6
PATTERN = "blocks.0.attn.hook_pattern"
Z = "blocks.0.attn.hook_z"


@torch.no_grad()
def shift_head(seed: int, device: str, budget: float) -> Row:
    """Errors of a handmade head that looks BY back: of its pattern, and of what it writes."""
    handmade = make("shift_by", by=BY)
    model, tokens = handmade.model.to(device), handmade.example_tokens.to(device)
    run = record(model, tokens, names=[PATTERN, Z, "hook_embed"])
    written = run[Z][:, :, 0] @ model.W_O[0, 0]
    moved = run["hook_embed"] @ model.W_V[0, 0] @ model.W_O[0, 0]

    def errors(by: int) -> tuple[float, float]:
        pattern = offset_entries(tokens, by).double()[:, by:]
        wanted = moved[:, : tokens.shape[1] - by]
        return (
            float((run[PATTERN][:, 0, by:] - pattern).abs().max()),
            float((written[:, by:] - wanted).abs().max()) / float(moved.abs().max()),
        )

    (pattern, output), (other_pattern, other_output) = errors(BY), errors(BY + 1)
    return {"pattern": pattern, "other pattern": other_pattern, "output": output, "other output": other_output}


def compositions(seed: int, device: str, budget: float) -> Row:
    """Scores of the pair of heads that composes, less what construction says; beside models in which none does."""
    size = make("induction_k").model.config
    expected = {"K": 1 / math.sqrt(size.d_vocab), "Q": 1 / math.sqrt(size.n_ctx), "V": 1 / math.sqrt(size.d_vocab)}
    composing = {"K": "induction_k", "Q": "induction_q", "V": "two_back"}
    row: Row = {}
    for kind, name in composing.items():
        row[kind] = abs(score(make(name), kind) - expected[kind])
        row[f"{kind}, unread"] = abs(score(make("unread_previous_token"), kind) - expected[kind])
        row[f"{kind}, random"] = abs(score(make("random_weights", of=name, seed=seed), kind) - expected[kind])
    return row


def expansions(seed: int, device: str, budget: float) -> Row:
    """What is missing from 1 in the composing part of a contrast of scores (Q and K) or of the logit (V), as a share of
    all parts; and the same of the models that compose another way."""
    row: Row = {}
    for kind, name in {"Q": "induction_q", "K": "induction_k"}.items():
        for of in ("induction_q", "induction_k"):
            handmade = make(of)
            contrast = score_paths(handmade.model, handmade.example_tokens, (1, 0)).contrast(
                copy_entries(handmade.example_tokens, 1)
            )
            means = {part: float(values.mean()) for part, values in contrast.by_kind().items()}
            row[kind if of == name else f"{kind}, other way"] = abs(1 - means[kind] / sum(means.values()))  # type: ignore[index]
    handmade = make("two_back")
    targets = handmade.answers.clamp_min(0)
    by_order = logit_paths(handmade.model, handmade.example_tokens, targets).grouped(lambda path: path.order)
    said = handmade.answers >= 0
    total = sum(float(part[said].mean()) for part in by_order.values())
    row["V"] = abs(1 - float(by_order[2][said].mean()) / total)
    return row | {"V, one head": abs(1 - float(by_order[1][said].mean()) / total)}


def score(handmade: Handmade, kind: str) -> float:
    """Of the first head with the second layer's."""
    return float(composition_scores(weights_of(handmade.model), kind)[0, 0, 1, 0])  # type: ignore[arg-type]


@torch.no_grad()
def virtual_head(seed: int, device: str, budget: float) -> Row:
    """A virtual head of a random model put into one layer, as one head: its output against the chain's; its rank."""
    model = random_transformer(seed, device, biases=False)
    tokens, w = random_tokens(seed, device, model), weights_of(model)
    run, chain = freeze(model, tokens), ((0, 1), (1, 2))
    wanted, ov, pattern = chain_output(run, chain), virtual_ov(w, chain), virtual_pattern(run, chain)
    first, second = (Factored(w.W_V[head], w.W_O[head]) for head in chain)

    def error(circuit: Factored, instead: Tensor) -> float:
        one = one_layer(model, circuit)
        with intervene(one, {PATTERN: instead[:, None]}):
            z = record(one, tokens, names=Z)[Z]
        return float((z[:, :, 0] @ one.W_O[0, 0] - wanted).abs().max())

    return {
        "output": error(ov, pattern),
        "output, one head's OV": error(second, pattern),
        "output, one head's pattern": error(ov, run.patterns[1][:, 2]),
        "beyond d_head": beyond(ov.A @ ov.B, w.d_head),
        "two heads beyond d_head": beyond(first.A @ first.B + second.A @ second.B, w.d_head),
    }


def one_layer(model: Transformer, ov: Factored) -> Transformer:
    """One layer of one head with this OV circuit, on the embeddings of the model."""
    config = TransformerConfig(**(to_dict(model.config) | {"n_layers": 1, "n_heads": 1, "d_head": ov.A.shape[-1]}))
    made = Transformer(config, torch.Generator()).to(model.W_E)
    with torch.no_grad():
        made.embed.W_E.copy_(model.W_E)
        made.pos_embed.W_pos.copy_(model.pos_embed.W_pos)
        made.blocks[0].attn.W_V[0] = ov.A
        made.blocks[0].attn.W_O[0] = ov.B
    return made.eval()


def beyond(matrix: Tensor, rank: int) -> float:
    """The singular value behind the first `rank`, as a share of the largest."""
    values = torch.linalg.svdvals(matrix)
    return float(values[rank] / values[0])


CLAIMS = (
    Claim(
        name="transformer-shift-by-one-head",
        numbers=(85,),
        statement="One head can shift a sequence: attend to a fixed offset and copy.",
        source=FRAMEWORK,
        arms={"handmade": Arm(shift_head)},
        comparisons=(
            exact("pattern", "largest error of the attention", "handmade", "pattern", TOLERANCE,
                  wrong="other pattern"),
            exact("output", "largest error of what it writes, as a share of the largest", "handmade", "output",
                  TOLERANCE, wrong="other output"),
        ),
        why="The same compared with a shift by one more.",
        trained=False,
    ),
    Claim(
        name="transformer-heads-compose",
        numbers=(87,),
        statement="Heads of a later layer can read what an earlier one wrote with their queries, keys or values.",
        source=FRAMEWORK,
        arms={"handmade": Arm(compositions), "expanded": Arm(expansions)},
        comparisons=(
            *(
                exact(f"{kind}-composition, {control}", "|score - its value by construction|", "handmade", kind,
                      TOLERANCE, wrong=f"{kind}, {control}")
                for kind in "QKV" for control in ("unread", "random")
            ),
            *(
                exact(f"all of it in the {kind}-term", "|1 - share of the expansion|", "expanded", kind, TOLERANCE,
                      wrong=f"{kind}, {control}")
                for kind, control in (("Q", "other way"), ("K", "other way"), ("V", "one head"))
            ),
        ),
        why="A previous-token head that nobody reads, and random weights with the same norms, do not have the score; "
        "in the expansion, the model that composes the other way has nothing in the term, and one head alone nothing.",
        trained=False,
    ),
    Claim(
        name="transformer-virtual-head-is-one-head",
        numbers=(97,),
        statement="V-composition reproduces what one head could do.",
        source=FRAMEWORK,
        arms={"random": Arm(virtual_head)},
        comparisons=(
            exact("the product of the OV circuits", "largest error of its output", "random", "output", TOLERANCE,
                  wrong="output, one head's OV"),
            exact("the product of the patterns", "largest error of its output", "random", "output", TOLERANCE,
                  wrong="output, one head's pattern"),
            exact("of rank d_head", "singular value d_head + 1, as a share of the first", "random", "beyond d_head",
                  TOLERANCE, wrong="two heads beyond d_head"),
        ),
        why="With the OV circuit or the pattern of one of the two heads the output differs; the circuits of both heads "
        "side by side have a higher rank.",
        trained=False,
    ),
)  # fmt: skip
