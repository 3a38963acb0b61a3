"""What happens at which step: the learning rate, measurements, checkpoints."""

import math

from toy_models.shelf_config import ShelfTrainConfig
from toy_models.train_config import TrainConfig

Schedule = TrainConfig | ShelfTrainConfig


def learning_rate(done: int, config: Schedule) -> float:
    """Learning rate of the update made after `done` updates.

    Linear warm-up, lr (done + 1) / warmup; then lr times a share that falls from 1 to final_share s over the
    remaining updates, with p from 0 to 1: s + (1 - s)(1 + cos(pi p)) / 2 or s + (1 - s)(1 - p).
    With step decay that share is drop_factor ** (how many `drops`, shares of all steps, are behind).
    """
    if done < config.warmup_steps:
        return config.learning_rate * (done + 1) / config.warmup_steps
    if config.decay == "none":
        return config.learning_rate
    if isinstance(config, ShelfTrainConfig) and config.decay == "step":
        behind = sum(done >= share * config.steps for share in config.drops)
        return config.learning_rate * config.drop_factor**behind
    p = min(1.0, (done - config.warmup_steps) / max(1, config.steps - 1 - config.warmup_steps))
    fallen = (1 + math.cos(math.pi * p)) / 2 if config.decay == "cosine" else 1 - p
    return config.learning_rate * (config.final_share + (1 - config.final_share) * fallen)


def is_logged(step: int, config: Schedule) -> bool:
    """Whether a line of metrics is written after `step` updates; always when the held-out sample is measured."""
    return step == 1 or step % config.log_every == 0 or is_evaluated(step, config)


def is_evaluated(step: int, config: Schedule) -> bool:
    """Whether the held-out sample is measured after `step` updates."""
    return step % config.eval_every == 0 or step == config.steps


def is_kept(step: int, config: Schedule) -> bool:
    """Whether a checkpoint is kept after `step` updates: first, last, regular, and powers of two if asked for."""
    regular = config.checkpoint_every > 0 and step % config.checkpoint_every == 0
    power_of_two = config.log_spaced_checkpoints and step & (step - 1) == 0
    return regular or power_of_two or step in (0, config.steps)
