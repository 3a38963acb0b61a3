"""Every quantity that a `Truth` may state, measured by a second, slow implementation of the transformer."""

import math

import torch
import torch.nn.functional as F
from torch import einsum

from toy_models.handmade import Edge

TABLES = ("path logit", "path copying", "token matching", "K-matching", "pointer")


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


def maps(model, head):
    """(QK, OV) of a head as dense matrices, row vectors."""
    attention, index = model.blocks[head[0]].attn, head[1]
    return attention.W_Q[index] @ attention.W_K[index].T, attention.W_V[index] @ attention.W_O[index]


def path_table(model, heads, source):
    """source W_OV ... W_OV W_U as a dense matrix."""
    for head in heads:
        source = source @ maps(model, head)[1]
    return source @ model.W_U


def eigenvalue_ratio(table):
    return (table.trace() / torch.linalg.eigvals(table).abs().sum()).item()


def table_score(model, quantity, at):
    """What the tables between tokens (or positions) say, from dense products."""
    if quantity == "path logit":
        sources = [model.W_E] if at or model.W_pos is None else [model.W_E, model.W_pos]
        return max(path_table(model, at, source).abs().max().item() for source in sources)
    if quantity == "path copying":
        return eigenvalue_ratio(path_table(model, at, model.W_E))
    qk = maps(model, at[-1])[0]
    if quantity == "token matching":
        return ((model.W_E @ qk @ model.W_E.T).abs().max() / math.sqrt(model.config.d_head)).item()
    ov = maps(model, at[0])[1]
    if quantity == "K-matching":
        return eigenvalue_ratio(model.W_E @ qk @ (model.W_E @ ov).T)
    pointed = (model.W_pos @ ov @ qk @ model.W_pos.T)[:-1].argmax(-1)
    return (pointed == torch.arange(1, len(model.W_pos))).double().mean().item()


def edges_of(model, heads):
    """Every pair of a writer and a later reader whose product of dense matrices is not zero but for rounding."""
    writers = {"token": model.W_E} | ({} if model.W_pos is None else {"position": model.W_pos})
    readers = {("logits", "logits"): model.W_U}
    for head in heads:
        qk, ov = maps(model, head)
        writers[head] = ov
        readers |= {(head, "Q"): qk, (head, "K"): qk.T, (head, "V"): ov}
    return {
        Edge(source, target, channel)
        for source, writes in writers.items()
        for (target, channel), reads in readers.items()
        if comes_before(source, target) and (writes @ reads).norm() > 1e-10 * writes.norm() * reads.norm()
    }


def comes_before(source, target):
    return isinstance(source, str) or isinstance(target, str) or source[0] < target[0]


@torch.no_grad()
def measure_all(handmade):
    """[(expected, measured)] for all that the truth states, on the example tokens."""
    logits, patterns, _ = run(handmade.model, handmade.example_tokens)
    return [(e, measure(handmade, e.quantity, e.at, logits, patterns)) for e in handmade.truth.expected]


def measure(handmade, name, at, logits, patterns):
    model, tokens, answers = handmade.model, handmade.example_tokens, handmade.answers
    if name in TABLES:
        return table_score(model, name, at)
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
