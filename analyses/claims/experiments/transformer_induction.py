"""What training small transformers on repeated tokens says: two layers for induction, the lens, places, low rank."""

import math

from analyses.claims.claim import Arm, Claim, Comparison, Picture
from analyses.claims.experiments.transformer_stream import FRAMEWORK
from analyses.claims.experiments.transformer_training import train_transformer

TWO_LAYERS = Arm(train_transformer)
ONE_LAYER = Arm(train_transformer, {"n_layers": 1})
SMEARED = Arm(train_transformer, {"n_layers": 1, "smeared_keys": True})
NO_POSITIONS = Arm(train_transformer, {"positions": "none"})
WITH_MLPS = Arm(train_transformer, {"d_mlp": 64})
UNTRAINED = Arm(train_transformer, {"d_mlp": 64, "trained": False})

NATS = 0.3
"""A tenth of ln 24, what the uniform guess costs."""


def lens_comparisons() -> tuple[Comparison, ...]:
    """Before the last layer and before the last MLP, against an untrained model and against the layers swapped."""
    found = []
    for where in ("the last layer", "the last MLP"):
        said, agreed = f"nats before {where}", f"agreement before {where}"
        found += [
            Comparison(
                f"before {where}, against an untrained model", "nats of the right token above chance", said,
                "trained", "untrained", "greater", NATS,
            ),
            Comparison(
                f"before {where}, against layers shuffled", "nats of the right token above chance", said, "trained",
                "trained", "greater", NATS, control_value=f"{said}, layers shuffled",
            ),
            Comparison(
                f"agreement with the end before {where}, against an untrained model",
                "1 - KL(end || lens) / KL(end || uniform)", agreed, "trained", "untrained", "greater", 0.25,
            ),
        ]  # fmt: skip
    return tuple(found)


CLAIMS = (
    Claim(
        name="transformer-logit-lens",
        numbers=(76,),
        statement="The residual stream remembers: predictions can be read straight from it, also before MLP layers.",
        source="nostalgebraist 2020, interpreting GPT: the logit lens",
        arms={"trained": WITH_MLPS, "untrained": UNTRAINED},
        comparisons=lens_comparisons(),
        why="An untrained model's stream agrees with its own end too, for its layers add little; only the right "
        "token, and the same layers in another order, tell reading from that.",
        picture=Picture("KL by depth", "KL(end || lens), nats", x="depth", x_label="point of the residual stream"),
    ),
    Claim(
        name="transformer-positions-give-locality",
        numbers=(83,),
        statement="Attention starts alike at every distance; positions let it become local.",
        source="Vaswani et al. 2017, Attention Is All You Need",
        arms={"positions": TWO_LAYERS, "no positions": NO_POSITIONS},
        comparisons=(
            Comparison(
                "before training", "attention to the 3 tokens before, less that of even attention",
                "near before training", "positions", "positions", "equivalent", 0.05, control_value="near, even",
            ),
            Comparison(
                "trained", "attention to the 3 tokens before", "near", "positions", "no positions", "greater", 0.1,
            ),
            Comparison(
                "change by training", "attention to the 3 tokens before, after less before", "near", "positions",
                "positions", "greater", 0.1, control_value="near before training",
            ),
        ),
        why="The same model, data and training without positions; and the model before training.",
        picture=Picture("by distance", "attention, first layer", x="distance", x_label="positions back"),
    ),
    Claim(
        name="transformer-products-are-low-rank",
        numbers=(84,),
        statement="The products W_Q W_K^T and W_V W_O are inefficient to multiply out, and very sparse.",
        source=FRAMEWORK,
        arms={"trained": TWO_LAYERS},
        comparisons=(
            Comparison(
                "singular values past d_head vanish", "singular value d_head + 1, as a share of the first",
                "beyond d_head", "trained", "trained", "exact", 1e-6, control_value="beyond d_head, full rank",
            ),
            Comparison(
                "inefficient", "log ratio of multiplications, multiplied out against factored", "multiplied out",
                "trained", "trained", "greater", math.log(2), control_value="factored", scale="log ratio",
            ),
            Comparison(
                "very sparse", "share of entries that are about 0", "about 0", "trained", "trained", "greater", 0.5,
                control_value="about 0, full rank",
            ),
        ),
        why="Gaussian matrices of the same size and full rank.",
        slip="The score matrix W_Q W_K^T is d_model x d_model of rank d_head at most: low-rank, not sparse. (Q^T K, "
        "d_head x d_head, is not it.)",
    ),
    Claim(
        name="transformer-induction-needs-two-layers",
        numbers=(86,),
        statement="Induction heads need two layers: the key has to know the token before.",
        source=FRAMEWORK + "; Olsson et al. 2022, In-context Learning and Induction Heads",
        arms={"two layers": TWO_LAYERS, "one layer": ONE_LAYER, "one layer, smeared keys": SMEARED},
        comparisons=(
            Comparison(
                "two layers against one", "share of the gap between chance and optimum that is closed", "gap closed",
                "two layers", "one layer", "greater", 0.2,
            ),
            Comparison(
                "one layer does no better than counting", "loss, less that of the best reader without order", "loss",
                "one layer", "one layer", "greater", 0.0, control_value="order-free loss",
            ),
            Comparison(
                "unless its keys are smeared", "share of the gap between chance and optimum that is closed",
                "gap closed", "one layer, smeared keys", "one layer", "greater", 0.2,
            ),
        ),
        why="One layer, trained alike; and one layer whose keys know the token before by construction, which shows "
        "that it is that and not the number of layers.",
        picture=Picture("gap closed", "share of the gap closed"),
        slip="The notes' wiring is not induction: the second layer must match the query's token with the *remembered "
        "previous* token and return the word that stands there. Read literally it predicts the previous or the present "
        "token; both readings are handmade models (literal_previous, literal_current).",
    ),
)  # fmt: skip
