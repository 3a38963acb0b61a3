"""`python -m analyses.emergence`: how often, and when, induction forms with the default settings, over fresh seeds."""

import argparse
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

import torch
from tqdm import tqdm

from interp.stats import Estimate, clopper_pearson
from toy_models.tasks import make_task
from toy_models.train_config import RunConfig
from toy_models.training import EMERGED, measure_target, train_in_memory

STOP = 0.99 * (1 - EMERGED)
"""Share of the gap that is left open when a run may stop."""


@dataclass(frozen=True)
class Emergence:
    """What became of each seed: the step at which induction was first seen, None for never within the budget."""

    steps: dict[int, int | None]
    budget: int
    share: Estimate

    @property
    def ordered(self) -> list[int]:
        """Steps of the seeds in which it formed, earliest first."""
        return sorted(step for step in self.steps.values() if step is not None)

    def __str__(self) -> str:
        formed, s = self.ordered, self.share
        spread = f"at step {formed[0]} to {formed[-1]}, median {formed[len(formed) // 2]}" if formed else "never"
        return (
            f"{len(formed)} of {len(self.steps)} seeds ({s.mean:.1%}, {s.level:.0%} interval {s.low:.1%} to "
            f"{s.high:.1%}, {s.method}) closed {EMERGED:.0%} of the gap within {self.budget} steps: {spread}"
        )


def measure_emergence(config: RunConfig, seeds: Iterable[int], progress: bool = True) -> Emergence:
    """Train `config` once for each seed, up to shortly after induction has formed or to the end of its budget.

    Formed means that 90 % of the gap between ln V and the Bayes-optimal loss on predictable tokens is closed, on the
    run's held-out sample. A run stops when a little more is closed, which changes nothing before that.
    """
    task = make_task(config.task)
    target = measure_target(task, n_order_free=0)
    seeds = list(seeds)
    found: dict[int, int | None] = {}
    for seed in tqdm(seeds, disable=not progress, unit="seed"):
        margin = None if target.optimum is None else STOP * (target.chance - target.optimum.mean)
        train = replace(config.train, seed=seed, stop_margin=margin)
        found[seed] = train_in_memory(replace(config, train=train), task=task, target=target).emerged_step
    formed = sum(step is not None for step in found.values())
    return Emergence(found, config.train.steps, clopper_pearson(formed, len(seeds)))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, default=60, help="how many (default 60)")
    options.add_argument("--first", type=int, default=1000, help="the first seed (default 1000)")
    options.add_argument("--json", action="store_true", help="print JSON")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    found = measure_emergence(RunConfig(), range(chosen.first, chosen.first + chosen.seeds))
    print(json.dumps(asdict(found)) if chosen.json else found)


if __name__ == "__main__":
    main()
