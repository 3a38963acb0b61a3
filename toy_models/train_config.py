"""How a model is trained: a frozen dataclass that refuses what cannot work, and a run's three configs together.

No torch import, so that a command line can be generated from these classes without loading torch.
"""

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from toy_models.config import TransformerConfig, check_field_types, from_dict
from toy_models.errors import InputError
from toy_models.task_config import RepeatedTokensConfig, TaskConfig, task_config_from_dict


@dataclass(frozen=True)
class TrainConfig:
    """AdamW with warm-up, decay and clipping; when to measure, to save and to stop.

    Raises `InputError` when made, if the values cannot work.
    """

    steps: int = 1000
    """Most updates of the weights."""
    batch_size: int = 64
    """Sequences in each update."""
    learning_rate: float = 8e-3
    """Highest learning rate, reached after warm-up."""
    warmup_steps: int = 50
    """The learning rate grows linearly over this many first updates."""
    decay: Literal["cosine", "linear", "none"] = "cosine"
    """How the learning rate falls after warm-up."""
    final_share: float = 0.1
    """Share of the highest learning rate that the last update is made with; not used without decay."""
    weight_decay: float = 0.01
    """Pull towards 0 on matrices (names in W_); biases, gains and smearing are left alone."""
    grad_clip: float | None = 1.0
    """Longest gradient (Euclidean norm over all parameters), longer ones are scaled down; None for no limit."""
    beta1: float = 0.9
    """Memory of the gradient's running mean."""
    beta2: float = 0.99
    """Memory of the gradient's running mean square."""
    seed: int = 0
    """Decides initial weights, training data and the held-out sample, each through a generator of its own."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto is a GPU where there is one."""
    log_every: int = 10
    """Steps between two lines of metrics."""
    eval_every: int = 25
    """Steps between two measurements on the held-out sample."""
    eval_sequences: int = 128
    """Size of the held-out sample, which stays the same for the whole run."""
    stop_margin: float | None = None
    """Stop when the held-out loss on predictable positions is within this many nats of the optimum; None for never."""
    checkpoint_every: int = 500
    """Steps between two regular checkpoints; 0 for none. The first and the last state are always kept."""
    log_spaced_checkpoints: bool = True
    """Whether to keep steps 1, 2, 4, 8 and so on as well."""

    def __post_init__(self) -> None:
        check_field_types(self)
        lowest = {"steps": 1, "batch_size": 1, "warmup_steps": 0, "seed": 0}
        lowest |= {"log_every": 1, "eval_every": 1, "eval_sequences": 1, "checkpoint_every": 0}
        for name, least in lowest.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.seed >= 2**63:
            raise InputError(f"seed must be below 2**63, got {self.seed}")
        for name in ("learning_rate", "grad_clip", "stop_margin"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} must be a positive number, got {value}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise InputError(f"weight_decay must be 0 or above, got {self.weight_decay}")
        if not 0 <= self.final_share <= 1:
            raise InputError(f"final_share must lie between 0 and 1, got {self.final_share}")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must be 0 or above and below 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a training run: on one machine the same RunConfig gives the same weights.

    Raises `InputError` when made, if the model cannot read the task's sequences.
    """

    model: TransformerConfig = field(default_factory=TransformerConfig)
    task: TaskConfig = field(default_factory=RepeatedTokensConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        d_vocab = getattr(self.task, "d_vocab", self.model.d_vocab)  # of real text: known when it has been read
        check_model_fits(self.model, d_vocab, self.task.n_ctx)


def check_model_fits(model: TransformerConfig, d_vocab: int, n_ctx: int) -> None:
    """`InputError` unless a model of this config can be trained on sequences of n_ctx out of d_vocab tokens."""
    if model.d_vocab != d_vocab:
        raise InputError(f"the model has d_vocab {model.d_vocab}, the task {d_vocab}; they must be equal")
    if model.n_ctx < n_ctx:
        raise InputError(f"the task's sequences have {n_ctx} tokens, the model's n_ctx is only {model.n_ctx}")
    if model.attention_dir != "causal":
        raise InputError(
            f"training predicts the next token, which attention_dir={model.attention_dir!r} lets the model see; "
            "use 'causal'"
        )
    if n_ctx < 2:
        raise InputError(f"sequences need at least 2 tokens, so that there is a next one, got n_ctx {n_ctx}")


def run_config_from_dict(values: dict[str, Any]) -> RunConfig:
    """The RunConfig that `toy_models.config.to_dict` wrote; `InputError` if it cannot be one."""
    wanted = sorted(f.name for f in fields(RunConfig))
    if not isinstance(values, dict) or sorted(values) != wanted:
        raise InputError(f"a run's config must hold {', '.join(wanted)}, got {values!r:.200}")
    return RunConfig(
        model=from_dict(TransformerConfig, values["model"]),
        task=task_config_from_dict(values["task"]),
        train=from_dict(TrainConfig, values["train"]),
    )
