"""Which task configs are refused, and that the others survive JSON."""

import json
import subprocess
import sys

import pytest

from toy_models.config import to_dict
from toy_models.errors import InputError
from toy_models.task_config import (
    TASK_CONFIGS,
    MarkovConfig,
    RepeatedTokensConfig,
    SkipTrigramsConfig,
    TextConfig,
    task_config_from_dict,
)


@pytest.mark.parametrize(
    "config",
    [
        RepeatedTokensConfig(min_period=3, bos=False),
        MarkovConfig(n_states=5, alpha=2.5),
        SkipTrigramsConfig(reliability=1.0, table_seed=9),
        TextConfig(paths=("a", "b c"), tokenizer="bytes", max_bytes=None),
    ],
)
def test_json_gives_back_the_same_config(config):
    assert task_config_from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_every_kind_has_its_own_class():
    assert set(TASK_CONFIGS) == {"repeated-tokens", "markov", "skip-trigrams", "text"}
    assert all(cls().kind == kind for kind, cls in TASK_CONFIGS.items())


@pytest.mark.parametrize(
    "values, message",
    [
        ({}, "a task needs a JSON object with a kind"),
        (["markov"], "a task needs a JSON object with a kind"),
        ({"kind": "chess"}, "unknown kind of task 'chess'; known: repeated-tokens, markov"),
        ({"kind": ["markov"]}, "unknown kind of task"),
        ({"kind": "markov", "n_state": 3}, "no field 'n_state'"),
    ],
)
def test_values_that_are_no_task_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        task_config_from_dict(values)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: RepeatedTokensConfig(d_vocab=2), "at least 2 tokens besides the beginning-of-sequence token, got 1"),
        (lambda: RepeatedTokensConfig(d_vocab=1, bos=False), "needs at least 2 tokens, got 1"),
        (lambda: RepeatedTokensConfig(min_period=0), "min_period must be at least 1, got 0"),
        (lambda: RepeatedTokensConfig(max_offset=-1), "max_offset must be at least 0, got -1"),
        (lambda: RepeatedTokensConfig(min_period=9, max_period=8), "min_period 9 is above max_period 8"),
        (lambda: RepeatedTokensConfig(n_ctx=33), "take 33 of 33 positions, so nothing is repeated"),
        (lambda: MarkovConfig(n_states=1), "n_states must be at least 2, got 1"),
        (lambda: MarkovConfig(n_states=40000), "n_states must be at most 32767, got 40000"),
        (lambda: MarkovConfig(n_ctx=3), "n_ctx must be at least 4, got 3"),
        (lambda: MarkovConfig(alpha=0.0), r"alpha must lie between 0\.05 and 1000, got 0\.0"),
        (lambda: MarkovConfig(alpha=float("nan")), "alpha must lie between"),
        (lambda: SkipTrigramsConfig(n_sources=0), "n_sources must be at least 1, got 0"),
        (lambda: SkipTrigramsConfig(n_others=3), "n_others must be at least 4, got 3"),
        (lambda: SkipTrigramsConfig(max_source_position=62), "leaves no room for a trigger and its output in 64"),
        (lambda: SkipTrigramsConfig(reliability=0.0), "reliability must be above 0 and at most 1"),
        (lambda: SkipTrigramsConfig(reliability=1.1), "reliability must be above 0 and at most 1"),
        (lambda: SkipTrigramsConfig(trigger_rate=1.0), "trigger_rate must lie between 0 and 1"),
        (lambda: SkipTrigramsConfig(table_seed=-1), "table_seed must be 0 or above"),
        (lambda: TextConfig(max_vocab=256), "256 bytes and <bos>, so max_vocab must be at least 257, got 256"),
        (lambda: TextConfig(max_vocab=255, bos=False), "256 bytes, so max_vocab must be at least 256, got 255"),
        (lambda: TextConfig(n_ctx=2), "n_ctx must be at least 3, got 2"),
        (lambda: TextConfig(held_out=1.0), "held_out must be 0 or above and below 1"),
        (lambda: TextConfig(max_bytes=0), "max_bytes must be at least 1"),
        (lambda: TextConfig(suffixes=("txt",)), "suffixes must begin with a dot"),
        (lambda: TextConfig(paths=("",)), "paths holds an empty name"),
    ],
)
def test_configs_that_cannot_work_are_refused_with_the_reason(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_the_longest_block_may_leave_a_single_repeated_token():
    assert RepeatedTokensConfig(n_ctx=34).max_period == 24


def test_vocabulary_sizes_count_bos():
    assert MarkovConfig(n_states=5).d_vocab == 6
    assert MarkovConfig(n_states=5, bos=False).d_vocab == 5
    assert SkipTrigramsConfig(n_sources=1, n_triggers=2, n_others=3).d_vocab == 7


def run_alone(code):
    """What a fresh interpreter prints, in which no annotation is checked."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_values_of_another_type_are_refused_by_name():
    code = """
from toy_models.errors import InputError
from toy_models.task_config import task_config_from_dict
for values in (
    {"kind": "markov", "n_states": "3"},
    {"kind": "repeated-tokens", "n_ctx": 64.0},
    {"kind": "text", "tokenizer": "words"},
    {"kind": "text", "paths": "a.txt"},
):
    try:
        print(task_config_from_dict(values))
    except InputError as error:
        print(error)
"""
    assert run_alone(code) == [
        "n_states must be a whole number, got '3'",
        "n_ctx must be a whole number, got 64.0",
        "tokenizer must be one of 'bpe', 'bytes', got 'words'",
        "paths must be a list of text, got 'a.txt'",
    ]


def test_configs_need_no_torch():
    code = "import sys, toy_models.task_config as t; t.TextConfig(); print('torch' in sys.modules)"
    assert run_alone(code) == ["False"]
