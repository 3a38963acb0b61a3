"""Batches of all sizes: stages make the updates they should, runs stop at their loss, and one short comparison."""

from analyses.claims.experiments.batch_size import LARGE, SMALL, in_stages, seed_of_stage, to_the_loss
from analyses.claims.experiments.digit_classifiers import halves


def test_stages_share_the_epochs_and_larger_batches_make_fewer_updates():
    row = in_stages(0, "cpu", 3 / 45, stages=[[16, 0.1], [64, 0.1], [256, 0.1]])
    assert len(halves(0).examples("training")) // 16 == 56
    assert row["updates"] == 56 + 14 + 3


def test_at_few_epochs_large_batches_hurt():
    small, large = (in_stages(0, "cpu", 2 / 45, stages=[[batch, 0.1]]) for batch in (SMALL, LARGE))
    assert small["accuracy"] > large["accuracy"] + 0.1
    assert small["training loss"] < large["training loss"]


def test_a_run_stops_soon_after_it_reaches_its_loss_and_at_the_latest_when_its_updates_are_used_up():
    row = to_the_loss(0, "cpu", 1.0, batch=SMALL, loss=1.0)
    assert 0.6 < row["training loss"] <= 1.0
    assert row["updates"] in (50, 100, 150)
    assert to_the_loss(0, "cpu", 10 / 6000, batch=SMALL)["updates"] == 10


def test_stages_of_different_seeds_draw_different_orders():
    drawn = {seed_of_stage(seed, number) for seed in range(20) for number in range(0, 6000, 50)}
    assert len(drawn) == 20 * 120
