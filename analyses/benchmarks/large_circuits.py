"""`python -m analyses.benchmarks.large_circuits`: circuits over a vocabulary of 50,257, time and memory."""

import argparse
import functools
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from analyses.benchmarks.memory import MB, peak_memory
from analyses.benchmarks.timing import ratio, take_turns
from interp.circuits import Entries, Factored, centred_rows, full_ov, ov_tables, top_entries
from interp.circuits.entries import dense_tiles
from interp.weights import TransformerWeights

TOP = 32


@dataclass(frozen=True)
class Size:
    """Of a model with random weights."""

    n_layers: int
    n_heads: int
    d_model: int
    d_head: int
    d_vocab: int
    rivals: int
    """Heads that TransformerLens' loop is timed on; its time is scaled up to all of them."""

    def __str__(self) -> str:
        return f"{self.n_layers} layers of {self.n_heads} heads, d_model {self.d_model}, vocabulary {self.d_vocab:,}"


FULL = Size(12, 12, 768, 64, 50_257, rivals=6)
QUICK = Size(2, 4, 64, 16, 2_000, rivals=4)


@dataclass(frozen=True)
class Copying:
    """Copying scores of all heads: CPU seconds, bytes added at the peak, largest difference of two scores."""

    ours: float
    theirs: float
    our_memory: float
    their_memory: float
    difference: float


@dataclass(frozen=True)
class Top:
    """The largest entries of one full OV circuit: CPU seconds, and bytes added at the peak."""

    ours: float
    bare: float
    ratio: float
    memory: float


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=7, help="calls of which the median time is taken")
    options.add_argument("--quick", action="store_true", help="a smaller model, to see that it runs")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    report(chosen.rounds, chosen.quick)


def report(rounds: int, quick: bool = False) -> None:
    size = QUICK if quick else FULL
    print(f"Full OV circuits, {size}, float32, random weights")
    c = measure_copying(size, rounds)
    heads = size.n_layers * size.n_heads
    print(f"{'':>34}{'ours, s':>10}{'theirs, s':>11}{'faster':>9}{'ours, MB':>11}{'theirs, MB':>12}{'difference':>12}")
    print(
        f"{f'copying score of all {heads} heads':>34}{c.ours:>10.3f}{c.theirs:>11.2f}{c.theirs / c.ours:>8.1f}x"
        f"{c.our_memory / MB:>11.0f}{c.their_memory / MB:>12.0f}{c.difference:>12.1e}",
        flush=True,
    )
    t = measure_top(size, rounds)
    dense = 4 * size.d_vocab**2
    print(f"\n{'':>34}{'ours, s':>10}{'bare, s':>11}{'ratio':>9}{'ours, MB':>11}{'dense, MB':>12}")
    print(
        f"{f'top {TOP} entries of one head':>34}{t.ours:>10.3f}{t.bare:>11.3f}{t.ratio:>8.2f}x"
        f"{t.memory / MB:>11.0f}{dense / MB:>12.0f}"
    )
    print(
        f"Theirs: a loop over FactoredMatrix.eigenvalues, timed on {size.rivals} heads and scaled up to {heads}; both\n"
        "with the unembedding minus its mean over the vocabulary. Bare: the matrix product alone, in the same tiles;\n"
        "dense: what the product would take at once (TransformerLens has no other way). Seconds of CPU time, medians\n"
        f"of {rounds} rounds in turn. MB: added at the peak to a fresh process that held the weights."
    )


def measure_copying(size: Size, rounds: int) -> Copying:
    """Times in this process, memory in a process of its own for each rival."""
    w = random_weights(size)
    chosen = spread_heads(size)
    same = [layer * size.n_heads + head for layer, head in chosen]
    difference = float((our_scores(w)[same] - loop(w, chosen)).abs().max())
    timings = take_turns({"ours": lambda: our_scores(w), "loop": lambda: loop(w, chosen)}, rounds, calls=1, warm_up=1)
    ours, theirs = timings["ours"].median, timings["loop"].median * size.n_layers * size.n_heads / len(chosen)
    del w
    prepare = functools.partial(random_weights, size)
    lean = peak_memory(prepare, our_scores).added
    rival = peak_memory(prepare, functools.partial(loop, heads=chosen)).added
    return Copying(ours, theirs, lean, rival, difference)


def measure_top(size: Size, rounds: int) -> Top:
    table = one_table(size)
    timings = take_turns({"ours": lambda: our_top(table), "bare": lambda: bare(table)}, rounds, calls=1, warm_up=1)
    memory = peak_memory(functools.partial(one_table, size), our_top).added
    return Top(timings["ours"].median, timings["bare"].median, ratio(timings, "ours", "bare"), memory)


def our_scores(w: TransformerWeights) -> Float[Tensor, " head"]:
    return ov_tables(w).scores()


@torch.no_grad()
def loop(w: TransformerWeights, heads: tuple[tuple[int, int], ...]) -> Float[Tensor, " head"]:
    """The same head by head, with TransformerLens' factored matrices."""
    from transformer_lens import FactoredMatrix

    W_U = w.W_U - w.W_U.mean(-1, keepdim=True)
    scores = []
    for head in heads:
        eigenvalues = (w.W_E @ FactoredMatrix(w.W_V[head], w.W_O[head]) @ W_U).eigenvalues
        scores.append(eigenvalues.sum().real / eigenvalues.abs().sum())
    return torch.stack(scores)


def our_top(table: Factored) -> Entries:
    return top_entries(table, TOP)


def bare(table: Factored) -> None:
    for _ in dense_tiles(table):
        pass


def one_table(size: Size) -> Factored:
    """The full OV circuit of one head."""
    return centred_rows(full_ov(random_weights(size), (0, 0)))


def spread_heads(size: Size) -> tuple[tuple[int, int], ...]:
    """So many heads over all layers."""
    every = [(layer, head) for layer in range(size.n_layers) for head in range(size.n_heads)]
    return tuple(every[:: max(1, len(every) // size.rivals)][: size.rivals])


def random_weights(size: Size) -> TransformerWeights:
    """Gaussian weights of 0.02, as a model has before training."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return 0.02 * torch.randn(*shape, generator=generator)

    heads, inner, outer = (size.n_layers, size.n_heads), (size.d_model, size.d_head), (size.d_head, size.d_model)
    none = torch.zeros(*heads, size.d_head)
    return TransformerWeights(
        W_E=normal(size.d_vocab, size.d_model),
        W_Q=normal(*heads, *inner),
        W_K=normal(*heads, *inner),
        W_V=normal(*heads, *inner),
        W_O=normal(*heads, *outer),
        b_Q=none,
        b_K=none,
        b_V=none,
        b_O=torch.zeros(size.n_layers, size.d_model),
        W_U=normal(size.d_model, size.d_vocab),
        b_U=torch.zeros(size.d_vocab),
        n_ctx=16,
        attn_scale=size.d_head**0.5,
        normalization="none",
        norm_eps=1e-5,
    )


if __name__ == "__main__":
    main()
