"""What cannot work is refused when the config is made; configs survive JSON and load no torch."""

import json
import subprocess
import sys

import pytest

from toy_models.config import to_dict
from toy_models.errors import InputError
from toy_models.image_config import ConvNetConfig, ResNetConfig
from toy_models.shelf_config import SHELF_MODELS, ShelfRunConfig, ShelfTrainConfig, shelf_run_config_from_dict
from toy_models.shelf_data_config import DigitsConfig, FeaturesConfig, FolderConfig
from toy_models.training.schedule import learning_rate
from toy_models.vector_config import DropoutAutoencoderConfig, MLPConfig, SuperpositionConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"eval_every": 0}, "eval_every must be at least 1"),
        ({"seed": 2**63}, "seed must be below"),
        ({"learning_rate": 0.0}, "learning_rate must be a positive number, got 0.0"),
        ({"grad_clip": -1.0}, "grad_clip must be a positive number"),
        ({"drop_factor": float("nan")}, "drop_factor must be a positive number, got nan"),
        ({"weight_decay": -0.1}, "weight_decay must be 0 or above"),
        ({"momentum": 1.0}, "momentum must be 0 or above and below 1, got 1.0"),
        ({"beta2": -0.5}, "beta2 must be 0 or above and below 1"),
        ({"final_share": 1.1}, "final_share must lie between 0 and 1"),
        ({"drops": (0.5, 2.0)}, "drops must lie between 0 and 1, got 2.0"),
        ({"nesterov": True}, "needs optimizer sgd and momentum above 0"),
        ({"nesterov": True, "optimizer": "sgd", "momentum": 0.0}, "needs optimizer sgd and momentum above 0"),
    ],
)
def test_training_that_cannot_work_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        ShelfTrainConfig(**values)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (DigitsConfig, {"size": 0}, "size must be at least 1"),
        (DigitsConfig, {"size": 1025}, "size must be at most 1024, got 1025"),
        (DigitsConfig, {"held_out": 1.0}, "held_out must lie between 0 and 1"),
        (DigitsConfig, {"n_train": 1}, "n_train must be at least 2"),
        (FolderConfig, {"channels": 2}, "channels must be 1 for grey images or 3"),
        (FeaturesConfig, {"sparsity": 1.0}, "sparsity must be 0 or above and below 1"),
        (FeaturesConfig, {"importance": 0.0}, "importance must be above 0"),
        (FeaturesConfig, {"n_held_out": 0}, "n_held_out must be at least 1"),
    ],
)
def test_data_that_cannot_be_are_refused(kind, values, message):
    with pytest.raises(InputError, match=message):
        kind(**values)


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        (ConvNetConfig(size=16), DigitsConfig(), "the model has size 16, its data 8; they must be equal"),
        (ResNetConfig(), FolderConfig(size=8), "the model has channels 1, its data 3"),
        (MLPConfig(), DigitsConfig(size=16), "the model has d_in 64, its data 256"),
        (SuperpositionConfig(n_features=7), FeaturesConfig(), "the model has n_features 7, its data 5"),
        (MLPConfig(), FeaturesConfig(), "a superposition model is trained on features and nothing else, got mlp"),
        (SuperpositionConfig(), DigitsConfig(), "a superposition model is trained on features and nothing else"),
    ],
)
def test_a_model_that_cannot_read_the_data_is_refused(model, data, message):
    with pytest.raises(InputError, match=message):
        ShelfRunConfig(model, data)


@pytest.mark.parametrize(
    "config",
    [
        ShelfRunConfig(ConvNetConfig(size=16), DigitsConfig(size=16, n_train=50)),
        ShelfRunConfig(ResNetConfig(depth=8, size=32, channels=3), FolderConfig(path="a", held_out=0.1)),
        ShelfRunConfig(MLPConfig(), train=ShelfTrainConfig(drops=(0.1, 0.9), decay="step")),
        ShelfRunConfig(DropoutAutoencoderConfig()),
        ShelfRunConfig(SuperpositionConfig(), FeaturesConfig(sparsity=0.5)),
    ],
)
def test_a_run_config_comes_back_from_json(config):
    assert shelf_run_config_from_dict(json.loads(json.dumps(to_dict(config)))) == config
    assert isinstance(config.model, SHELF_MODELS[config.kind])


def test_a_dict_that_is_no_run_config_is_refused():
    values = to_dict(ShelfRunConfig(MLPConfig()))
    with pytest.raises(InputError, match="must hold data, kind, model, train"):
        shelf_run_config_from_dict({k: v for k, v in values.items() if k != "data"})
    with pytest.raises(
        InputError, match="kind must be one of convnet, resnet, mlp, dropout-ae, superposition, got 'vit'"
    ):
        shelf_run_config_from_dict({**values, "kind": "vit"})
    with pytest.raises(InputError, match="ConvNetConfig has no field 'd_in'"):
        shelf_run_config_from_dict({**values, "kind": "convnet"})


def test_step_decay_drops_after_the_shares_of_the_steps_that_are_named():
    config = ShelfTrainConfig(
        steps=8, learning_rate=1.0, decay="step", drops=(0.5, 0.75), drop_factor=0.1, warmup_steps=2
    )
    rates = [learning_rate(done, config) for done in range(8)]
    assert rates == pytest.approx([0.5, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_no_torch_is_loaded():
    code = "import sys, toy_models.shelf_config, analyses.arguments; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"
