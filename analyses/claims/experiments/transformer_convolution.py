"""Attention as convolution: K² heads, each looking at one neighbour, are a K x K convolution (Cordonnier et al. 2020).

The image is a sequence of pixels behind one token that is black and stands outside of it. Head (dy, dx) scores its
neighbour with `SHARPNESS` by position; where that lies outside the image it scores the outside token instead, which
brings 0, as zero padding does. Its value matrix is the kernel's [dy, dx].
"""

import itertools
import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from analyses.claims.claim import Arm, Claim, Row
from analyses.claims.experiments.identities import exact
from interp.hooks import record
from interp.units.convolution import convolution_matrix
from toy_models.config import AttentionDir, TransformerConfig
from toy_models.transformer import Transformer

HEIGHT, WIDTH, KERNEL, IN, OUT = 5, 6, 3, 2, 3
SHARPNESS = 25.0
"""Score of the neighbour: e^-25 of the attention is left for each other pixel, about 1e-11."""
TOLERANCE = 1e-5


def attention_as_convolution(seed: int, device: str, budget: float) -> Row:
    """Errors of the attention model against the convolution's dense matrix, inside and at the border."""
    torch_generator = torch.Generator().manual_seed(seed)
    kernel = torch.randn(OUT, IN, KERNEL, KERNEL, generator=torch_generator, dtype=torch.float64)
    image = torch.rand(HEIGHT * WIDTH, IN, generator=torch_generator, dtype=torch.float64)
    conv = nn.Conv2d(IN, OUT, KERNEL, padding=KERNEL // 2, bias=False, dtype=torch.float64)
    with torch.no_grad():
        conv.weight.copy_(kernel)
    wanted = image.T.flatten()[None] @ convolution_matrix(conv, HEIGHT, WIDTH).matrix
    wanted = wanted.view(OUT, HEIGHT * WIDTH).T
    order = torch.arange(KERNEL**2)
    made = convolved(image, kernel, order, "bidirectional", device)
    permuted = convolved(image, kernel, order.roll(1), "bidirectional", device)
    causal = convolved(image, kernel, order, "causal", device)
    inside = interior()

    def error(found: Tensor, where: Tensor) -> float:
        return float((found - wanted)[where].abs().max())

    return {
        "inside": error(made, inside),
        "inside, heads permuted": error(permuted, inside),
        "border": error(made, ~inside),
        "border, heads permuted": error(permuted, ~inside),
        "inside, causal": error(causal, inside),
    }


def interior() -> Tensor:
    """Pixels all of whose neighbours lie in the image."""
    y, x = places().T
    return (y > 0) & (y < HEIGHT - 1) & (x > 0) & (x < WIDTH - 1)


def places() -> Int[Tensor, "pixel two"]:
    return torch.tensor(list(itertools.product(range(HEIGHT), range(WIDTH))))


def neighbours() -> Int[Tensor, "head position"]:
    """Where each head looks from each position: 0, the token outside, for a neighbour that is not in the image."""
    reach, found = KERNEL // 2, []
    for dy, dx in itertools.product(range(-reach, reach + 1), repeat=2):
        y, x = (places() + torch.tensor([dy, dx])).T
        within = (y >= 0) & (y < HEIGHT) & (x >= 0) & (x < WIDTH)
        found.append(torch.cat([torch.zeros(1, dtype=torch.long), torch.where(within, 1 + y * WIDTH + x, 0)]))
    return torch.stack(found)


def convolved(
    image: Float[Tensor, "pixel channel"],
    kernel: Float[Tensor, "out channel y x"],
    order: Int[Tensor, " head"],
    attention_dir: AttentionDir,
    device: str,
) -> Float[Tensor, "pixel out"]:
    """What the attention layer writes at every pixel; head h has the kernel's entry number `order[h]`."""
    model = attention_layer(image, kernel, order, attention_dir).to(device)
    tokens = torch.arange(1 + len(image), device=device)[None]
    out = record(model, tokens, names="blocks.0.hook_attn_out")["blocks.0.hook_attn_out"]
    return out[0, 1:, -OUT:].detach().cpu()


def attention_layer(
    image: Float[Tensor, "pixel channel"],
    kernel: Float[Tensor, "out channel y x"],
    order: Int[Tensor, " head"],
    attention_dir: AttentionDir,
) -> Transformer:
    """Blocks of the stream: the pixel's channels, its position (one-hot), and the convolution's output."""
    n, heads = 1 + len(image), KERNEL**2
    config = TransformerConfig(
        n_layers=1, n_heads=heads, d_model=IN + n + OUT, d_head=n, d_vocab=n, n_ctx=n, biases=False,
        attention_dir=attention_dir,
    )  # fmt: skip
    model = Transformer(config, torch.Generator()).double().eval()
    pixel, place, out = slice(0, IN), slice(IN, IN + n), slice(IN + n, None)
    with torch.no_grad():
        for tensor in model.trained_tensors().values():
            tensor.zero_()
        model.embed.W_E[1:, pixel] = image
        model.pos_embed.W_pos[:, place] = torch.eye(n, dtype=torch.float64)
        attention = model.blocks[0].attn
        for head, at in enumerate(neighbours()):
            looks_at = torch.eye(n, dtype=torch.float64)[at]  # position -> where it looks
            attention.W_Q[head, place] = SHARPNESS * math.sqrt(n) * looks_at
            attention.W_K[head, place] = torch.eye(n, dtype=torch.float64)
            attention.W_V[head, pixel, :IN] = torch.eye(IN, dtype=torch.float64)
            attention.W_O[head, :IN, out] = kernel.flatten(2)[:, :, order[head]].T
    return model


CLAIMS = (
    Claim(
        name="transformer-attention-generalises-convolution",
        numbers=(77,),
        statement="Attention generalises convolution: K² heads equal a K x K convolution.",
        source="Cordonnier, Loukas & Jaggi 2020, On the Relationship between Self-Attention and Convolutional Layers",
        arms={"random kernel": Arm(attention_as_convolution)},
        comparisons=(
            exact("inside the image", "largest error", "random kernel", "inside", TOLERANCE,
                  wrong="inside, heads permuted"),
            exact("at the border, zero padding", "largest error", "random kernel", "border", TOLERANCE,
                  wrong="border, heads permuted"),
            exact("attention must look ahead", "largest error", "random kernel", "inside", TOLERANCE,
                  wrong="inside, causal"),
        ),
        why="Heads with their kernel entries permuted are another convolution; a causal model cannot see half of the "
        "neighbours. Softmax leaves a little attention elsewhere, so the equality has a tolerance.",
        trained=False,
    ),
)  # fmt: skip
