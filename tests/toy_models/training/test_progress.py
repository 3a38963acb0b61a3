"""What a person watching sees."""

import io

from tests.small_runs import TARGET
from toy_models.training import Target, progress
from toy_models.training.metrics_log import Record
from toy_models.training.progress import Progress


def record(step: int, **values: float) -> Record:
    return {"step": step, "loss": 2.5, "predictable_loss": 1.25, "tokens": step * 1000, "seconds": step / 10, **values}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_there_is_a_line_each_tenth_of_the_way(capsys):
    with Progress(steps=200, target=TARGET) as bar:
        for step in range(0, 201, 5):
            bar.show(record(step))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0] == "step 20/200: loss 2.500, predictable 1.250 (optimum 0.135), 10,000 tokens/s, 18 s left"
    assert lines[-1].startswith("step 200/200:")
    assert lines[-1].endswith("0 s left")


def test_speed_and_time_left_of_a_resumed_run_are_those_since_it_resumed(capsys):
    with Progress(steps=200, target=TARGET) as bar:
        bar.show(record(100, seconds=500.0))
        bar.show(record(120, seconds=504.0))
    assert (
        capsys.readouterr().err
        == "step 120/200: loss 2.500, predictable 1.250 (optimum 0.135), 5,000 tokens/s, 16 s left\n"
    )


def test_what_is_not_known_is_not_shown():
    bar = Progress(steps=200, target=Target(chance=2.0, optimum=None))
    assert bar.describe(record(10)) == "loss 2.500, predictable 1.250"
    assert bar.describe({"step": 0, "tokens": 0, "seconds": 0.0}) == ""


def test_nothing_is_shown_when_not_asked_for(capsys):
    with Progress(steps=10, target=TARGET, shown=False) as bar:
        bar.show(record(0))
        bar.show(record(10))
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_with_losses_speed_and_time_left(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(progress.sys, "stderr", stream)
    with Progress(steps=40, target=TARGET) as bar:
        bar.show(record(0))
        bar.show(record(20))
        assert bar.bar is not None
        assert bar.bar.n == 20
    last = stream.getvalue().split("\r")[-1]
    assert "50%|" in last
    assert "20/40 [" in last
    assert "loss 2.500, predictable 1.250 (optimum 0.135), 10,000 tokens/s]" in last
