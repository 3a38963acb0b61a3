"""Metrics of a run: against closed forms, and against the losses that ablation uses."""

import math

import pytest
import torch
import torch.nn.functional as F

from interp.ablation.losses import sequence_means
from interp.errors import InputError
from interp.patching import Metric, kl_from, logit_difference, loss
from toy_models.config import TransformerConfig
from toy_models.transformer import Transformer


@pytest.fixture
def logits(generator):
    return torch.randn(3, 5, 7, generator=generator, dtype=torch.float64)


def test_the_logit_difference_is_right_minus_wrong_at_the_position(logits):
    right, wrong = torch.tensor([0, 1, 6]), torch.tensor([3, 0, 2])
    found = logit_difference(right, wrong, 2)(logits)
    assert found.tolist() == [float(logits[b, 2, right[b]] - logits[b, 2, wrong[b]]) for b in range(3)]
    assert logit_difference(right, wrong)(logits).tolist() == logit_difference(right, wrong, 4)(logits).tolist()


def test_every_sequence_may_have_its_own_position(logits):
    right, wrong, where = torch.tensor([0, 1, 6]), torch.tensor([3, 0, 2]), torch.tensor([4, 0, 1])
    found = logit_difference(right, wrong, where)(logits)
    assert found.tolist() == [float(logits[b, where[b], right[b]] - logits[b, where[b], wrong[b]]) for b in range(3)]


def test_the_loss_is_that_of_the_scored_tokens_from_the_position_before(generator):
    model = Transformer(TransformerConfig(d_model=8, d_head=4, d_vocab=7, n_ctx=6), generator)
    tokens = torch.randint(7, (3, 6), generator=generator)
    scored = torch.tensor([[0, 1, 0, 0, 1, 0], [0, 0, 0, 0, 0, 1], [0, 1, 1, 1, 1, 1]]).bool()
    with torch.no_grad():
        logits = model(tokens)
    each = F.cross_entropy(logits[:, :-1].double().transpose(1, 2), tokens[:, 1:], reduction="none")
    expected = [float(each[b][scored[b, 1:]].mean()) for b in range(3)]
    assert loss(tokens, scored)(logits).tolist() == pytest.approx(expected, abs=1e-12)
    assert loss(tokens, scored)(logits).tolist() == sequence_means(model, tokens, scored[None])[0, 0].tolist()


def test_kl_goes_from_the_reference_to_the_run():
    """KL(p || q) of p = (1, 0) and q = (1/4, 3/4) is ln 4, the other way round it is infinite."""
    p = torch.tensor([0.0, -1000.0]).double().expand(2, 3, 2)
    q = torch.tensor([0.25, 0.75]).double().log().expand(2, 3, 2)
    assert kl_from(p)(q).tolist() == pytest.approx([math.log(4)] * 2, abs=1e-12)
    assert float(kl_from(q)(p).min()) > 700


def test_kl_is_averaged_over_the_chosen_positions(logits):
    other = logits.flip(0)
    at = torch.tensor([[1, 0, 0, 0, 1], [0, 1, 0, 0, 0], [1, 1, 1, 1, 1]]).bool()
    each = F.kl_div(other.log_softmax(-1), logits.log_softmax(-1), reduction="none", log_target=True).sum(-1)
    expected = [float(each[b][at[b]].mean()) for b in range(3)]
    assert kl_from(logits, at)(other).tolist() == pytest.approx(expected, abs=1e-12)


def test_kl_from_a_run_to_itself_is_0_and_so_is_its_gradient(logits):
    metric, run = kl_from(logits), logits.clone().requires_grad_()
    values = metric(run)
    values.sum().backward()
    assert float(values.detach().abs().max()) < 1e-12
    assert run.grad is not None
    assert float(run.grad.abs().max()) < 1e-12
    assert metric.flat_at_reference


def test_sequences_can_be_chosen_repeated_and_reordered(logits):
    tokens = torch.tensor([[1, 2, 3, 4, 5], [6, 5, 4, 3, 2], [0, 1, 0, 1, 0]])
    scored = torch.tensor([[0, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]]).bool()
    rows = torch.tensor([2, 0, 0, 1])
    for metric in (
        loss(tokens, scored),
        logit_difference(tokens[:, 1], tokens[:, 1] + 1, torch.tensor([0, 3, 2])),
        kl_from(logits.flip(1), scored),
    ):
        assert metric.select(rows)(logits[rows]).tolist() == metric(logits)[rows].tolist()
        assert len(metric.select(rows)) == 4


def test_gradients_flow_through_every_metric(logits):
    tokens = torch.tensor([[1, 2, 3, 4, 5]] * 3)
    for metric in (
        loss(tokens, torch.tensor([[0, 1, 1, 0, 0]] * 3).bool()),
        logit_difference(tokens[:, 1], tokens[:, 2], 1),
        kl_from(logits.flip(1), torch.tensor([[0, 1, 1, 0, 0]] * 3).bool()),
    ):
        run = logits.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(metric(run).sum(), run)
        reached = gradient.abs().sum((0, 2)) > 0
        assert reached.tolist() == [metric.name == "loss", True, metric.name == "KL", False, False]


def test_a_metric_of_ones_own_is_a_function_and_its_data(logits):
    mine = Metric("mean", "logits", "of a row", (torch.arange(3),), lambda logits, rows: logits.mean((1, 2)) + rows)
    assert mine(logits).tolist() == (logits.mean((1, 2)) + torch.arange(3)).tolist()


def test_what_cannot_be_meant_is_refused(logits):
    tokens = torch.ones(3, 5, dtype=torch.long)
    scored = torch.zeros(3, 5, dtype=torch.bool)
    scored[:2, 3] = True
    with pytest.raises(InputError, match="sequence 2 has no scored token"):
        loss(tokens, scored)
    with pytest.raises(InputError, match="position 0 cannot be scored"):
        loss(tokens, torch.ones(3, 5, dtype=torch.bool))
    with pytest.raises(InputError, match=r"same in sequence 1 \(token 4\)"):
        logit_difference(torch.tensor([1, 4]), torch.tensor([2, 4]))
    with pytest.raises(InputError, match="for each sequence, got 2 and 3"):
        logit_difference(torch.tensor([1, 4]), torch.tensor([2, 4, 5]))
    with pytest.raises(InputError, match=r"one position or more of each of the reference's \[3, 5\]"):
        kl_from(logits, scored)
    with pytest.raises(InputError, match="'logit difference' is of 2 sequences, the logits are of 3"):
        logit_difference(torch.tensor([1, 4]), torch.tensor([2, 5]))(logits)
