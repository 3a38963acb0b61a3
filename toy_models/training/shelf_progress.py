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
        if "eval_loss" in record:
            self.measured = record
        super().show(record)

    def numbers(self, record: Record) -> list[str]:
        parts = [f"loss {record['loss']:.3g}"] if "loss" in record else []
        if not self.measured:
            return parts
        when = "" if self.measured["step"] == record["step"] else f" at step {self.measured['step']}"
        if "eval_accuracy" in self.measured:
            found, chance = f"{self.measured['eval_accuracy']:.1%}", f"{self.chance['accuracy']:.1%}"
            return [*parts, f"held-out accuracy {found}{when} (chance {chance})"]
        return [*parts, f"held-out {self.measured['eval_loss']:.3g}{when} (constant {self.chance['loss']:.3g})"]
