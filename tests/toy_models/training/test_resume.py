"""A run killed by SIGKILL, wherever and however often, ends with the weights and metrics of one that was not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("train_and_die.py")
ROOT = Path(__file__).parents[3]


AT_LEAST = {"moments": 25, "finish": 8, "torn": 5, "times": 3}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, SCRIPT, tmp_path_factory.mktemp("runs"), "whole", *AT_LEAST]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", AT_LEAST)
def test_a_killed_run_ends_bit_for_bit_where_an_unbroken_one_does(results, kind):
    whole, broken = results["whole"], results[kind]
    assert whole["killed"] == 0
    assert broken["killed"] >= AT_LEAST[kind]
    assert broken["hash"] == whole["hash"]
    assert broken["metrics"] == whole["metrics"]
    assert [record["step"] for record in broken["metrics"]] == [0, 1, 3, 6, 9, 12, 15, 18, 21, 24]
    assert broken["left"] == []
