"""Who can reach whom: keys and queries decide where, values what; nothing comes from later; order needs positions."""

import torch

from analyses.claims.claim import Arm, Claim, Row
from analyses.claims.experiments.identities import exact
from analyses.claims.experiments.transformer_models import random_tokens, random_transformer
from analyses.claims.experiments.transformer_stream import FRAMEWORK, ROUNDING
from interp.hooks import intervene, record

VASWANI = "Vaswani et al. 2017, Attention Is All You Need"


def where_and_what(seed: int, device: str, budget: float) -> Row:
    """What the last position receives from the others when its own token is another, patterns held and not."""
    model = random_transformer(seed, device, normalization="LN", n_layers=1)
    tokens = random_tokens(seed, device, model)
    other = tokens.clone()
    other[:, -1] = (other[:, -1] + 1) % model.config.d_vocab
    v, pattern = "blocks.0.attn.hook_v", "blocks.0.attn.hook_pattern"
    before = record(model, tokens, names=[v, pattern])
    free = record(model, other, names=[v, pattern])
    with intervene(model, {pattern: before[pattern]}):
        held = record(model, other, names=[v, pattern])

    def received(run: object) -> torch.Tensor:
        return torch.einsum("bhs,bshd->bhsd", run[pattern][:, :, -1, :-1], run[v][:, :-1])  # type: ignore[index]

    def change(run: object) -> float:
        return float((received(run) - received(before)).abs().max())

    own = float((held[v][:, -1] - before[v][:, -1]).abs().max())
    return {"patterns held": change(held), "patterns free": change(free), "its own value": own}


def no_looking_ahead(seed: int, device: str, budget: float) -> Row:
    """Largest change of an output at or before a position when all tokens behind it are others."""
    row: Row = {}
    for direction in ("causal", "bidirectional"):
        model = random_transformer(seed, device, normalization="LN", d_mlp=9, attention_dir=direction)
        tokens = random_tokens(seed, device, model)
        changes = []
        for place in range(tokens.shape[1] - 1):
            other = tokens.clone()
            other[:, place + 1 :] = (other[:, place + 1 :] + 1) % model.config.d_vocab
            with torch.no_grad():
                changes.append(float((model(other) - model(tokens))[:, : place + 1].abs().max()))
        row[direction] = max(changes)
    return row


def order_needs_positions(seed: int, device: str, budget: float) -> Row:
    """Change of the last position's logits when the tokens before it are put in another order, by kind of positions."""
    row: Row = {}
    for positions in ("none", "standard", "rotary"):
        model = random_transformer(seed, device, n_layers=1, d_head=6, positions=positions, normalization="LN")
        tokens = random_tokens(seed, device, model)
        order = torch.randperm(tokens.shape[1] - 1, generator=torch.Generator().manual_seed(seed)).to(device)
        moved = torch.cat([tokens[:, :-1][:, order], tokens[:, -1:]], dim=1)
        with torch.no_grad():
            row[positions] = float((model(moved) - model(tokens))[:, -1].abs().max())
    two = random_transformer(seed, device, n_layers=2, positions="none", normalization="LN")
    with torch.no_grad():
        row["two layers"] = float((two(moved) - two(tokens))[:, -1].abs().max())
    return row


CLAIMS = (
    Claim(
        name="transformer-keys-and-queries-say-where-values-what",
        numbers=(78,),
        statement="Keys and queries decide where a head looks; what it moves is a function of the source only.",
        source=FRAMEWORK,
        arms={"random": Arm(where_and_what)},
        comparisons=(
            exact("patterns held", "change of what comes from other positions", "random", "patterns held", ROUNDING,
                  wrong="patterns free"),
        ),
        why="The destination's token is replaced. With patterns free it changes how much comes from where.",
        slip="The notes swap the two once: the key belongs to the source, the query to the destination, since it is "
        "the destination that asks.",
        trained=False,
    ),
    Claim(
        name="transformer-does-not-look-ahead",
        numbers=(79,),
        statement="An autoregressive transformer does not look ahead.",
        source=VASWANI,
        arms={"random": Arm(no_looking_ahead)},
        comparisons=(
            exact("causal attention", "largest change of an output by the tokens behind it", "random", "causal", 1e-6,
                  wrong="bidirectional"),
        ),
        why="The same weights with attention to the whole sequence.",
        trained=False,
    ),
    Claim(
        name="transformer-order-needs-positions",
        numbers=(83,),
        statement="Attention by itself is blind to order; positions have to say it.",
        source=VASWANI,
        arms={"random": Arm(order_needs_positions)},
        comparisons=(
            exact("standard positions", "change of the last logits by reordering what is before", "random", "none",
                  ROUNDING, wrong="standard"),
            exact("rotary positions", "change of the last logits by reordering what is before", "random", "none",
                  ROUNDING, wrong="rotary"),
            exact("one layer only", "change of the last logits by reordering what is before", "random", "none",
                  ROUNDING, wrong="two layers"),
        ),
        why="One layer without positions gives the same for any order of the tokens before. With positions it does "
        "not, and neither do two causal layers without: how many tokens a position sees tells where it stands.",
        trained=False,
    ),
)  # fmt: skip
