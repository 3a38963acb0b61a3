"""What a person watching the training of a classifier or an autoencoder sees."""

from toy_models.training.shelf_progress import ShelfProgress


def test_a_line_has_the_loss_and_when_the_held_out_score_was_measured_beside_chance(capsys):
    with ShelfProgress(steps=20, chance={"loss": 2.3, "accuracy": 0.1}) as bar:
        bar.show({"step": 0, "examples": 0, "seconds": 0.0, "eval_loss": 2.4, "eval_accuracy": 0.08})
        bar.show({"step": 2, "loss": 1.23456, "examples": 64, "seconds": 0.5})
        bar.show({"step": 4, "loss": 0.5, "examples": 128, "seconds": 1.0, "eval_loss": 0.4, "eval_accuracy": 0.9})
    assert capsys.readouterr().err.splitlines() == [
        "step 2/20: loss 1.23, held-out accuracy 8.0% at step 0 (chance 10.0%), 128 examples/s, 4 s left",
        "step 4/20: loss 0.5, held-out accuracy 90.0% (chance 10.0%), 128 examples/s, 4 s left",
    ]


def test_without_accuracy_the_held_out_loss_stands_beside_that_of_a_constant():
    bar = ShelfProgress(steps=20, chance={"loss": 0.07383}, shown=False)
    record = {"step": 2, "loss": 0.02, "examples": 64, "seconds": 0.5, "eval_loss": 0.01778}
    bar.show(record)
    assert bar.describe(record) == "loss 0.02, held-out 0.0178 (constant 0.0738)"
    assert ShelfProgress(20, {"loss": 1.0}).describe({"step": 0, "examples": 0, "seconds": 0.0}) == ""
