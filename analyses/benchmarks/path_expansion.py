"""`python -m analyses.benchmarks.path_expansion`: all paths to the logits, beside forward passes of the same model."""

import argparse
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from analyses.benchmarks.memory import MB, peak_memory
from analyses.benchmarks.timing import ratio, take_turns
from interp.paths import LogitPaths, freeze, logit_paths
from toy_models.config import TransformerConfig
from toy_models.transformer import Transformer

CONFIG = TransformerConfig(n_layers=2, n_heads=8, d_model=128, d_head=16, d_vocab=64, n_ctx=64, biases=False)
BATCH = 64
FORWARD, FREEZE, EXPAND = "forward pass (fused)", "freeze: patterns held", "freeze and expand"


class Work(NamedTuple):
    """A model, sequences, and the token whose logit is read at each position."""

    model: Transformer
    tokens: Int[Tensor, "batch pos"]
    targets: Int[Tensor, "batch pos"]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=15, help="rounds in which the rivals take turns")
    rounds = options.parse_args().rounds
    torch.set_num_threads(1)
    report(rounds)


def report(rounds: int) -> None:
    """Prints times and peak memory of path expansion and of a forward pass, and their ratio."""
    work = make_work()
    paths = expand(work)
    t = take_turns(
        {
            FORWARD: lambda: forward(work),
            FREEZE: lambda: freeze(work.model, work.tokens),
            EXPAND: lambda: expand(work),
        },
        rounds,
        calls=2,
    )
    added = {name: peak_memory(make_work, call).added for name, call in ((FORWARD, forward), (EXPAND, expand))}
    print(
        f"Path expansion of {BATCH} sequences of {CONFIG.n_ctx} tokens: {CONFIG.n_layers} layers of {CONFIG.n_heads} "
        f"heads, d_model {CONFIG.d_model}, no normalisation, float32\n"
        f"{len(paths.paths)} terms of the target's logit at every position; error {paths.error:.1e} of the largest"
    )
    print(f"{'':>24}{'CPU ms':>10}{'fastest':>10}{'peak MB':>10}{'passes':>9}")
    for name, timing in t.items():
        memory = f"{added[name] / MB:>10.0f}" if name in added else f"{'':>10}"
        times = f"{timing.median * 1e3:>10.1f}{timing.fastest * 1e3:>10.1f}"
        print(f"{name:>24}{times}{memory}{ratio(t, name, FORWARD):>9.2f}")
    print(
        f"CPU ms: median and fastest of {rounds} rounds in turn. Peak MB: added to the resident memory of a fresh "
        "process that held the model."
    )


def make_work() -> Work:
    generator = torch.Generator().manual_seed(0)
    model = Transformer(CONFIG, generator).eval()
    tokens, targets = torch.randint(CONFIG.d_vocab, (2, BATCH, CONFIG.n_ctx), generator=generator)
    return Work(model, tokens, targets)


@torch.no_grad()
def forward(work: Work) -> Tensor:
    logits: Tensor = work.model(work.tokens)
    return logits


def expand(work: Work) -> LogitPaths:
    return logit_paths(work.model, work.tokens, work.targets)


if __name__ == "__main__":
    main()
