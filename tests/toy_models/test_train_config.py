"""What cannot work is refused when the config is made; configs survive JSON."""

import json
import subprocess
import sys

import pytest

from toy_models.config import TransformerConfig, to_dict
from toy_models.errors import InputError
from toy_models.task_config import MarkovConfig, RepeatedTokensConfig, TextConfig
from toy_models.train_config import RunConfig, TrainConfig, run_config_from_dict


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"batch_size": -3}, "batch_size must be at least 1, got -3"),
        ({"warmup_steps": -1}, "warmup_steps must be at least 0, got -1"),
        ({"log_every": 0}, "log_every must be at least 1"),
        ({"eval_every": 0}, "eval_every must be at least 1"),
        ({"eval_sequences": 0}, "eval_sequences must be at least 1"),
        ({"checkpoint_every": -1}, "checkpoint_every must be at least 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"seed": 2**63}, "seed must be below"),
        ({"learning_rate": 0.0}, "learning_rate must be a positive number, got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a positive number, got nan"),
        ({"grad_clip": 0.0}, "grad_clip must be a positive number, got 0.0"),
        ({"stop_margin": float("inf")}, "stop_margin must be a positive number, got inf"),
        ({"weight_decay": -0.1}, "weight_decay must be 0 or above, got -0.1"),
        ({"final_share": 1.1}, "final_share must lie between 0 and 1, got 1.1"),
        ({"beta1": 1.0}, "beta1 must be 0 or above and below 1, got 1.0"),
        ({"beta2": -0.5}, "beta2 must be 0 or above and below 1, got -0.5"),
    ],
)
def test_values_that_cannot_work_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        TrainConfig(**values)


def test_the_ends_of_the_ranges_work():
    shortest = TrainConfig(steps=1, warmup_steps=0, checkpoint_every=0, seed=2**63 - 1, final_share=0.0, grad_clip=None)
    assert (shortest.steps, shortest.seed, shortest.grad_clip) == (1, 2**63 - 1, None)
    loosest = TrainConfig(final_share=1.0, weight_decay=0.0, beta1=0.0, beta2=0.0, stop_margin=1e-9)
    assert (loosest.final_share, loosest.stop_margin) == (1.0, 1e-9)


def test_a_model_that_cannot_read_the_task_is_refused():
    with pytest.raises(InputError, match="the model has d_vocab 64, the task 12; they must be equal"):
        RunConfig(task=RepeatedTokensConfig(d_vocab=12))
    with pytest.raises(InputError, match="the task's sequences have 64 tokens, the model's n_ctx is only 63"):
        RunConfig(model=TransformerConfig(n_ctx=63))
    RunConfig(model=TransformerConfig(n_ctx=100))


def test_the_vocabulary_of_text_is_not_known_before_it_is_read():
    assert RunConfig(TransformerConfig(d_vocab=1024, n_ctx=128), TextConfig()).model.d_vocab == 1024


@pytest.mark.parametrize(
    "config",
    [
        RunConfig(),
        RunConfig(TransformerConfig(d_vocab=9), MarkovConfig(n_states=8), TrainConfig(grad_clip=None, stop_margin=0.1)),
        RunConfig(TransformerConfig(n_ctx=128), TextConfig(paths=("a", "b"))),
    ],
)
def test_a_run_config_comes_back_from_json(config):
    assert run_config_from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_a_dict_that_is_no_run_config_is_refused():
    values = to_dict(RunConfig())
    with pytest.raises(InputError, match=r"must hold model, task, train, got \{'model'"):
        run_config_from_dict({"model": values["model"]})
    with pytest.raises(InputError, match="TrainConfig has no field 'momentum'"):
        run_config_from_dict({**values, "train": {"momentum": 0.9}})


def test_a_value_of_the_wrong_type_is_named_and_no_torch_is_loaded():
    """In a process of its own, where types are not checked on the way."""
    code = """
import sys
from toy_models.train_config import TrainConfig
for values in ({"steps": "many"}, {"device": "gpu"}):
    try:
        TrainConfig(**values)
    except ValueError as error:
        print(error)
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == [
        "steps must be a whole number, got 'many'",
        "device must be one of 'auto', 'cpu', 'cuda', got 'gpu'",
        "False",
    ]
