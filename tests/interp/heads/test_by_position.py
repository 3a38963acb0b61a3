"""Head scores at each query position."""

import pytest
import torch

from interp import record
from interp.errors import InputError
from interp.heads import measure_heads, scores_by_position
from interp.plots import score_by_position
from toy_models.handmade import make


@pytest.fixture
def measured(generator):
    model = make("induction_k").model
    battery = measure_heads(model, generator, bos=0, n=6)
    return model, battery, scores_by_position(model, battery.tokens, generator)


def test_averaged_over_positions_the_scores_are_those_of_the_battery(measured):
    _, battery, found = measured
    for name, scores in found.items():
        assert torch.allclose(scores.score.mean(0), battery[name].score, atol=1e-9)


def test_the_handmade_heads_score_1_at_every_position_and_the_others_what_their_patterns_have(measured):
    model, battery, found = measured
    previous, prefix = found["previous_token"], found["prefix_matching"]
    assert previous.score[:, 0, 0].min() > 0.99
    assert prefix.score[:, 1, 0].min() > 0.99
    pattern = record(model, battery.tokens, names="blocks.1.attn.hook_pattern")["blocks.1.attn.hook_pattern"]
    wanted = pattern[:, 0].diagonal(-1, 1, 2).mean(0)
    assert torch.allclose(previous.score[:, 1, 0], wanted, atol=1e-9)


def test_the_null_is_the_share_of_keys_that_are_entries(measured):
    _, battery, found = measured
    previous, prefix = found["previous_token"], found["prefix_matching"]
    assert previous.positions == tuple(range(1, battery.tokens.shape[1]))
    assert previous.null.tolist() == pytest.approx([1 / (p + 1) for p in previous.positions])
    period, start = battery.protocol.period, battery.protocol.start
    assert prefix.positions == tuple(range(start + period, battery.tokens.shape[1]))
    copies = [(p - start) // period for p in prefix.positions]
    assert prefix.null.tolist() == pytest.approx([c / (p + 1) for c, p in zip(copies, prefix.positions, strict=True)])


def test_a_head_that_acts_at_some_positions_only_shows_there_alone(generator):
    model = make("previous_token").model
    with torch.no_grad():  # queries of later positions point nowhere: even attention
        model.pos_embed.W_pos[6:] = 0
    tokens = torch.randint(1, 10, (5, 12), generator=generator)
    scores = scores_by_position(model, tokens, generator, ["previous_token"])["previous_token"]
    found = dict(zip(scores.positions, scores.score[:, 0, 0].tolist(), strict=True))
    assert min(found[p] for p in range(1, 6)) > 0.99
    assert max(found[p] for p in range(7, 12)) < 0.3


def test_positions_that_only_some_sequences_can_read_are_left_out_and_none_is_refused(generator):
    model = make("previous_token").model
    tokens = torch.tensor([[1, 2, 1, 2], [1, 2, 3, 2]])
    assert scores_by_position(model, tokens, generator, ["prefix_matching"])["prefix_matching"].positions == (3,)
    with pytest.raises(InputError, match="prefix_matching has no query position that can be read in every sequence"):
        scores_by_position(model, torch.tensor([[1, 2, 1], [1, 2, 3]]), generator, ["prefix_matching"])
    with pytest.raises(InputError, match=r"by position there are previous_token, .*, not 'copying'"):
        scores_by_position(model, tokens, generator, ["copying"])


def test_the_figure_has_a_panel_a_layer_and_score_with_lines_null_and_names(measured):
    _, _, found = measured
    figure = score_by_position(found, title="By position")
    panels = [axes for axes in figure.axes if axes.lines]
    assert len(panels) == 4
    head, null = panels[0].lines
    assert head.get_ydata().tolist() == found["previous_token"].score[:, 0, 0].tolist()
    assert head.get_label() == "L0H0"
    assert null.get_ydata().tolist() == found["previous_token"].null.tolist()
    assert panels[3].lines[0].get_label() == "L1H0"
    assert panels[3].lines[0].get_ydata().tolist() == found["prefix_matching"].score[:, 1, 0].tolist()
    with pytest.raises(InputError, match="no score by position"):
        score_by_position({}, title="none")
