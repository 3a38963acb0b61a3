"""All composition scores of a model the size of GPT-2 small, beside TransformerLens' `all_composition_scores`."""

import functools
import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from analyses.benchmarks.memory import MB, peak_memory
from interp.composition import Kind, composition_scores
from interp.weights import TransformerWeights, weights_of

KINDS: tuple[Kind, ...] = ("Q", "K", "V")


@dataclass(frozen=True)
class Size:
    """Of a model with random weights."""

    n_layers: int
    n_heads: int
    d_model: int
    d_head: int

    def __str__(self) -> str:
        return f"{self.n_layers} layers of {self.n_heads} heads, d_model {self.d_model}, d_head {self.d_head}"


FULL = Size(12, 12, 768, 64)
QUICK = Size(6, 6, 192, 32)


@dataclass(frozen=True)
class Row:
    """One kind, ours beside theirs: CPU seconds, bytes added at the peak, and the largest difference of two scores."""

    kind: Kind
    ours: float
    theirs: float
    our_memory: float
    their_memory: float
    difference: float


def report(rounds: int, quick: bool = False) -> None:
    size = QUICK if quick else FULL
    print(f"Composition scores of all pairs of heads, {size}, float32, random weights")
    print(
        f"{'kind':>6}{'ours, s':>10}{'theirs, s':>11}{'faster':>9}{'ours, MB':>11}{'theirs, MB':>12}{'leaner':>9}"
        f"{'largest difference':>20}"
    )
    for kind in KINDS:
        r = measure(kind, size, rounds)
        print(
            f"{r.kind:>6}{r.ours:>10.2f}{r.theirs:>11.2f}{r.theirs / r.ours:>8.0f}x{r.our_memory / MB:>11.0f}"
            f"{r.their_memory / MB:>12.0f}{r.their_memory / max(MB, r.our_memory):>8.0f}x{r.difference:>20.1e}",
            flush=True,
        )
    print(
        f"Seconds of CPU time: ours the median of {rounds} calls, theirs one call. MB: what the call added at its peak "
        "to the resident memory of a fresh process that held the model (VmHWM - VmRSS before)."
    )


def measure(kind: Kind, size: Size, rounds: int) -> Row:
    """Time and difference in this process, memory in one of their own for each rival."""
    bridge = bridge_of(size)
    w = weights_of(bridge, fold=False)
    composition_scores(w, kind)
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        ours = our_scores(w, kind)
        seconds.append(time.process_time() - start)
    start = time.process_time()
    theirs = their_scores(bridge, kind)
    their_seconds = time.process_time() - start
    difference = float((ours.nan_to_num(0) - theirs).abs().max())
    del bridge, w, theirs
    lean = peak_memory(functools.partial(our_model, size), functools.partial(our_scores, kind=kind)).added
    rival = peak_memory(functools.partial(bridge_of, size), functools.partial(their_scores, kind=kind)).added
    return Row(kind, statistics.median(seconds), their_seconds, lean, rival, difference)


def our_scores(w: TransformerWeights, kind: Kind) -> Tensor:
    return composition_scores(w, kind)


@torch.no_grad()
def their_scores(bridge: Any, kind: Kind) -> Tensor:
    scores: Tensor = bridge.all_composition_scores(kind).scores
    return scores


def our_model(size: Size) -> TransformerWeights:
    return weights_of(bridge_of(size), fold=False)


def bridge_of(size: Size) -> Any:
    """TransformerLens' trainable bridge of this size; the vocabulary plays no part in composition scores."""
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    torch.manual_seed(0)
    return TransformerBridge.boot_native(
        TransformerBridgeConfig(
            d_model=size.d_model,
            d_head=size.d_head,
            n_heads=size.n_heads,
            n_layers=size.n_layers,
            n_ctx=16,
            d_vocab=64,
            attn_only=True,
            normalization_type="LN",
        )
    )
