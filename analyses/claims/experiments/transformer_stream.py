"""The residual stream as a sum: components add up to the logits, paths do if patterns and scales are held, and fields
written into one vector can be told apart while their directions are orthogonal, or nearly so."""

import torch
from torch import Tensor

from analyses.claims.claim import Arm, Claim, Comparison, Picture, Row
from analyses.claims.experiments.identities import exact
from analyses.claims.experiments.transformer_models import random_tokens, random_transformer, squeezed
from interp.hooks import intervene, record
from interp.lens import direct_logit_attribution
from interp.norms import affine_error, held_scales
from interp.paths import logit_paths
from toy_models.handmade import make

FRAMEWORK = "Elhage et al. 2021, A Mathematical Framework for Transformer Circuits"
ROUNDING = 1e-10
"""Tolerance of float64 identities; logits are of the order of 1."""
LEFT_OUT, ITS_POINT = "L1 MLP", "blocks.1.hook_mlp_out"
"""The last component, whose only path to the logits is the direct one."""
WIDTHS = (82, 64, 48, 32, 24, 16)
"""Dimensions for the 82 coordinates of the handmade model's stream; the chance of a right guess is 1/16."""


def components_add_up(seed: int, device: str, budget: float) -> Row:
    """A random model with LayerNorm, MLPs and biases: its components' parts in a logit against the logit."""
    model = random_transformer(seed, device, normalization="LN", d_mlp=9)
    tokens = random_tokens(seed, device, model)
    found = direct_logit_attribution(model, tokens)
    part = found.logit[found.components.index(LEFT_OUT)]
    zeroed = torch.zeros_like(record(model, tokens, names=ITS_POINT)[ITS_POINT])
    scale = {name: value for name, value in held_scales(model, tokens).items() if name.startswith("ln_final")}

    def change(edits: dict[str, Tensor]) -> Tensor:
        with torch.no_grad(), intervene(model, edits):
            changed = model(tokens)[:, :-1].gather(-1, found.targets[..., None])[..., 0]
        return found.logit.sum(0) - changed

    return {
        "error": found.error,
        "error without one": float(part.abs().max()),
        "its part": float((change({ITS_POINT: zeroed, **scale}) - part).abs().max()),
        "its part, scale free": float((change({ITS_POINT: zeroed}) - part).abs().max()),
    }


def linear_if_held(seed: int, device: str, budget: float) -> Row:
    """How far the logits are from affine in the embeddings, and the paths' sum from the logits."""
    model = random_transformer(seed, device, normalization="LN")
    tokens = random_tokens(seed, device, model)
    patterns = record(model, tokens, names="blocks.*.attn.hook_pattern")
    held = {name: patterns[name] for name in patterns} | held_scales(model, tokens)
    shape = (*tokens.shape, model.config.d_model)
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(shape, generator=generator, dtype=torch.float64).flatten(1).to(device) for _ in range(2))

    def error(kept: dict[str, Tensor]) -> float:
        def run(flat: Tensor) -> Tensor:
            with torch.no_grad(), intervene(model, {**kept, "hook_embed": flat.view(shape)}):
                return model(tokens)

        return affine_error(run, x, y)

    scales = held_scales(model, tokens)
    return {
        "held": error(held),
        "nothing held": error({}),
        "patterns free": error(scales),
        "scales free": error({name: patterns[name] for name in patterns}),
        "paths": logit_paths(model, tokens).error,
        "paths of at most one head": logit_paths(model, tokens, order=1).error,
    }


def fields_in_fewer_dimensions(seed: int, device: str, budget: float) -> Row:
    """Share of the handmade induction model's answers that are right, with its stream's 82 coordinates along random
    unit vectors of fewer dimensions (orthonormal at 82)."""
    handmade = make("induction_k")
    answered = handmade.answers >= 0
    generator = torch.Generator().manual_seed(seed)
    row: Row = {"chance": 1 / handmade.model.config.d_vocab, "widths": [float(width) for width in WIDTHS]}
    accuracies = []
    for width in WIDTHS:
        drawn = torch.randn(handmade.model.config.d_model, width, generator=generator, dtype=torch.float64)
        full = width == handmade.model.config.d_model
        directions = torch.linalg.qr(drawn)[0] if full else drawn / drawn.norm(dim=1, keepdim=True)
        with torch.no_grad():
            said = squeezed(handmade.model, directions)(handmade.example_tokens).argmax(-1)
        accuracies.append(float((said == handmade.answers)[answered].double().mean()))
        row[f"accuracy at {width}"] = accuracies[-1]
    return row | {"accuracies": accuracies}


CLAIMS = (
    Claim(
        name="transformer-is-a-sum-of-components",
        numbers=(75,),
        statement="Tokens become embeddings, every head and MLP adds to the residual stream, and the stream is read "
        "off as tokens.",
        source=FRAMEWORK,
        arms={"random": Arm(components_add_up)},
        comparisons=(
            exact("all components", "largest |sum of their parts - logit|", "random", "error", ROUNDING,
                  wrong="error without one"),
            exact("one component left out", "change of the logit less its part, scale held", "random", "its part",
                  ROUNDING, wrong="its part, scale free"),
        ),
        why="The sum without one component misses by its part; removed from the running model, the last MLP takes "
        "exactly its part away only if the final scale is held.",
        trained=False,
    ),
    Claim(
        name="transformer-is-linear-if-held",
        numbers=(88,),
        statement="The transformer is overall linear if you squint: once it is known who attends to whom.",
        source=FRAMEWORK,
        arms={"random": Arm(linear_if_held)},
        comparisons=(
            exact("patterns and scales held", "distance from an affine map of the embeddings", "random", "held",
                  ROUNDING, wrong="nothing held"),
            exact("patterns held, scales needed too", "distance from an affine map", "random", "held", ROUNDING,
                  wrong="scales free"),
            exact("scales held, patterns needed too", "distance from an affine map", "random", "held", ROUNDING,
                  wrong="patterns free"),
            exact("sum over paths", "largest |sum - logit| as a share of the largest logit", "random", "paths",
                  ROUNDING, wrong="paths of at most one head"),
        ),
        why="With patterns free, or the scales of LayerNorm free, the same map is far from affine; without paths "
        "through two heads the sum is not the logits.",
        trained=False,
    ),
    Claim(
        name="transformer-stream-adds-instead-of-lengthening",
        numbers=(96,),
        statement="Outputs can be added to the stream instead of lengthening a tuple of fields.",
        source=FRAMEWORK,
        arms={"random directions": Arm(fields_in_fewer_dimensions)},
        comparisons=tuple(
            Comparison(
                "orthogonal directions" if width == WIDTHS[0] else f"82 coordinates in {width} dimensions",
                "share of answers that are right, less that of a guess", f"accuracy at {width}", "random directions",
                "random directions", "greater", 0.5, control_value="chance",
            )
            for width in WIDTHS
        ),
        why="The same handmade model, its fields along random directions: orthogonal ones lose nothing, fewer "
        "dimensions make the fields hear each other. A guess is right once in 16 times.",
        picture=Picture("accuracies", "answers that are right", x="widths", x_label="dimensions"),
    ),
)  # fmt: skip
