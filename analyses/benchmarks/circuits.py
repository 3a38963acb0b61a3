"""`python -m analyses.benchmarks.circuits`: what circuits cost at size, time and memory beside TransformerLens."""

import argparse

import torch

from analyses.benchmarks import composition, large_circuits, path_expansion


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=7, help="calls of which the median time is taken")
    options.add_argument("--quick", action="store_true", help="a smaller model, to see that it runs")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    composition.report(chosen.rounds, chosen.quick)
    print()
    large_circuits.report(chosen.rounds, chosen.quick)
    print()
    path_expansion.report(chosen.rounds)


if __name__ == "__main__":
    main()
