"""How a model of the shelf is trained: frozen dataclasses that refuse what cannot work, and a run's three together.

The shelf holds the models that read images or vectors. No torch import, so that a command line can be generated from
these classes without loading torch.
"""

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from toy_models.config import check_field_types, from_dict
from toy_models.errors import InputError
from toy_models.image_config import ConvNetConfig, ResNetConfig
from toy_models.shelf_data_config import DigitsConfig, FeaturesConfig, FolderConfig
from toy_models.vector_config import DropoutAutoencoderConfig, MLPConfig, SuperpositionConfig, check_not_negative

ShelfModelConfig = ConvNetConfig | ResNetConfig | MLPConfig | DropoutAutoencoderConfig | SuperpositionConfig
ShelfDataConfig = DigitsConfig | FolderConfig | FeaturesConfig
SHELF_MODELS: dict[str, type[ShelfModelConfig]] = {
    "convnet": ConvNetConfig,
    "resnet": ResNetConfig,
    "mlp": MLPConfig,
    "dropout-ae": DropoutAutoencoderConfig,
    "superposition": SuperpositionConfig,
}
SHELF_DATA: dict[str, type[ShelfDataConfig]] = {
    "digits": DigitsConfig,
    "folder": FolderConfig,
    "features": FeaturesConfig,
}


@dataclass(frozen=True)
class ShelfTrainConfig:
    """SGD with momentum, or Adam, with weight decay of either kind; when to measure and to save.

    Raises `InputError` when made, if the values cannot work.
    """

    steps: int = 500
    """Updates of the weights."""
    batch_size: int = 64
    """Examples in each update; an epoch leaves out what is left over when all full batches have been drawn."""
    optimizer: Literal["sgd", "adam"] = "adam"
    """sgd: v <- momentum v + gradient, step = rate v. adam: Kingma and Ba 2015."""
    learning_rate: float = 3e-3
    """Highest learning rate, reached after warm-up."""
    momentum: float = 0.9
    """Memory of SGD's velocity; 0 for plain SGD. Not used by adam."""
    nesterov: bool = False
    """Whether SGD looks ahead: step = rate (gradient + momentum v)."""
    beta1: float = 0.9
    """Memory of Adam's running mean of the gradient."""
    beta2: float = 0.999
    """Memory of Adam's running mean square of the gradient."""
    weight_decay: float = 0.0
    """Pull towards 0."""
    decoupled: bool = True
    """Whether the pull shrinks the weights beside the update, w <- w - rate decay w (Loshchilov and Hutter 2019), or
    is added to the gradient (L2)."""
    decay_all: bool = False
    """Whether biases and the gains of normalisation, which have one axis, are pulled too, or weights alone."""
    warmup_steps: int = 0
    """The learning rate grows linearly over this many first updates."""
    decay: Literal["cosine", "linear", "step", "none"] = "none"
    """How the learning rate falls after warm-up."""
    final_share: float = 0.0
    """Share of the highest learning rate that cosine and linear decay end with."""
    drops: tuple[float, ...] = (0.5, 0.75)
    """With step decay: after which shares of the steps the learning rate drops."""
    drop_factor: float = 0.1
    """With step decay: what the learning rate is multiplied by at each drop."""
    grad_clip: float | None = None
    """Longest gradient (Euclidean norm over all parameters), longer ones are scaled down; None for no limit."""
    seed: int = 0
    """Decides initial weights, the order of the data, dropout and what is held out, each by a generator of its own."""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """auto is a GPU where there is one."""
    log_every: int = 10
    """Steps between two lines of metrics."""
    eval_every: int = 100
    """Steps between two measurements on held-out examples."""
    checkpoint_every: int = 0
    """Steps between two regular checkpoints; 0 for none. The first and the last state are always kept."""
    log_spaced_checkpoints: bool = False
    """Whether to keep steps 1, 2, 4, 8 and so on as well."""

    def __post_init__(self) -> None:
        check_field_types(self)
        lowest = {"steps": 1, "batch_size": 1, "warmup_steps": 0, "seed": 0}
        lowest |= {"log_every": 1, "eval_every": 1, "checkpoint_every": 0}
        for name, least in lowest.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.seed >= 2**63:
            raise InputError(f"seed must be below 2**63, got {self.seed}")
        for name in ("learning_rate", "grad_clip", "drop_factor"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} must be a positive number, got {value}")
        check_not_negative(self, "weight_decay")
        for name in ("momentum", "beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must be 0 or above and below 1, got {getattr(self, name)}")
        for name, value in (("final_share", self.final_share), *(("drops", share) for share in self.drops)):
            if not 0 <= value <= 1:
                raise InputError(f"{name} must lie between 0 and 1, got {value}")
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise InputError("nesterov looks ahead along SGD's momentum: it needs optimizer sgd and momentum above 0")


@dataclass(frozen=True)
class ShelfRunConfig:
    """Everything that decides a run: on one machine the same ShelfRunConfig gives the same weights.

    `kind` is the model's name, as in `interp train convnet`. Raises `InputError` when made, if the model cannot read
    the data.
    """

    model: ShelfModelConfig
    data: ShelfDataConfig = field(default_factory=DigitsConfig)
    train: ShelfTrainConfig = field(default_factory=ShelfTrainConfig)
    kind: str = field(init=False)

    def __post_init__(self) -> None:
        kinds = {cls: name for name, cls in SHELF_MODELS.items()}
        if type(self.model) not in kinds:
            raise InputError(f"the model must be one of {', '.join(SHELF_MODELS)}, got {type(self.model).__name__}")
        object.__setattr__(self, "kind", kinds[type(self.model)])
        check_shelf_model_fits(self.kind, self.model, self.data)


def check_shelf_model_fits(kind: str, model: ShelfModelConfig, data: ShelfDataConfig) -> None:
    """`InputError` naming the first size in which the model and its data differ (classes of a folder: when read)."""
    if isinstance(model, SuperpositionConfig) or isinstance(data, FeaturesConfig):
        if not (isinstance(model, SuperpositionConfig) and isinstance(data, FeaturesConfig)):
            raise InputError(f"a superposition model is trained on features and nothing else, got {kind} and {data!r}")
        wanted = {"n_features": (model.n_features, data.n_features)}
    elif isinstance(model, ConvNetConfig | ResNetConfig):
        wanted = {"size": (model.size, data.size), "channels": (model.channels, data.channels)}
    else:
        wanted = {"d_in": (model.d_in, data.pixels)}
    for name, (ours, theirs) in wanted.items():
        if ours != theirs:
            raise InputError(f"the model has {name} {ours}, its data {theirs}; they must be equal")


def shelf_run_config_from_dict(values: dict[str, Any]) -> ShelfRunConfig:
    """The ShelfRunConfig that `toy_models.config.to_dict` wrote; `InputError` if it cannot be one."""
    wanted = sorted(f.name for f in fields(ShelfRunConfig))
    if not isinstance(values, dict) or sorted(values) != wanted:
        raise InputError(f"a run's config must hold {', '.join(wanted)}, got {values!r:.200}")
    if values["kind"] not in SHELF_MODELS:
        raise InputError(f"kind must be one of {', '.join(SHELF_MODELS)}, got {values['kind']!r}")
    data = values["data"]
    if not isinstance(data, dict) or data.get("kind") not in SHELF_DATA:
        raise InputError(f"data must name its kind, one of {', '.join(SHELF_DATA)}, got {data!r:.200}")
    return ShelfRunConfig(
        model=from_dict(SHELF_MODELS[values["kind"]], values["model"]),
        data=from_dict(SHELF_DATA[data["kind"]], data),
        train=from_dict(ShelfTrainConfig, values["train"]),
    )
