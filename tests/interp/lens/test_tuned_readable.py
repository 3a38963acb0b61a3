"""The point and the head at which the answer becomes readable, on models that bring it at a known place."""

import dataclasses
import math

import pytest
import torch

from interp.errors import InputError
from interp.lens import brought_by, first_readable, held_out, tuned_lens
from tests.interp.lens.test_tuned import AFTER_0, AFTER_1, from_second, induced, relayed
from toy_models.handmade.blocks import Size
from toy_models.handmade.catalogue import make
from toy_models.handmade.model import repeated_tokens, seen_before

__all__ = ["induced", "relayed"]


def with_losses(held, losses, final=0.0):
    """Held-out figures of 40 sequences in which the tuned lens' loss at each point is as given."""
    tuned = torch.stack([torch.as_tensor(each, dtype=torch.float64).expand(40) for each in losses], 1)
    stacked = torch.stack([torch.full_like(tuned, math.log(16)), tuned, torch.full_like(tuned, math.log(16))])
    return dataclasses.replace(held, losses=stacked, final_loss=torch.full((40,), final, dtype=torch.float64))


def test_the_answer_is_readable_to_a_map_one_layer_before_the_logit_lens_reads_it(relayed, generator):
    _, _, found, _ = relayed
    tuned, logit, bias = (first_readable(found, generator, kind) for kind in ("tuned", "logit", "bias_only"))
    assert (tuned.point, tuned.earliest, tuned.latest) == (AFTER_0, AFTER_0, AFTER_0)
    assert (logit.point, bias.point) == (AFTER_1, AFTER_1)


def test_the_head_that_brings_the_answer_is_the_one_that_wrote_it(relayed, generator):
    model, lens, _, tokens = relayed
    found = brought_by(lens, model, tokens, AFTER_0, generator, from_second(tokens))
    assert [str(head) for head in found.heads] == ["L0H0"]
    assert float(found.loss.low[0]) > 2


def test_induction_becomes_readable_with_its_head_and_the_head_that_feeds_it_brings_nothing(induced, generator):
    model, lens, found, tokens = induced
    readable = first_readable(found, generator)
    assert readable.point == readable.earliest == readable.latest == AFTER_1
    scored = seen_before(tokens).roll(1, dims=1)
    brought = brought_by(lens, model, tokens, AFTER_1, generator, scored)
    assert [str(brought.heads[i]) for i in brought.ranked()] == ["L1H0", "L0H0"]
    # The mean of what it copies raises each of 15 tokens by 12 / 15, and not the one that begins every sequence.
    assert float(brought.loss.mean[1]) == pytest.approx(math.log(15 + math.exp(-12 / 15)), abs=0.01)
    assert float(brought.loss.mean[0]) == pytest.approx(0, abs=1e-9)
    assert float(brought.loss.low[1]) <= float(brought.loss.mean[1]) <= float(brought.loss.high[1])
    assert brought.to_dict()["heads"] == ["L0H0", "L1H0"]


def test_the_first_point_is_the_first_that_closes_enough_of_the_gap(relayed, generator):
    uniform = math.log(16)
    held = with_losses(relayed[2], [uniform, uniform / 2, 0.15 * uniform, 0.05 * uniform])
    assert first_readable(held, generator, margin=0.1).point == AFTER_1
    assert first_readable(held, generator, margin=0.2).point == AFTER_0
    assert first_readable(held, generator, margin=0.5).point == "blocks.0.hook_resid_pre"
    share = first_readable(held, generator).share
    assert share is not None
    assert share.mean.tolist() == pytest.approx([0, 0.5, 0.85, 0.95])


def test_a_point_between_has_an_interval_of_points(relayed, generator):
    uniform = math.log(16)
    spread = torch.randn(40, generator=generator, dtype=torch.float64)
    spread = spread - spread.mean()
    held = with_losses(relayed[2], [uniform, 0.12 * uniform + spread, 0.08 * uniform + spread, 0.0])
    found = first_readable(held, generator)
    assert (found.earliest, found.point, found.latest) == ("blocks.0.hook_resid_pre", AFTER_0, AFTER_1)


def test_a_lens_that_closes_too_little_finds_no_point(relayed, generator):
    held = with_losses(relayed[2], [2.5, 2.0, 1.9, 1.8])
    found = first_readable(held, generator)
    assert (found.point, found.latest, found.reason) == (None, None, "no point closes 0.9 of the gap")


def test_a_model_no_better_than_uniform_has_nothing_to_read(generator):
    model, tokens = make("untrained").model, repeated_tokens(Size(), n=40, seed=2)
    lens = tuned_lens(model, tokens[:20], generator, points=(AFTER_1,))
    found = first_readable(held_out(lens, model, tokens[20:], generator), generator)
    assert (found.point, found.share) == (None, None)
    assert "nothing to read" in found.reason
    assert found.to_dict()["share"] is None


def test_what_cannot_be_asked_is_refused(relayed, generator):
    model, lens, found, tokens = relayed
    for margin in (0.0, 1.0, -1.0):
        with pytest.raises(InputError, match="margin is a share"):
            first_readable(found, generator, margin=margin)
    for point in ("hook_embed", "blocks.0.hook_resid_pre"):
        with pytest.raises(InputError, match="no head writes before"):
            brought_by(lens, model, tokens, point, generator)
