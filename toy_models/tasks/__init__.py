"""Token sequences whose best possible loss is known."""

from toy_models.task_config import MarkovConfig, RepeatedTokensConfig, SkipTrigramsConfig, TaskConfig
from toy_models.tasks.base import Batch, Bound, LossEstimate, Task
from toy_models.tasks.markov import Markov
from toy_models.tasks.repeated import RepeatedTokens
from toy_models.tasks.skip_trigrams import SkipTrigrams

__all__ = ["Batch", "Bound", "LossEstimate", "Markov", "RepeatedTokens", "SkipTrigrams", "Task", "make_task"]


def make_task(config: TaskConfig) -> Task:
    """The task a config describes; text is read from its files here, the others cost nothing to make."""
    if isinstance(config, RepeatedTokensConfig):
        return RepeatedTokens(config)
    if isinstance(config, MarkovConfig):
        return Markov(config)
    if isinstance(config, SkipTrigramsConfig):
        return SkipTrigrams(config)
    from toy_models.text import TextTask

    return TextTask(config)
