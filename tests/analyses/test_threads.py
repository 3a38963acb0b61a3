"""How many CPU threads a command uses."""

import pytest
import torch

from analyses import cli


@pytest.fixture(autouse=True)
def one_thread_again():
    yield
    torch.set_num_threads(1)


@pytest.mark.parametrize("words, threads", [([], 1), (["--threads", "2"], 2)])
def test_commands_run_on_as_many_threads_as_asked_and_on_one_by_default(tmp_path, words, threads):
    torch.set_num_threads(3)
    assert cli.run(["heads", str(tmp_path), *words]) == 2
    assert torch.get_num_threads() == threads


def test_no_threads_are_refused(capsys, tmp_path):
    assert cli.run(["heads", str(tmp_path), "--threads", "0"]) == 2
    assert capsys.readouterr().err == "interp: --threads must be at least 1, got 0\n"
