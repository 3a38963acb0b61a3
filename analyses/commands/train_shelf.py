"""`interp train KIND`: a run folder of a model that reads images or vectors, from the options."""

import shlex
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from analyses import exits
from analyses.arguments import Train, TrainKind
from analyses.arguments.training_shelf import TrainOnImages, TrainSuperposition
from analyses.commands.train_resume import check_alone
from analyses.commands.train_shelf_text import report, summary
from analyses.output import say, show, to_document
from toy_models.errors import InputError
from toy_models.shelf_config import SHELF_MODELS, ShelfModelConfig, ShelfRunConfig, ShelfTrainConfig
from toy_models.shelf_data_config import DigitsConfig, FeaturesConfig, FolderConfig
from toy_models.training import check_trainable, load_shelf_config, train_shelf
from toy_models.training.objectives import Objective, objective_of, split_images

DIGITS_SIZE, FOLDER_SIZE = 8, 32


def run(arguments: TrainKind) -> int:
    """Trains into a new folder, or goes on in one."""
    kind = kind_of(arguments)
    if arguments.resume is not None:
        check_alone(arguments)
        config = load_shelf_config(arguments.resume)
        if config.kind != kind:
            raise InputError(f"{arguments.resume} holds a run of {config.kind}, and {kind} was asked for")
        return go_on(arguments, arguments.resume, config)
    config, objective = run_config(kind, arguments)
    return finish(arguments, arguments.out or Path("runs") / f"{kind}-seed{arguments.seed}", config, objective, False)


def go_on(arguments: Train | TrainKind, folder: Path, config: ShelfRunConfig) -> int:
    """Goes on with the run in a folder."""
    return finish(arguments, folder, config, objective_of(config), True)


def finish(
    arguments: Train | TrainKind, folder: Path, config: ShelfRunConfig, objective: Objective, resume: bool
) -> int:
    """Trains to the end, and shows what came of it."""
    check_trainable(config, objective)
    say(f"training {config.kind}, {config.train.steps} steps, into {folder}; Ctrl-C keeps what was learnt")
    result = train_shelf(config, folder, objective=objective, resume=resume)
    values = summary(result, folder)
    text = f"{report(result, values, folder)}\n\nnext: interp units {shlex.quote(str(folder))}"
    show(arguments, to_document(arguments, values), text)
    return exits.OK


def kind_of(arguments: TrainKind) -> str:
    """The model's name, as it is typed."""
    return next(name for name, cls in SHELF_MODELS.items() if isinstance(arguments.model, cls))


def run_config(kind: str, arguments: TrainKind) -> tuple[ShelfRunConfig, Objective]:
    """The run that the options describe, and its objective; images are read here, which decides sizes and classes."""
    options = asdict(arguments.train) | {"seed": arguments.seed, "device": arguments.device}
    train, cls = ShelfTrainConfig(**options), SHELF_MODELS[kind]
    model = asdict(arguments.model)
    if isinstance(arguments, TrainSuperposition):
        features = FeaturesConfig(**asdict(arguments.features) | {"n_features": arguments.model.n_features})
        config = ShelfRunConfig(made(cls, model), features, train)
        return config, objective_of(config)
    data = data_config(arguments)
    images = split_images(data, arguments.seed)
    n_classes = len(images[0].classes)
    sizes = {"size": data.size, "channels": data.channels, "n_classes": n_classes, "d_in": data.pixels}
    config = ShelfRunConfig(made(cls, model | sizes | {"d_out": n_classes}), data, train)
    if arguments.epochs is not None:
        config = replace(config, train=with_epochs(train, arguments.epochs, len(images[0])))
    return config, objective_of(config, images)


def made(cls: type[ShelfModelConfig], values: dict[str, Any]) -> ShelfModelConfig:
    """The config, of those values that it has."""
    return cls(**{f.name: values[f.name] for f in fields(cls)})


def data_config(arguments: TrainOnImages) -> DigitsConfig | FolderConfig:
    """The digits, or a folder of images; `InputError` for --grey without a folder."""
    held_out, n_train = arguments.held_out, arguments.n_train
    if arguments.data == "digits":
        if arguments.grey:
            raise InputError("--grey belongs to --data FOLDER: the digits are grey already")
        return DigitsConfig(size=chosen(arguments.size, DIGITS_SIZE), held_out=held_out, n_train=n_train)
    return FolderConfig(
        path=arguments.data,
        size=chosen(arguments.size, FOLDER_SIZE),
        channels=1 if arguments.grey else 3,
        held_out=held_out,
        n_train=n_train,
    )


def chosen(value: int | None, default: int) -> int:
    return default if value is None else value


def with_epochs(train: ShelfTrainConfig, epochs: float, n_train: int) -> ShelfTrainConfig:
    """As many steps as `epochs` passes over the training images take."""
    if not 0 < epochs < float("inf"):
        raise InputError(f"--epochs must be above 0, got {epochs}")
    return replace(train, steps=max(1, round(epochs * max(1, n_train // train.batch_size))))
