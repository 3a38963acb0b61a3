"""How low the loss can get on a task, and what counts as having learnt it."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from toy_models.config import from_dict
from toy_models.tasks.base import Bound, LossEstimate, Task
from toy_models.training.seeds import generator_for

EMERGED = 0.9
"""Share of the gap between chance and the optimum that is closed when a behaviour has emerged."""


@dataclass(frozen=True)
class Target:
    """Losses on predictable positions, in nats, that a model is measured against; None where nobody knows them."""

    chance: float
    optimum: LossEstimate | None
    order_free: Bound | None = None

    def gap_closed(self, loss: float) -> float | None:
        """(chance - loss) / (chance - optimum): 0 at chance, 1 at the optimum."""
        return None if self.optimum is None else (self.chance - loss) / (self.chance - self.optimum.mean)

    def is_emerged(self, loss: float) -> bool:
        """Whether 90 % of the gap between chance and the optimum is closed."""
        closed = self.gap_closed(loss)
        return closed is not None and closed >= EMERGED

    def is_within(self, margin: float | None, loss: float) -> bool:
        """Whether a loss is at most `margin` nats above the optimum."""
        return margin is not None and self.optimum is not None and loss <= self.optimum.mean + margin

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Target":
        """The target that `to_dict` wrote."""
        bound = values["order_free"]
        if bound is not None:
            lower = None if bound["lower"] is None else from_dict(LossEstimate, bound["lower"])
            bound = Bound(lower, from_dict(LossEstimate, bound["upper"]), bound["reader"])
        optimum = None if values["optimum"] is None else from_dict(LossEstimate, values["optimum"])
        return cls(values["chance"], optimum, bound)


def measure_target(task: Task, n_sequences: int = 4096, n_order_free: int = 256) -> Target:
    """A task's losses, from so many draws each; the same for every run on the task, whatever its seed.

    The order-free loss, which takes far longer for each draw, is left out when `n_order_free` is 0.
    """
    optimum = task.optimal_loss(n_sequences, generator_for(0, "optimum"))
    order_free = task.order_free_loss(n_order_free, generator_for(0, "order-free")) if n_order_free else None
    return Target(task.chance_loss, optimum, order_free)
