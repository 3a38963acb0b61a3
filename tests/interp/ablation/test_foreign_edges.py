"""Which earlier head feeds a head behind a bridge: the numbers of the model with split inputs, and of transformers."""

import pytest
import torch
import torch.nn.functional as F

from interp.ablation import edge_effects, fewest_enough, head_outputs
from interp.errors import InputError
from interp.heads.detectors import DUPLICATE_TOKEN, PREVIOUS_TOKEN
from interp.names import Head
from tests.hugging_face import hugging_face, tokens_for, wrapped
from tests.input_twin import run_changed, ungrouped
from tests.reference_transformer import random_model, random_tokens
from toy_models.bridge import to_bridge
from toy_models.config import TransformerConfig

READER = Head(2, 1)
CONFIG = TransformerConfig(
    n_layers=3, n_heads=2, d_model=8, d_head=4, d_vocab=9, n_ctx=10, normalization="LN", positions="rotary", d_mlp=5
)


@pytest.fixture(scope="module")
def both():
    model = random_model(CONFIG)
    return model, to_bridge(model)


def asked(pos=10):
    tokens = random_tokens(CONFIG, 4, pos)
    return tokens, (torch.arange(pos) > 4).expand_as(tokens).clone(), torch.Generator().manual_seed(0)


def effects(model, **options):
    return edge_effects(model, READER, *asked(), score=DUPLICATE_TOKEN, **options)


def same(a, b):
    return torch.allclose(a.samples, b.samples, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("to", ["zero", "resample"])
def test_a_bridge_has_every_number_of_the_model_with_split_inputs(both, to):
    native, bridge = (effects(model, to=to) for model in both)
    assert bridge.intact.mean == pytest.approx(native.intact.mean, abs=1e-6)
    assert bridge.intact_loss.mean == pytest.approx(native.intact_loss.mean, abs=1e-6)
    for channel, expected in native.channels.items():
        found = bridge.channels[channel]
        assert same(found.drop, expected.drop)
        assert same(found.alone, expected.alone)
        assert same(found.loss, expected.loss)
        assert found.together_drop.mean == pytest.approx(expected.together_drop.mean, abs=1e-6)
        assert found.together_loss.mean == pytest.approx(expected.together_loss.mean, abs=1e-6)
    assert min(float(native.channels[c].drop.score.abs().min()) for c in "QK") > 1e-4
    assert float(native.channels["V"].drop.score.abs().max()) == float(bridge.channels["V"].drop.score.abs().max()) == 0


def test_patterns_alone_take_no_run_of_a_bridge(both, monkeypatch):
    whole, outputs = effects(both[1], channels="QK"), head_outputs(both[1], asked()[0])
    monkeypatch.setattr(type(both[1]), "forward", lambda *_, **__: pytest.fail("the bridge ran"))
    found = effects(both[1], channels="QK", losses=False, outputs=outputs)
    for channel, effect in found.channels.items():
        assert same(effect.drop, whole.channels[channel].drop)
        assert same(effect.alone, whole.channels[channel].alone)
        assert (effect.loss, effect.together_loss) == (None, None)
    assert found.to_dict()["intact loss"] is None
    order = [Head(0, 0), Head(1, 1), Head(0, 1), Head(1, 0)]
    few, lost = fewest_enough(both[1], READER, "K", order, *asked(), lost=0.05, score=DUPLICATE_TOKEN, outputs=outputs)
    expected, expected_lost = fewest_enough(both[0], READER, "K", order, *asked(), lost=0.05, score=DUPLICATE_TOKEN)
    assert few == expected
    assert lost.mean == pytest.approx(expected_lost.mean, abs=1e-6)


@pytest.mark.parametrize("which", [0, 1])
def test_heads_that_are_not_tried_have_no_number_and_the_others_keep_theirs(both, which):
    tried = [Head(0, 1), Head(1, 0)]
    whole, found = effects(both[which], channels=["K"]), effects(both[which], channels=["K"], tried=tried, losses=False)
    some, every = found.channels["K"], whole.channels["K"]
    for name in ("drop", "alone"):
        score, expected = getattr(some, name).score, getattr(every, name).score
        assert score.isnan().tolist() == [[True, False], [False, True]]
        assert [float(score[head]) for head in tried] == pytest.approx([float(expected[head]) for head in tried])
    assert some.together_drop.mean == pytest.approx(every.together_drop.mean, rel=1e-6)


def test_losses_of_a_grouped_rotary_llama_are_those_of_transformers_own_attention():
    model = hugging_face("Llama")
    twin, bridge, tokens = ungrouped(model), wrapped(model), tokens_for(3, 12)
    scored = (torch.arange(12) > 5).expand_as(tokens).clone()
    found = edge_effects(
        bridge, Head(1, 2), tokens, scored, torch.Generator().manual_seed(0), score=PREVIOUS_TOKEN
    ).channels

    def loss(changes):
        logits, written = run_changed(twin, tokens, changes)
        each = F.cross_entropy(logits[:, 5:-1].transpose(1, 2), tokens[:, 6:], reduction="none").mean(1)
        return each, written

    intact, written = loss({})
    for channel in "QKV":
        for head in range(4):
            out = written[f"L0H{head}"]
            changed, _ = loss({f"L1H2.{channel}": lambda now, out=out: out.mean((0, 1)) - out})
            samples = found[channel].loss.samples[:, 0, head]
            assert samples.tolist() == pytest.approx((changed - intact).tolist(), abs=2e-5)
            assert float(samples.abs().max()) > 1e-3


def test_attention_that_cannot_be_computed_anew_is_refused_before_anything_is_measured(monkeypatch):
    model = hugging_face("Llama")
    bridge = wrapped(model)
    monkeypatch.setattr("interp.ablation.head_inputs.window_of", lambda *_: 3)
    with pytest.raises(InputError, match="it attends in a way that its weights do not show"):
        head_outputs(bridge, tokens_for())
