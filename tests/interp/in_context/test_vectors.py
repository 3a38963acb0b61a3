"""Before-and-after vectors and trajectories of losses that are known."""

import pytest
import torch

from interp.ablation import removal
from interp.errors import InputError
from interp.heads import Protocol, repeated_tokens
from interp.hooks import intervene
from interp.in_context import before_after, trajectory, undone_by
from interp.in_context.positions import every_loss
from interp.names import Head
from toy_models.handmade import make


def test_before_after_is_the_difference_with_its_mean_by_position(generator):
    before, after = (torch.rand(9, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    found = before_after(before, after, generator)
    torch.testing.assert_close(found.vector, after - before)
    torch.testing.assert_close(found.change.mean, after.mean(0) - before.mean(0))
    assert found.to_dict()["root_mean_square"] == pytest.approx(float((after - before).square().mean().sqrt()))


def test_trajectory_of_three_checkpoints_keeps_their_distances(generator):
    losses = torch.rand(3, 7, 4, generator=generator, dtype=torch.float64)
    found = trajectory(losses)
    between = (losses[:, None] - losses[None]).square().mean((2, 3)).sqrt()
    torch.testing.assert_close(torch.cdist(found.coordinates, found.coordinates), between, rtol=0, atol=1e-7)
    assert float(found.explained.sum()) == pytest.approx(1.0)
    assert float(found.coordinates[-1, 0]) > float(found.coordinates[0, 0])


def test_checkpoints_on_a_line_have_one_component(generator):
    start, way = (torch.rand(7, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    found = trajectory(torch.stack([start - t * way for t in (0.0, 0.5, 2.0, 3.0)]))
    assert found.explained.tolist() == pytest.approx([1.0, 0.0], abs=1e-12)
    rms = float(way.square().mean().sqrt())
    apart = found.coordinates[1:, 0] - found.coordinates[:-1, 0]
    assert apart.tolist() == pytest.approx([0.5 * rms, 1.5 * rms, rms])


def test_two_checkpoints_span_no_plane():
    with pytest.raises(InputError, match="needs three of them, got 2"):
        trajectory(torch.zeros(2, 3, 4))


def test_a_head_takes_back_all_of_what_its_own_arrival_brought_and_an_idle_one_nothing(generator):
    model = make("induction_shared").model  # L1H1 is idle
    tokens = repeated_tokens(Protocol(3, 8, 16, 0), 6, generator)
    how, heads = removal(model, tokens, "zero"), [Head(1, 0), Head(1, 1)]
    after = every_loss(model, tokens)
    with intervene(model, how.edits(heads[:1])):
        before = every_loss(model, tokens)
    found = undone_by(model, heads, tokens, after - before, how, generator)
    torch.testing.assert_close(found.mean, torch.tensor([1.0, 0.0], dtype=torch.float64), rtol=0, atol=1e-9)
    half = undone_by(model, heads, tokens, 2 * (after - before), how, generator)
    assert half[0].mean == pytest.approx(0.5)
