"""How far the training of a model of the shelf is."""

from toy_models.training.metrics_log import Record
from toy_models.training.progress import BaseProgress


class ShelfProgress(BaseProgress):
    """Loss, accuracy, and the same on held-out examples when last measured, beside what chance gives."""

    read = "examples"

    def __init__(self, steps: int, chance: dict[str, float], shown: bool = True):
        super().__init__(steps, shown)
        self.chance = chance
        self.measured: Record = {}

    def show(self, record: Record) -> None:
        self.measured |= {name: value for name, value in record.items() if name.startswith("eval_")}
        super().show(record)

    def numbers(self, record: Record) -> list[str]:
        parts = [f"loss {record['loss']:.4g}"] if "loss" in record else []
        if "eval_accuracy" in self.measured:
            parts.append(
                f"held-out accuracy {self.measured['eval_accuracy']:.1%} (chance {self.chance['accuracy']:.1%})"
            )
        elif "eval_loss" in self.measured:
            parts.append(f"held-out {self.measured['eval_loss']:.4g} (constant {self.chance['loss']:.4g})")
        return parts
