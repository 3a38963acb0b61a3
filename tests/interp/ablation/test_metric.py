"""Effects of removed heads on numbers of the user's own choice: a handmade head's gain, and the loss itself."""

from dataclasses import dataclass

import pytest
import torch

from interp.ablation import head_effects, metric_effects
from interp.errors import InputError
from interp.patching import logit_difference
from interp.patching.metrics import loss
from toy_models import handmade
from toy_models.config import TransformerConfig
from toy_models.transformer import Transformer


@dataclass(frozen=True)
class Own:
    """A metric from scratch."""

    value: float
    per_position: bool = False
    name: str = "own"
    unit: str = "logits"
    text: str = "a number"

    def __call__(self, logits):
        return logits[:, :, 0] if self.per_position else logits[:, -1, 0] * 0 + self.value


def induction_case():
    made = handmade.make("induction_k")
    tokens = made.example_tokens[:, :24]
    return made.model, tokens, made.answers[:, 23]


@pytest.mark.parametrize("hold", [False, True])
def test_a_logit_difference_loses_the_gain_of_the_induction_head(hold):
    model, tokens, right = induction_case()
    metric = logit_difference(right, (right + 1) % 16)
    found = metric_effects(model, tokens, metric, torch.Generator().manual_seed(0), to="zero", hold_patterns=hold)
    assert float(found.also["intact"][0, 0]) == pytest.approx(12, abs=1e-3)
    assert float(found.score[1, 0]) == pytest.approx(-12, abs=1e-3)
    assert float(found.score[0, 0]) == pytest.approx(0 if hold else -12, abs=1e-3 if hold else 1.0)
    assert found.unit == "logits"
    assert ("patterns held" in found.protocol) == hold


@pytest.mark.parametrize("to", ["mean", "zero", "resample"])
def test_effects_on_the_loss_as_a_metric_are_those_of_head_effects(generator, to):
    sizes = {"n_layers": 2, "n_heads": 3, "d_model": 12, "d_head": 5, "d_vocab": 11, "n_ctx": 10}
    model = Transformer(TransformerConfig(**sizes), generator).double()
    tokens = torch.randint(11, (6, 10), generator=generator)
    scored = (torch.arange(10) > 4).expand_as(tokens).clone()
    found = metric_effects(model, tokens, loss(tokens, scored), torch.Generator().manual_seed(1), to=to)
    expected = head_effects(model, tokens, scored, torch.Generator().manual_seed(1), to=to).loss
    assert torch.allclose(found.samples, expected.samples, atol=1e-12)
    assert torch.allclose(found.nulls["other heads of its layer"], expected.nulls["other heads of its layer"])
    assert float(found.samples.abs().max()) > 1e-3


def test_metrics_that_are_no_number_for_each_sequence_are_refused(generator):
    model, tokens, _ = induction_case()
    with pytest.raises(InputError, match=r"each of \d+ sequences, got \[\d+\] with NaN or infinity"):
        metric_effects(model, tokens, Own(float("nan")), generator, to="zero")
    with pytest.raises(InputError, match=r"must give a finite number for each of \d+ sequences, got \[\d+, 24\]"):
        metric_effects(model, tokens, Own(0, per_position=True), generator, to="zero")
