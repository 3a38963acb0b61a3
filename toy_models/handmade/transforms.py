"""Changes of a model's weights that leave what it computes alone, or disturb it by a known amount.

Each returns a new transformer; the one passed in is untouched. Rows are vectors, so in another basis x becomes x T.
"""

import dataclasses
import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toy_models.config import TransformerConfig
from toy_models.errors import InputError
from toy_models.transformer import Transformer

State = dict[str, Tensor]
WRITES = ("W_E", "W_pos", "W_O", "b_O", "W_out", "b_out")
READS = ("W_Q", "W_K", "W_V", "W_in", "W_U")
PER_HEAD = ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V", "smear")


def change_basis(
    model: Transformer, generator: torch.Generator, rotation: bool = False, condition: float = 100.0
) -> Transformer:
    """The same function with the residual stream in another basis.

    x becomes x T: whatever writes is multiplied by T on the right, whatever reads by T^-1 on the left. T is a random
    invertible matrix of condition number `condition`, or, with `rotation`, a random orthogonal one. A normalisation
    without gains goes with a rotation only (with "LNPre" one that keeps the direction of the mean), tied embeddings
    too.

    Raises:
        InputError: the model's normalisation or its tied embeddings do not allow this change.
    """
    check_basis_is_free(model.config, rotation)
    if not (math.isfinite(condition) and condition >= 1):
        raise InputError(f"condition must be at least 1, got {condition}")
    d, dtype = model.config.d_model, model.W_E.dtype
    if rotation:
        T = random_rotation(d, generator, keep_mean=model.config.normalization == "LNPre")
        inverse = T.T
    else:
        T, inverse = random_invertible(d, generator, condition)
    T, inverse = T.to(model.W_E), inverse.to(model.W_E)
    state = copied_state(model)
    for name, value in state.items():
        if last(name) in WRITES:
            state[name] = value @ T
        elif last(name) in READS:
            state[name] = inverse @ value
    return rebuilt(dataclasses.replace(model.config, learned_positions=True), state, dtype)


def check_basis_is_free(config: TransformerConfig, rotation: bool) -> None:
    kind = config.normalization
    if kind in ("LN", "RMS"):
        raise InputError(f"normalization {kind!r} has gains, which fix the basis of the residual stream")
    if kind != "none" and not rotation:
        raise InputError(f"normalization {kind!r} allows rotations of the residual stream only: pass rotation=True")
    if config.tied_embeddings and not rotation:
        raise InputError("tied embeddings (W_U = W_E transposed) allow rotations only: pass rotation=True")


def change_head_basis(model: Transformer, generator: torch.Generator, condition: float = 10.0) -> Transformer:
    """The same function with every head's query-key and value spaces in other bases.

    W_Q -> W_Q C, W_K -> W_K C^-T, and W_V -> W_V D, W_O -> D^-1 W_O, with a random C and D of condition number
    `condition` for each head; biases likewise.

    Raises:
        InputError: with rotary positions, which fix the basis of queries and keys.
    """
    if model.config.positions == "rotary":
        raise InputError("rotary positions fix the basis of queries and keys")
    if not (math.isfinite(condition) and condition >= 1):
        raise InputError(f"condition must be at least 1, got {condition}")
    config, state = model.config, copied_state(model)
    for layer in range(config.n_layers):
        for head in range(config.n_heads):
            for kinds in (("Q", "K"), ("V", "O")):
                C, inverse = (m.to(model.W_E) for m in random_invertible(config.d_head, generator, condition))
                turn_head(state, f"blocks.{layer}.attn.", head, kinds, C, inverse)
    return rebuilt(config, state, model.W_E.dtype)


def turn_head(state: State, attention: str, head: int, kinds: tuple[str, str], C: Tensor, inverse: Tensor) -> None:
    """Multiplies the first kind's matrix (and bias) by C, and its partner by what undoes it."""
    first, second = kinds
    state[f"{attention}W_{first}"][head] @= C
    if second == "K":
        state[f"{attention}W_K"][head] @= inverse.T
    else:
        state[f"{attention}W_O"][head] = inverse @ state[f"{attention}W_O"][head]
    for kind, matrix in ((first, C), (second, inverse.T)):
        bias = f"{attention}b_{kind}"
        if kind != "O" and bias in state:
            state[bias][head] = state[bias][head] @ matrix


def permute_heads(model: Transformer, order: Int[Tensor, "layer head"]) -> Transformer:
    """The same function with heads in another order: head i of a layer was its head `order[layer, i]`.

    Raises:
        InputError: a row of `order` is not a permutation of the layer's heads.
    """
    config, state = model.config, copied_state(model)
    wanted = torch.arange(config.n_heads).expand(config.n_layers, -1)
    if order.shape != wanted.shape or not torch.equal(order.sort(-1).values.cpu(), wanted):
        raise InputError(
            f"order must hold, for each of {config.n_layers} layers, the numbers 0 to {config.n_heads - 1} in some "
            f"order; got {order.tolist()}"
        )
    for layer in range(config.n_layers):
        for name in head_parameters(state, layer):
            state[name] = state[name][order[layer].to(state[name].device)]
    return rebuilt(config, state, model.W_E.dtype)


def add_idle_heads(model: Transformer, extra: int = 1) -> Transformer:
    """The same function with `extra` more heads in every layer, whose weights are zero.

    Raises:
        InputError: `extra` is below 1.
    """
    if isinstance(extra, bool) or not isinstance(extra, int) or extra < 1:
        raise InputError(f"extra must be a whole number of at least 1, got {extra!r}")
    config, state = model.config, copied_state(model)
    for layer in range(config.n_layers):
        for name in head_parameters(state, layer):
            idle = state[name].new_zeros(extra, *state[name].shape[1:])
            state[name] = torch.cat([state[name], idle])
    return rebuilt(dataclasses.replace(config, n_heads=config.n_heads + extra), state, model.W_E.dtype)


def add_noise(model: Transformer, scale: float, generator: torch.Generator) -> Transformer:
    """Gaussian noise on every weight matrix, of `scale` times the matrix's root mean square entry.

    Each head's matrices count by themselves, so matrices of zeros (idle heads) stay zero; biases, gains, smear
    parameters and sinusoidal tables are left alone.

    Raises:
        InputError: `scale` is negative or not finite.
    """
    if not (math.isfinite(scale) and scale >= 0):
        raise InputError(f"scale must be 0 or above, got {scale}")
    state = copied_state(model)
    for name in model.trained_tensors():
        if last(name).startswith("W_"):
            value = state[name]
            size = value.square().mean(dim=(-2, -1), keepdim=True).sqrt()
            draw = torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value)
            state[name] = value + scale * size * draw
    return rebuilt(model.config, state, model.W_E.dtype)


def random_rotation(d: int, generator: torch.Generator, keep_mean: bool = False) -> Float[Tensor, "d d"]:
    """A Haar-distributed orthogonal matrix (QR with the signs fixed: Mezzadri 2007, arXiv:math-ph/0609050).

    With `keep_mean` it maps the vector of ones to itself and is Haar-distributed on the rest.
    """
    if keep_mean:
        basis = torch.cat([torch.ones(d, 1, dtype=torch.float64), torch.eye(d, dtype=torch.float64)[:, 1:]], dim=1)
        basis = torch.linalg.qr(basis).Q  # the first column is along the ones
        inner = torch.eye(d, dtype=torch.float64)
        inner[1:, 1:] = random_rotation(d - 1, generator)
        return basis @ inner @ basis.T
    q, r = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))
    return q * r.diagonal().sign()


def random_invertible(
    d: int, generator: torch.Generator, condition: float
) -> tuple[Float[Tensor, "d d"], Float[Tensor, "d d"]]:
    """A random matrix of the given condition number, and its inverse.

    Two rotations with stretches between them, log-uniform from 1/sqrt(condition) to sqrt(condition), ends included.
    """
    left, right = random_rotation(d, generator), random_rotation(d, generator)
    spread = torch.rand(d, generator=generator, dtype=torch.float64)
    spread = (spread - spread.min()) / (spread.max() - spread.min()) if d > 1 else spread.fill_(0.5)
    stretch = condition ** (spread - 0.5)
    return left * stretch @ right, (right.T / stretch) @ left.T


def last(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def head_parameters(state: State, layer: int) -> list[str]:
    return [name for name in state if name.startswith(f"blocks.{layer}.attn.") and last(name) in PER_HEAD]


def copied_state(model: Transformer) -> State:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def rebuilt(config: TransformerConfig, state: State, dtype: torch.dtype) -> Transformer:
    """A transformer of this config, holding these weights."""
    model = Transformer(config, torch.Generator().manual_seed(0)).to(state["embed.W_E"].device, dtype)
    model.load_state_dict(state)
    return model
