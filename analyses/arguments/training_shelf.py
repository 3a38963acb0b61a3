"""The options of `interp train KIND`, with the models that read images or vectors; no torch import."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from analyses.arguments.common import Common, Folder, Real, Whole
from toy_models.image_config import ConvNetConfig, ResNetConfig
from toy_models.shelf_config import ShelfTrainConfig
from toy_models.shelf_data_config import FeaturesConfig
from toy_models.vector_config import DropoutAutoencoderConfig, MLPConfig, SuperpositionConfig

Hidden = Annotated[int, tyro.conf.Suppress]


@dataclass(frozen=True)
class ConvNetOptions(ConvNetConfig):
    """The convolutional net; size, channels and classes are those of the images."""

    size: Hidden = 8
    channels: Hidden = 1
    n_classes: Hidden = 10


@dataclass(frozen=True)
class ResNetOptions(ResNetConfig):
    """The residual net, or with --no-residual the plain one; size, channels and classes are those of the images."""

    size: Hidden = 8
    channels: Hidden = 1
    n_classes: Hidden = 10


@dataclass(frozen=True)
class MLPOptions(MLPConfig):
    """The multi-layer perceptron; it reads the pixels of the images, and tells their classes apart."""

    d_in: Hidden = 64
    d_out: Hidden = 10


@dataclass(frozen=True)
class DropoutAutoencoderOptions(DropoutAutoencoderConfig):
    """The autoencoder, whose hidden units are left out at random in training; it gives back the pixels it reads."""

    d_in: Hidden = 64


@dataclass(frozen=True)
class SuperpositionOptions(SuperpositionConfig):
    """The toy model of superposition: more features than dimensions."""


@dataclass(frozen=True)
class FeaturesOptions(FeaturesConfig):
    """The features, each 0 most of the time, else uniform in [0, 1]."""

    kind: Annotated[Literal["features"], tyro.conf.Suppress] = "features"
    n_features: Hidden = 5


@dataclass(frozen=True)
class ShelfTrainOptions(ShelfTrainConfig):
    """SGD with momentum, or Adam, with weight decay of either kind; when to measure and to save."""

    seed: Hidden = 0
    device: Annotated[Literal["auto", "cpu", "cuda"], tyro.conf.Suppress] = "cpu"


Training = Annotated[ShelfTrainOptions, tyro.conf.OmitArgPrefixes]


@dataclass(frozen=True, kw_only=True)
class TrainShelf(Common):
    """What all of them have."""

    resume: Folder = None
    """Go on with the run in this folder; every other option is then taken from it."""
    out: Folder = None
    """Folder of the run, which must not hold one yet; runs/KIND-seedN if left out."""
    seed: int = 0
    """Decides initial weights, the order of the data, dropout and what is held out, each by a generator of its own."""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """Where to train; auto is a GPU where there is one."""

    @classmethod
    def command(cls) -> str:
        return "train"


@dataclass(frozen=True, kw_only=True)
class TrainOnImages(TrainShelf):
    """What those have that read images."""

    data: str = "digits"
    """digits, the 1,797 that come with scikit-learn, or a folder with a sub-folder of images for each class."""
    size: Whole = None
    """Height and width that the images are brought to; 8 for digits and 32 for a folder if left out."""
    grey: bool = False
    """Read a folder's images without their colours."""
    held_out: float = 0.2
    """Share of each class that is not trained on."""
    n_train: Whole = None
    """Train on so many images only."""
    epochs: Real = None
    """Passes over the training images, in place of --steps."""


@dataclass(frozen=True, kw_only=True)
class TrainConvNet(TrainOnImages):
    """Train a convolutional net to tell images apart."""

    model: Annotated[ConvNetOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=ConvNetOptions)
    train: Training = field(default_factory=ShelfTrainOptions)


@dataclass(frozen=True, kw_only=True)
class TrainResNet(TrainOnImages):
    """Train a residual net, or its plain counterpart, to tell images apart."""

    model: Annotated[ResNetOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=ResNetOptions)
    train: Training = field(
        default_factory=lambda: ShelfTrainOptions(
            steps=200, optimizer="sgd", learning_rate=0.1, weight_decay=1e-4, decoupled=False, decay="cosine"
        )
    )


@dataclass(frozen=True, kw_only=True)
class TrainMLP(TrainOnImages):
    """Train a multi-layer perceptron to tell images apart."""

    model: Annotated[MLPOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=MLPOptions)
    train: Training = field(default_factory=ShelfTrainOptions)


@dataclass(frozen=True, kw_only=True)
class TrainDropoutAE(TrainOnImages):
    """Train an autoencoder with dropout to give back the images it reads."""

    model: Annotated[DropoutAutoencoderOptions, tyro.conf.OmitArgPrefixes] = field(
        default_factory=DropoutAutoencoderOptions
    )
    train: Training = field(default_factory=lambda: ShelfTrainOptions(steps=1000))


@dataclass(frozen=True, kw_only=True)
class TrainSuperposition(TrainShelf):
    """Train the toy model of superposition to give back sparse features."""

    model: Annotated[SuperpositionOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=SuperpositionOptions)
    features: Annotated[FeaturesOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=FeaturesOptions)
    train: Training = field(
        default_factory=lambda: ShelfTrainOptions(
            steps=5000, batch_size=256, learning_rate=0.01, decay="cosine", log_every=50, eval_every=500
        )
    )


TrainKind = TrainConvNet | TrainResNet | TrainMLP | TrainDropoutAE | TrainSuperposition
TRAIN_KINDS: dict[str, type[TrainKind]] = {
    "convnet": TrainConvNet,
    "resnet": TrainResNet,
    "mlp": TrainMLP,
    "dropout-ae": TrainDropoutAE,
    "superposition": TrainSuperposition,
}
"""By the word after `interp train`, as in `toy_models.shelf_config.SHELF_MODELS`."""
