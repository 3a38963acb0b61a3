"""Every quantity that a `Truth` may state, measured by a second, slow implementation of the transformer."""

import math

import torch
import torch.nn.functional as F
from torch import einsum


def run(model, tokens, patterns=None, without=(), reads=None):
    """(logits, patterns, head outputs) of an attention-only model without normalisation, from its stacked weights.

    `patterns` are held if given; heads in `without` write nothing; `reads` are the head outputs that later heads read
    in place of those just computed, and that make the logits.
    """
    config = model.config
    embedded = model.W_E[tokens]
    if model.W_pos is not None:
        embedded = embedded + model.W_pos[: tokens.shape[1]]
    residual, used, outputs = embedded, [], []
    future = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool).triu(1)
    for layer, block in enumerate(model.blocks):
        attention = block.attn
        q = einsum("bpm,hmd->bhpd", residual, attention.W_Q)
        k = einsum("bpm,hmd->bhpd", residual, attention.W_K)
        if config.smeared_keys:
            share = torch.sigmoid(attention.smear)[:, None, None]
            k = torch.cat([k[:, :, :1], share * k[:, :, 1:] + (1 - share) * k[:, :, :-1]], dim=2)
        scores = einsum("bhqd,bhkd->bhqk", q, k) / math.sqrt(config.d_head)
        pattern = scores.masked_fill(future, -torch.inf).softmax(-1) if patterns is None else patterns[layer]
        v = einsum("bpm,hmd->bhpd", residual, attention.W_V)
        out = einsum("bhqk,bhkd,hdm->bhqm", pattern, v, attention.W_O)
        silent = torch.tensor([(layer, head) in without for head in range(config.n_heads)])
        out = out.masked_fill(silent[:, None, None], 0.0)
        used.append(pattern)
        outputs.append(out)
        residual = residual + (out if reads is None else reads[layer]).sum(1)
    return residual @ model.W_U, used, outputs


def loss(logits, targets):
    return F.cross_entropy(logits[targets >= 0], targets[targets >= 0]).item()


def accuracy(logits, targets):
    return (logits.argmax(-1) == targets)[targets >= 0].double().mean().item()


def following(handmade):
    """The next token at repeated positions that have one, -1 elsewhere."""
    tokens = handmade.example_tokens
    targets = torch.full_like(tokens, -1)
    targets[:, :-1] = torch.where(handmade.repeated[:, :-1], tokens[:, 1:], -1)
    return targets


def order_loss(model, tokens, answers, order, patterns):
    """Term importance (Elhage et al. 2021): patterns held, each pass reads the outputs of the pass before."""
    reads = [tokens.new_zeros(1, 1, 1, 1)] * model.config.n_layers
    for _ in range(order):
        reads = run(model, tokens, patterns, reads=reads)[2]
    return loss(run(model, tokens, patterns, reads=reads)[0], answers)


def prefix_mass(pattern, tokens):
    """[batch pos]: attention to tokens whose predecessor equals the present token."""
    follows = torch.zeros(*tokens.shape, tokens.shape[1], dtype=torch.bool)
    follows[:, :, 1:] = tokens[:, :, None] == tokens[:, None, :-1]
    return (pattern * follows.tril()).sum(-1)


def copy_mass(pattern, tokens):
    """[batch pos]: attention to earlier copies of the present token."""
    same = (tokens[:, :, None] == tokens[:, None, :]).tril(-1)
    return (pattern * same).sum(-1)


def head_score(quantity, pattern, tokens, repeated):
    if quantity == "prefix-matching":
        return prefix_mass(pattern, tokens)[repeated].mean().item()
    if quantity == "duplicate-token":
        return copy_mass(pattern, tokens)[repeated].mean().item()
    if quantity == "first-token":
        return pattern[:, 1:, 0].mean().item()
    back = {"current-token": 0, "previous-token": 1}[quantity]
    return pattern.diagonal(-back, -2, -1)[:, 1 - back :].mean().item()


def composition(model, channel, earlier, later):
    """Frobenius ratios of dense matrices, row vectors: what `later` reads by Q, K or V of what `earlier` writes."""
    (e, i), (m, j) = earlier, later
    first, second = model.blocks[e].attn, model.blocks[m].attn
    ov = first.W_V[i] @ first.W_O[i]
    qk = second.W_Q[j] @ second.W_K[j].T
    reader = {"Q": qk, "K": qk.T, "V": second.W_V[j] @ second.W_O[j]}[channel]
    return ((ov @ reader).norm() / (ov.norm() * reader.norm())).item()


@torch.no_grad()
def measure_all(handmade):
    """[(expected, measured)] for all that the truth states, on the example tokens."""
    logits, patterns, _ = run(handmade.model, handmade.example_tokens)
    return [(e, measure(handmade, e.quantity, e.at, logits, patterns)) for e in handmade.truth.expected]


def measure(handmade, name, at, logits, patterns):
    model, tokens, answers = handmade.model, handmade.example_tokens, handmade.answers
    if name.endswith("-composition"):
        return composition(model, name[0], *at)
    if name.startswith("order-"):
        order = int(name.removeprefix("order-").removesuffix(" loss"))
        return order_loss(model, tokens, answers, order, patterns)
    if "without" in name:
        logits = run(model, tokens, patterns if "patterns held" in name else None, without=at)[0]
    elif at:
        return head_score(name, patterns[at[0][0]][:, at[0][1]], tokens, handmade.repeated)
    targets = following(handmade) if name.startswith("next-token") else answers
    return accuracy(logits, targets) if "accuracy" in name else loss(logits, targets)
