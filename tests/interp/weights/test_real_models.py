"""Weights of Hugging Face models behind TransformerLens bridges, against those models' own eager runs."""

import pytest

from interp.weights import weights_of
from tests.hugging_face import MODELS, hugging_face, tokens_for, wrapped
from tests.reference_transformer import logits_from


@pytest.fixture(scope="module")
def models():
    """Each model alone and its bridge, made once."""
    made = {name: hugging_face(name) for name in MODELS}
    return {name: (model, wrapped(model)) for name, model in made.items()}


def tolerance(name):
    """Hugging Face turns queries and keys in float32, and normalises in float32 in the Llama family."""
    return 1e-9 if name == "GPT-2" else 2e-5


def largest(difference):
    return float(difference.detach().abs().max())


@pytest.mark.parametrize("name", MODELS)
def test_the_view_alone_gives_the_models_own_logits(models, name):
    (model, bridge), tokens = models[name], tokens_for()
    logits = model(tokens).logits
    for fold in (True, False):
        w = weights_of(bridge, fold=fold)
        assert largest(logits_from(w, tokens) - logits) <= tolerance(name) * largest(logits)
        assert w.is_folded == fold
