"""What `intervene` does to a model while its block runs, and what it refuses to pretend."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from interp.errors import InputError
from interp.hooks import intervene, record
from interp.hooks.editor import edit_function
from interp.hooks.targets import find_targets

PATTERNS = "blocks.*.attn.hook_pattern"


@pytest.fixture
def other(model, generator):
    """Other tokens of the same shape."""
    return torch.randint(0, 11, (2, 9), generator=generator).to(model.W_E.device)


class Twice(nn.Module):
    """x -> x W W, then an LSTM: one module that runs twice, one that returns several tensors."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Linear(2, 2, bias=False)
        self.scale.weight = nn.Parameter(torch.eye(2) * 2)
        self.lstm = nn.LSTM(2, 3)
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        return self.lstm(self.scale(self.scale(x)))


def test_patching_the_last_residual_stream_gives_the_other_runs_logits(model, tokens, other):
    name = "blocks.1.hook_resid_post"
    donor = record(model, other, names=name)
    with intervene(model, {name: donor[name]}):
        patched = model(tokens)
    torch.testing.assert_close(patched, donor.output)
    assert float((model(tokens) - donor.output).detach().abs().max()) > 0.1


def test_a_pattern_put_in_reweights_the_values(model, tokens):
    previous = torch.eye(9, device=tokens.device).roll(-1, 1).tril()
    previous[0, 0] = 1.0
    with intervene(model, {"blocks.0.attn.hook_pattern": previous}):
        activations = record(model, tokens, names="blocks.0.attn.*")
    v, z = activations["blocks.0.attn.hook_v"], activations["blocks.0.attn.hook_z"]
    torch.testing.assert_close(z[:, 1:], v[:, :-1])
    torch.testing.assert_close(activations["blocks.0.attn.hook_pattern"][1, 2], previous)


def test_scores_put_in_go_through_the_softmax(model, tokens):
    with intervene(model, {"blocks.1.attn.hook_attn_scores": lambda scores: scores * 2}):
        activations = record(model, tokens, names="blocks.1.attn.*")
    plain = record(model, tokens, names="blocks.1.attn.hook_attn_scores")["blocks.1.attn.hook_attn_scores"]
    torch.testing.assert_close(activations["blocks.1.attn.hook_pattern"], (plain * 2).softmax(-1))


def test_record_sees_what_an_intervention_made_of_a_value(model, tokens):
    with intervene(model, {"hook_embed": torch.zeros_like}):
        activations = record(model, tokens)
    assert not activations["hook_embed"].any()
    assert torch.equal(activations["blocks.0.hook_resid_pre"], activations["hook_pos_embed"])


def test_blocks_nest_and_the_inner_function_gets_what_the_outer_returned(model, tokens):
    whole = record(model, tokens, names="hook_embed")["hook_embed"]
    with intervene(model, {"hook_embed": lambda value: value + 1}):
        with intervene(model, {"hook_embed": lambda value: value * 2}):
            inside = record(model, tokens, names="hook_embed")["hook_embed"]
        between = record(model, tokens, names="hook_embed")["hook_embed"]
    torch.testing.assert_close(inside, (whole + 1) * 2)
    torch.testing.assert_close(between, whole + 1)


def test_two_names_of_one_point_both_apply_in_order(model, tokens):
    whole = record(model, tokens, names="hook_embed")["hook_embed"]
    with intervene(model, {"hook_embed": lambda value: value + 1, "hook_em*": lambda value: value * 2}):
        torch.testing.assert_close(record(model, tokens, names="hook_embed")["hook_embed"], (whole + 1) * 2)


def test_a_glob_applies_its_function_at_every_point(model, tokens):
    with intervene(model, {PATTERNS: torch.zeros_like}):
        activations = record(model, tokens, names="*hook_z")
    assert len(activations) == 2
    assert not any(value.any() for value in activations.values())


def test_a_function_may_write_into_its_value_without_harm(model, tokens):
    """A residual stream passes two points as one tensor; an edit at the second must not reach the first."""

    def zero_in_place(value):
        value[:, 3:] = 0.0
        return value

    plain = record(model, tokens)["blocks.0.hook_resid_post"]
    with intervene(model, {"blocks.1.hook_resid_pre": zero_in_place}):
        activations = record(model, tokens)
    assert torch.equal(activations["blocks.0.hook_resid_post"], plain)
    assert not activations["blocks.1.hook_resid_pre"][:, 3:].any()


def test_a_model_that_works_in_place_does_not_write_into_the_callers_tensor():
    model = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True))
    mine = torch.tensor([[-1.0, 2.0]])
    for edit in (mine, lambda value: mine):
        with intervene(model, {"0": edit}):
            assert model(torch.zeros(1, 2)).tolist() == [[0.0, 2.0]]
    assert mine.tolist() == [[-1.0, 2.0]]


def test_gradients_flow_through_an_intervention(model, tokens):
    direction = torch.zeros(12, device=tokens.device, requires_grad=True)
    with intervene(model, {"blocks.1.hook_resid_pre": lambda value: value + direction}):
        loss = F.cross_entropy(model(tokens)[:, -1], tokens[:, 0])
    slope, embedding = torch.autograd.grad(loss, [direction, model.W_E])
    with torch.no_grad(), intervene(model, {"blocks.1.hook_resid_pre": lambda value: value - 1e-2 * slope}):
        lower = F.cross_entropy(model(tokens)[:, -1], tokens[:, 0])
    torch.testing.assert_close(loss.detach() - lower, 1e-2 * slope.square().sum(), rtol=0.05, atol=0)
    assert float(embedding.abs().sum()) > 0


def test_a_constant_is_spread_over_the_value(model, tokens):
    with intervene(model, {"blocks.0.attn.hook_z": torch.full((4,), 0.5, device=tokens.device)}):
        z = record(model, tokens, names="*hook_z")["blocks.0.attn.hook_z"]
    assert z.shape == (2, 9, 3, 4)
    assert bool((z == 0.5).all())


def wrong(result) -> Any:
    return lambda value: result(value) if callable(result) else result


@pytest.mark.parametrize(
    "edit, reason",
    [
        (wrong(None), "hook_embed returned nothing: did you forget to return the new value"),
        (wrong(0.0), "hook_embed must return a tensor, got float"),
        (wrong(lambda value: value[:1]), r"must return float32 \[2, 9, 12\] on \S+, got float32 \[1, 9, 12\]"),
        (wrong(lambda value: value.double()), r"must return float32 \[2, 9, 12\] on \S+, got float64 \[2, 9, 12\]"),
        (wrong(lambda value: value.to("meta")), r"got float32 \[2, 9, 12\] on meta"),
        (torch.zeros(5), r"the tensor for hook_embed is \[5\] and does not broadcast to the value's \[2, 9, 12\]"),
    ],
)
def test_what_is_no_replacement_is_refused(model, tokens, edit, reason):
    with pytest.raises(InputError, match=reason), intervene(model, {"hook_embed": edit}):
        model(tokens)


def test_unknown_names_are_refused_before_anything_runs(model):
    with (
        pytest.raises(InputError, match="'hook_embd' is not in this model; did you mean hook_embed"),
        intervene(model, {"hook_embd": torch.zeros_like}),
    ):
        pytest.fail("the block must not start")


def test_an_intervention_that_never_took_place_is_an_error_once_the_model_ran():
    model, x = Twice(), torch.ones(1, 2)
    with (
        pytest.raises(InputError, match="the model ran, but no value passed 'unused', so nothing was replaced"),
        intervene(model, {"unused": torch.zeros_like, "scale#1": torch.zeros_like}),
    ):
        model(x)
    with pytest.raises(InputError, match="no value passed 'scale'"), intervene(model, {"scale#2": torch.zeros_like}):
        model(x)
    with intervene(model, {"unused": torch.zeros_like}):
        pass  # nothing ran, so nothing is missing
    with pytest.raises(ZeroDivisionError), intervene(model, {"unused": torch.zeros_like}):
        raise ZeroDivisionError  # the error that matters is not hidden by the missing intervention


def test_a_run_of_a_module_that_runs_twice_must_be_named():
    model, x = Twice(), torch.ones(1, 2)
    with (
        pytest.raises(InputError, match=r"scale runs several times in one forward pass: name one run, scale#0"),
        intervene(model, {"scale": lambda value: value + 1}),
    ):
        model(x)
    for run, expected in [("scale#0", [[3.0, 3.0], [6.0, 6.0]]), ("scale#1", [[2.0, 2.0], [5.0, 5.0]])]:
        with intervene(model, {run: lambda value: value + 1}):
            for _ in range(2):  # runs are counted anew in every forward pass
                activations = record(model, x, names="scale")
        assert [value[0].tolist() for value in activations.values()] == expected


def test_one_tensor_of_several_must_be_named():
    model, x = Twice(), torch.ones(1, 2)
    with (
        pytest.raises(InputError, match=r"lstm returns a tuple: name one tensor of it, lstm\[0\], lstm\[1\]\[0\]"),
        intervene(model, {"lstm": torch.zeros_like}),
    ):
        model(x)
    with (
        pytest.raises(InputError, match=r"lstm\[7\] is no tensor; lstm has \[0\], \[1\]\[0\], \[1\]\[1\]"),
        intervene(model, {"lstm[7]": torch.zeros_like}),
    ):
        model(x)
    with intervene(model, {"lstm[1][0]": torch.zeros_like}):
        output, (hidden, cell) = model(x)
    assert not hidden.any()
    assert output.any()
    assert cell.any()


def test_what_is_no_edit_is_refused(model):
    (target,) = find_targets(model, "hook_embed")["hook_embed"]
    with pytest.raises(InputError, match="the edit of hook_embed must be a function or a tensor, got 3"):
        edit_function(target, 3)


def test_edits_are_refused_while_a_batchnorm_uses_the_statistics_of_the_batch():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    with (
        pytest.raises(InputError, match=r"BatchNorm '1' uses the statistics of the batch.*call model.eval\(\)"),
        intervene(model, {"0": torch.zeros_like}),
    ):
        pass
    with intervene(model, {"0": torch.zeros_like}, allow_batchnorm_training=True):
        model(x)
    with intervene(model.eval(), {"0": torch.zeros_like}):
        model(x)
    with pytest.raises(InputError, match="BatchNorm '1'"), intervene(model.eval(), {"0": torch.zeros_like}):
        model.train()(x)  # switched inside the block
    without_running_statistics = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False)).eval()
    with (
        pytest.raises(InputError, match="BatchNorm '1'"),
        intervene(without_running_statistics, {"0": torch.zeros_like}),
    ):
        pass
