"""The transformer's configuration refuses what cannot work, with the reason, and survives JSON."""

import dataclasses
import importlib.util
import json
import math
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Literal

import pytest

import toy_models.config
from toy_models.errors import InputError


def as_users_import_it() -> Any:
    """The module without the tests' own checking of types, which would be faster to complain than the config."""
    spec = importlib.util.spec_from_file_location("config_without_checks", toy_models.config.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


config_module = as_users_import_it()
TransformerConfig, check_field_types = config_module.TransformerConfig, config_module.check_field_types
from_dict, to_dict = config_module.from_dict, config_module.to_dict

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"n_layers": -1}, "n_layers must be at least 0, got -1"),
    ({"n_heads": 0}, "n_heads must be at least 1, got 0"),
    ({"d_model": 0}, "d_model must be at least 1, got 0"),
    ({"d_head": 0}, "d_head must be at least 1, got 0"),
    ({"d_vocab": 1}, "d_vocab must be at least 2, got 1"),
    ({"n_ctx": 0}, "n_ctx must be at least 1, got 0"),
    ({"d_mlp": -4}, "d_mlp must be at least 0, got -4"),
    ({"norm_eps": 0.0}, "norm_eps must be a positive number, got 0.0"),
    ({"norm_eps": math.nan}, "norm_eps must be a positive number, got nan"),
    ({"rotary_base": math.inf}, "rotary_base must be a positive number, got inf"),
    ({"init_range": -0.1}, "init_range must be 0 or above, or left out, got -0.1"),
    ({"positions": "rotary", "d_head": 5}, "pairs of numbers, so d_head must be even, got 5"),
    (
        {"positions": "rotary", "learned_positions": False},
        "asks for a sinusoidal table, but positions='rotary' has none",
    ),
    ({"positions": "none", "learned_positions": False}, "asks for a sinusoidal table, but positions='none' has none"),
    ({"learned_positions": False, "d_model": 7}, "a sinusoidal table needs an even d_model, got 7"),
    ({"normalization": "LN", "d_model": 1}, "LN of a single number is always 0"),
    ({"normalization": "LNPre", "d_model": 1}, "LN of a single number is always 0"),
    ({"positions": "alibi"}, "positions must be one of 'shortformer', 'standard', 'rotary', 'none', got 'alibi'"),
    ({"normalization": "BN"}, "normalization must be one of 'none', 'LN', 'LNPre', 'RMS', 'RMSPre', got 'BN'"),
    ({"attention_dir": "both"}, "attention_dir must be one of 'causal', 'bidirectional', got 'both'"),
    ({"activation": "gelu_new"}, "activation must be one of 'gelu', 'relu', got 'gelu_new'"),
    ({"n_layers": 2.0}, "n_layers must be a whole number, got 2.0"),
    ({"n_layers": True}, "n_layers must be a whole number, got True"),
    ({"d_model": "64"}, "d_model must be a whole number, got '64'"),
    ({"smeared_keys": 1}, "smeared_keys must be true or false, got 1"),
    ({"norm_eps": "small"}, "norm_eps must be a number, got 'small'"),
    ({"norm_eps": True}, "norm_eps must be a number, got True"),
    ({"init_range": "wide"}, "init_range must be a number or .*, got 'wide'"),
]


@pytest.mark.parametrize("options, reason", REFUSED, ids=[str(options) for options, _ in REFUSED])
def test_what_cannot_work_is_refused_with_its_reason(options, reason):
    with pytest.raises(InputError, match=reason):
        TransformerConfig(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"n_layers": 0},
        {"d_head": 1, "n_heads": 7},
        {"d_head": 5},  # odd without rotary
        {"d_model": 1, "normalization": "RMS"},
        {"norm_eps": 1},  # a whole number is a number
        {"init_range": 0.0},
        {"positions": "rotary", "smeared_keys": True},
    ],
)
def test_what_can_work_is_taken(options):
    config = TransformerConfig(**options)
    assert {name: getattr(config, name) for name in options} == options


def test_initial_spread_follows_the_width_unless_given():
    assert TransformerConfig(d_model=64).initial_std == pytest.approx(0.1)
    assert TransformerConfig(init_range=0.03).initial_std == 0.03


def test_a_config_cannot_be_changed():
    config = TransformerConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.n_layers = 3


def test_a_config_survives_json():
    config = TransformerConfig(positions="rotary", d_mlp=8, activation="relu", init_range=0.25, norm_eps=1e-6)
    assert from_dict(TransformerConfig, json.loads(json.dumps(to_dict(config)))) == config


def test_fields_left_out_take_their_defaults():
    assert from_dict(TransformerConfig, {"n_heads": 2}) == TransformerConfig(n_heads=2)


@pytest.mark.parametrize(
    "values, reason",
    [
        ({"n_head": 4}, "TransformerConfig has no field 'n_head'; known: n_layers, n_heads"),
        ({"n_layers": "2"}, "n_layers must be a whole number, got '2'"),
        ({"n_ctx": None}, "n_ctx must be a whole number, got None"),
        ({"d_head": 0}, "d_head must be at least 1"),
        ([1, 2], "TransformerConfig needs a JSON object, got list"),
    ],
)
def test_json_of_something_else_is_refused(values, reason):
    with pytest.raises(InputError, match=reason):
        from_dict(TransformerConfig, values)


@dataclass(frozen=True)
class Inner:
    sizes: tuple[int, ...] = (1,)
    kind: Literal["a", "b"] = "a"

    def __post_init__(self):
        check_field_types(self)


@dataclass(frozen=True)
class Outer:
    inner: Inner
    note: str | None = None

    def __post_init__(self):
        check_field_types(self)


def test_nested_configs_and_lists_survive_json():
    outer = Outer(Inner(sizes=(3, 4), kind="b"))
    assert from_dict(Outer, json.loads(json.dumps(to_dict(outer)))) == outer


def test_a_wrong_value_inside_a_nested_config_is_named():
    with pytest.raises(InputError, match=r"sizes must be a list of a whole number, got \(3, 'x'\)"):
        from_dict(Outer, {"inner": {"sizes": [3, "x"]}})
    with pytest.raises(InputError, match=r"note must be text or .*, got 7"):
        from_dict(Outer, {"inner": {}, "note": 7})


def test_importing_the_config_does_not_load_torch():
    code = "import sys, toy_models.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
