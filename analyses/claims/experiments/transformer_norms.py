"""LayerNorm in the transformer: an affine map but for its scale, what runs through the scale, and whether induction
and composition change with it (row 32 has LayerNorm against BatchNorm in other nets)."""

import math

import torch

from analyses.claims.claim import Arm, Claim, Comparison, Picture, Row
from analyses.claims.experiments.identities import exact
from analyses.claims.experiments.transformer_induction import ONE_LAYER, TWO_LAYERS
from analyses.claims.experiments.transformer_models import random_tokens, random_transformer
from analyses.claims.experiments.transformer_stream import FRAMEWORK
from analyses.claims.experiments.transformer_training import train_transformer
from interp.hooks import record
from interp.norms import Read, affine_error, normalised
from interp.weights import weights_of

BA = "Ba, Kiros & Hinton 2016, Layer Normalization"
LN = Arm(train_transformer, {"normalization": "LN"})
RMS = Arm(train_transformer, {"normalization": "RMS"})
ROUNDING = 1e-10
AT = Read(1, "attention")


def layer_norm(seed: int, device: str, budget: float) -> Row:
    """A read of a random model: mean and variance of what it normalises, and how far from affine it is."""
    row: Row = {}
    for kind in ("LN", "RMS"):
        model = random_transformer(seed, device, normalization=kind, norm_eps=1e-12)
        tokens = random_tokens(seed, device, model)
        point = f"{AT.scale_name.removesuffix('hook_scale')}hook_normalized"
        x = record(model, tokens, names=point)[point].detach()
        row[f"mean, {kind}"] = float(x.mean(-1).abs().max())
        row[f"variance, {kind}"] = float((x.var(-1, correction=0) - 1).abs().max())
    w = weights_of(random_transformer(seed, device, normalization="LN"), fold=False)
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, 50, w.d_model, generator=generator, dtype=torch.float64).to(device)
    scale = 0.5 + torch.rand(50, generator=generator, dtype=torch.float64).to(device)
    row["held"] = affine_error(lambda v: normalised(w, AT, v, scale), x, y)
    row["free"] = affine_error(lambda v: normalised(w, AT, v), x, y)
    return row


def forms(arm: str) -> Comparison:
    return Comparison(
        f"induction forms with {arm}", "share of the gap between chance and optimum that is closed", "gap closed", arm,
        "one layer", "greater", 0.2,
    )  # fmt: skip


def changes(arm: str) -> tuple[Comparison, ...]:
    """Of a model with this normalisation, against none: as soon, as well, and composing as much."""
    return (
        Comparison(
            f"as soon with {arm}", "log ratio of the steps until induction forms", "formed at", arm, "none",
            "equivalent", math.log(1.5), scale="log ratio",
        ),
        Comparison(
            f"as well with {arm}", "loss on predictable tokens, nats", "loss", arm, "none", "equivalent", 0.1,
        ),
        *(
            Comparison(
                f"as much {kind}-composition with {arm}", "strongest composition above that of random weights",
                f"{kind}-composition", arm, "none", "equivalent", 0.05,
            )
            for kind in "QKV"
        ),
    )  # fmt: skip


CLAIMS = (
    Claim(
        name="transformer-layernorm-is-affine-but-for-its-scale",
        numbers=(82,),
        statement="LayerNorm makes every vector mean 0 and variance 1, then scales and shifts; it is not linear.",
        source=BA,
        arms={"random": Arm(layer_norm)},
        comparisons=(
            exact("mean", "largest |mean| before scale and shift", "random", "mean, LN", 1e-6, wrong="mean, RMS"),
            exact("variance", "largest |variance - 1| before scale and shift", "random", "variance, LN", 1e-6,
                  wrong="variance, RMS"),
            exact("affine with the scale held", "distance from an affine map", "random", "held", ROUNDING,
                  wrong="free"),
        ),
        why="RMS normalisation does not centre; with the scale free the same map is far from affine.",
        trained=False,
    ),
    Claim(
        name="transformer-induction-forms-with-any-normalisation",
        numbers=(82,),
        statement="Induction forms, or begins to, with LayerNorm, RMS or no normalisation.",
        source="ours, on Elhage et al. 2021 and Olsson et al. 2022, whose models have LayerNorm",
        arms={"none": TWO_LAYERS, "LN": LN, "RMS": RMS, "one layer": ONE_LAYER},
        comparisons=(forms("none"), forms("LN"), forms("RMS")),
        why="One layer without normalisation, which cannot. Where a run counts as formed only once 90 % of the gap is "
        "closed, not every run with LN or RMS had formed within the 1,600 steps (the page shows each seed).",
        picture=Picture("gap closed", "share of the gap closed"),
    ),
    Claim(
        name="transformer-normalisation-changes-little",
        numbers=(82,),
        statement="Normalisation does not change how soon and how well induction forms, nor how heads compose.",
        source="ours",
        arms={"none": TWO_LAYERS, "LN": LN, "RMS": RMS},
        comparisons=(*changes("LN"), *changes("RMS")),
        why="The same model, data and order of data without normalisation. A run that had not formed after 1,600 steps "
        "counts as one that formed then.",
        picture=Picture("K-composition", "strongest K-composition above random weights"),
    ),
    Claim(
        name="transformer-direct-effects-hold-with-the-scale-held",
        numbers=(82,),
        statement="A head's effect can be read with the scale of LayerNorm held, as direct attribution does.",
        source=FRAMEWORK,
        arms={"LN": LN, "RMS": RMS},
        comparisons=tuple(
            Comparison(
                f"{what} with {arm}", "log ratio of the effect of the head that matters most, free against held",
                f"{value}, free", arm, arm, "equivalent", math.log(1.1), control_value=f"{value}, held",
                scale="log ratio",
            )
            for arm in ("LN", "RMS") for what, value in (("direct effect", "direct"), ("removal", "removed"))
        ),
        why="The same removal with every scale free to follow, as the model runs.",
        picture=Picture("missed by one scale", "share missed by one constant scale"),
    ),
)  # fmt: skip
