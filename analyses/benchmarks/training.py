"""`python -m analyses.benchmarks.training`: training steps, recording, start-up, each beside its rival."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from analyses.benchmarks.plain import PlainTransformer, bridge_of, next_token_loss, training_step
from analyses.benchmarks.timing import Timing, ratio, take_turns
from interp import record
from toy_models.checkpoint import save_checkpoint
from toy_models.config import TransformerConfig
from toy_models.train_config import RunConfig
from toy_models.training import train
from toy_models.transformer import Transformer

WIDTHS = {32: (16, 32), 64: (32, 32), 128: (64, 64)}
"""d_model: (batch, context), the sizes at which TransformerLens was measured before."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=15, help="rounds in which the rivals take turns")
    rounds = options.parse_args().rounds
    torch.set_num_threads(1)
    steps(rounds)
    recording(rounds)
    start_up()


def steps(rounds: int) -> None:
    print("Training step, 2 layers of 4 heads, LN, standard positions, fused AdamW and clipping for all (CPU ms)")
    print(f"{'d_model':>8}{'batch x ctx':>13}{'ours':>8}{'plain':>8}{'bridge':>8}{'bridge/ours':>13}{'ours/plain':>12}")
    for width, (batch, context) in WIDTHS.items():
        t = time_steps(width, batch, context, rounds)
        print(
            f"{width:>8}{f'{batch} x {context}':>13}"
            + "".join(f"{t[name].median * 1e3:>8.2f}" for name in ("ours", "plain", "bridge"))
            + f"{ratio(t, 'bridge', 'ours'):>12.2f}x{ratio(t, 'ours', 'plain'):>11.2f}x"
        )


def time_steps(width: int, batch: int, context: int, rounds: int) -> dict[str, Timing]:
    config = TransformerConfig(
        n_layers=2, n_heads=4, d_model=width, d_head=width // 4, d_vocab=64, n_ctx=context, normalization="LN"
    )
    tokens = torch.randint(0, 64, (batch, context), generator=torch.Generator().manual_seed(0))
    ours, plain, bridge = Transformer(config), PlainTransformer(config), bridge_of(config)
    return take_turns(
        {
            "ours": training_step(ours, lambda t: next_token_loss(ours(t), t), tokens),
            "plain": training_step(plain, lambda t: next_token_loss(plain(t), t), tokens),
            "bridge": training_step(bridge, lambda t: bridge(t, return_type="loss"), tokens),
        },
        rounds,
    )


@torch.no_grad()
def recording(rounds: int) -> None:
    config = TransformerConfig(n_heads=4, d_model=128, d_head=32, normalization="LN")
    tokens = torch.randint(0, 64, (64, 64), generator=torch.Generator().manual_seed(0))
    ours, bridge = Transformer(config).eval(), bridge_of(config).eval()
    explicit = Transformer(config).eval()
    for block in explicit.blocks:
        block.attn.hook_pattern.register_forward_hook(lambda module, inputs, output: None)
    t = take_turns(
        {
            "forward, fused": lambda: ours(tokens),
            "forward, explicit pattern": lambda: explicit(tokens),
            "record everything": lambda: record(ours, tokens),
            "bridge forward": lambda: bridge(tokens),
            "bridge run_with_cache": lambda: bridge.run_with_cache(tokens),
        },
        rounds,
    )
    print("\nRecording, 2 layers of 4 heads, d_model 128, batch 64 x context 64 (CPU ms)")
    for name, timing in t.items():
        print(f"{name:>28}{timing.median * 1e3:>9.2f}")
    print(f"record everything / explicit forward: {ratio(t, 'record everything', 'forward, explicit pattern'):.2f}x")
    print(f"run_with_cache / bridge forward:      {ratio(t, 'bridge run_with_cache', 'bridge forward'):.2f}x")


def start_up(runs: int = 3) -> None:
    """Wall and CPU seconds of whole commands, each in a process of its own.

    The audit of a trained model measures more: what feeds each induction head, and a page about heads with roles.
    """
    print(f"\nStart-up (seconds on one thread, fastest of {runs})")
    print(f"{'':>48}{'wall':>8}{'CPU':>8}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        save_checkpoint(root / "untrained", Transformer(TransformerConfig(), torch.Generator().manual_seed(0)))
        train(RunConfig(), root / "trained", progress=False)
        commands = {
            "interp --help": ["--help"],
            "interp audit (untrained default, with report)": ["audit", str(root / "untrained"), "--out", str(root)],
            "interp audit (trained default, with report)": ["audit", str(root / "trained")],
        }
        for name, arguments in commands.items():
            wall, cpu = (min(seconds) for seconds in zip(*(process(arguments) for _ in range(runs)), strict=True))
            print(f"{name:>48}{wall:>8.2f}{cpu:>8.2f}")


def process(arguments: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of `interp` with these arguments, import included."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start, before = time.perf_counter(), os.times()
    command = [sys.executable, "-m", "analyses.cli", *arguments]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - start, cpu


if __name__ == "__main__":
    main()
