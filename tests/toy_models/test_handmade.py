"""Every handmade model does what its truth says, to the stated tolerance; and what the truth says is readable."""

import json
import math
from typing import Any

import pytest
import torch

from tests.toy_models.handmade_measures import edges_of, measure_all, run
from toy_models.errors import InputError
from toy_models.handmade import Edge, Truth, make, names

COPY_LOSS = math.log1p(15 * math.exp(-12))  # one logit of 12 among 16
SIZES: dict[str, dict[str, Any]] = {
    "reference": {},
    "larger": {"d_vocab": 40, "n_ctx": 96},
    "short context": {"d_vocab": 40, "n_ctx": 33},
    "float32": {"dtype": torch.float32},
}


@pytest.fixture(scope="module", params=names())
def handmade(request):
    return make(request.param)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", names())
def test_every_expected_value_is_what_the_model_does(name, size):
    handmade = make(name, **SIZES[size])
    assert wrong_values(handmade) == {}


@pytest.mark.parametrize(
    "name, options",
    [
        ("induction_q", {"recency": 0.0}),
        ("induction_shared", {"share": "tokens"}),
        ("no_copy", {"writes": "nothing"}),
        ("positional", {"period": 7}),
        ("shift_by", {"by": 5}),
        ("shift_by", {"by": 1}),
        ("duplicate_token", {"recency": 0.0}),
        ("skip_trigram", {"table": (("a", "b", "c"), ("a", "d", "c"), ("e", "b", "f"))}),
        ("random_weights", {"of": "induction_q", "seed": 3}),
        ("untrained", {"of": "two_back", "seed": 3}),
    ],
)
def test_every_expected_value_holds_with_a_models_own_options(name, options):
    assert wrong_values(make(name, **options)) == {}


def wrong_values(handmade):
    measured = measure_all(handmade)
    assert len(measured) > 0
    return {(e.quantity, e.at): (e.value, value) for e, value in measured if not e.holds(value)}


@pytest.mark.parametrize(
    "name, quantity, at, value",
    [
        ("induction_k", "K-composition", ((0, 0), (1, 0)), 0.25),
        ("induction_q", "Q-composition", ((0, 0), (1, 0)), 1 / math.sqrt(34)),
        ("two_back", "V-composition", ((0, 0), (1, 0)), 0.25),
        ("literal_current", "K-composition", ((0, 0), (1, 0)), 0.25),
        ("literal_current", "V-composition", ((0, 0), (1, 0)), 0.25),
        ("induction_k", "order-0 loss", (), math.log(16)),
        ("induction_k", "order-1 loss", (), COPY_LOSS),
        ("induction_k", "order-2 loss", (), COPY_LOSS),
        ("two_back", "order-1 loss", (), math.log(16)),
        ("two_back", "order-2 loss", (), COPY_LOSS),
        ("induction_k", "loss without", ((0, 0),), 3.022),
        ("induction_q", "loss without", ((0, 0),), 3.022),
        ("induction_k", "loss without (patterns held)", ((0, 0),), COPY_LOSS),
        ("two_back", "loss without (patterns held)", ((0, 0),), math.log(16)),
    ],
)
def test_truths_of_the_reference_layout_state_the_known_numbers(name, quantity, at, value):
    assert make(name).truth.find(quantity, *at).value == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize("name, d_model, d_head", [("induction_k", 82, 34), ("induction_q", 100, 50)])
def test_reference_layout_has_the_known_widths(name, d_model, d_head):
    config = make(name).model.config
    assert (config.d_model, config.d_head) == (d_model, d_head)


def test_transformer_and_slow_twin_give_the_same_logits(handmade):
    tokens = handmade.example_tokens
    with torch.no_grad():
        torch.testing.assert_close(handmade.model(tokens), run(handmade.model, tokens)[0], rtol=0, atol=1e-9)


def test_edges_are_exactly_the_products_of_weights_that_are_not_zero(handmade):
    assert edges_of(handmade.model, handmade.truth.roles) == handmade.truth.edges


def test_edges_of_induction_by_k_composition():
    assert make("induction_k").truth.edges == {
        Edge("position", (0, 0), "Q"),
        Edge("position", (0, 0), "K"),
        Edge("token", (0, 0), "V"),
        Edge("token", (1, 0), "Q"),
        Edge((0, 0), (1, 0), "K"),
        Edge("token", (1, 0), "V"),
        Edge((1, 0), "logits", "logits"),
    }


def test_edges_of_induction_by_q_composition():
    assert make("induction_q").truth.edges == {
        Edge("position", (0, 0), "Q"),
        Edge("position", (0, 0), "K"),
        Edge("token", (0, 0), "Q"),
        Edge("token", (0, 0), "K"),
        Edge("position", (0, 0), "V"),
        Edge((0, 0), (1, 0), "Q"),
        Edge("position", (1, 0), "K"),
        Edge("token", (1, 0), "V"),
        Edge((1, 0), "logits", "logits"),
    }


def test_only_the_induction_models_are_called_induction():
    made = {name: make(name).truth for name in names()}
    assert {name: truth.composition for name, truth in made.items() if truth.is_induction} == {
        "induction_k": "K",
        "induction_q": "Q",
        "induction_both": "K and Q",
        "induction_shared": "K",
        "induction_smeared": "smeared keys",
        "copy_suppression": "K",
    }
    assert all(bool(truth.heads("induction")) == truth.is_induction for truth in made.values())


def test_every_head_of_the_model_has_a_role(handmade):
    config = handmade.model.config
    heads = {(layer, index) for layer in range(config.n_layers) for index in range(config.n_heads)}
    assert set(handmade.truth.roles) == heads


def test_idle_heads_have_zero_weights_and_others_do_not(handmade):
    for (layer, index), role in handmade.truth.roles.items():
        used = handmade.model.W_Q[layer, index].norm() > 0
        assert used == (role != "idle")


def test_truth_survives_json(handmade):
    read = json.loads(json.dumps(handmade.truth.to_dict()))
    assert read["roles"] == {f"L{layer}H{i}": role for (layer, i), role in handmade.truth.roles.items()}
    assert len(read["edges"]) == len(handmade.truth.edges)
    assert [e["value"] for e in read["expected"]] == [e.value for e in handmade.truth.expected]


def test_truth_cannot_be_changed():
    truth = make("induction_k").truth
    with pytest.raises(TypeError):
        truth.roles[0, 0] = "induction"  # type: ignore[index]
    with pytest.raises(AttributeError):
        truth.name = "other"  # type: ignore[misc]


def test_labels_name_every_token(handmade):
    assert len(set(handmade.labels)) == handmade.model.config.d_vocab


def test_making_a_model_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    for name in names():
        make(name)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("induktion_k", {}, "no handmade model is called 'induktion_k'; try induction_k"),
        ("induction_k", {"vocab": 3}, "induction_k has no option 'vocab'; it has d_vocab, dtype, gain, n_ctx"),
        ("induction_k", {"d_vocab": 2}, "d_vocab must be at least 4, got 2"),
        ("induction_k", {"n_ctx": 8.0}, "n_ctx must be a whole number, got 8.0"),
        ("induction_k", {"gain": math.nan}, "gain must be a positive number, got nan"),
        ("induction_k", {"sharpness": "high"}, "sharpness must be a number, got 'high'"),
        ("induction_k", {"dtype": torch.float16}, "dtype must be torch.float32 or torch.float64"),
        ("induction_q", {"recency": -1.0}, "recency must be 0 or above, got -1.0"),
        ("induction_smeared", {"smear": 0.0}, "smear must lie between -700 and -20"),
        ("induction_shared", {"share": "fairly"}, "share must be one of 'strength', 'tokens', got 'fairly'"),
        ("no_copy", {"writes": "much"}, "writes must be one of 'another token', 'nothing', got 'much'"),
        ("positional", {"period": 16}, "period must lie between 3 and 15, got 16"),
        ("shift_by", {"by": 0}, "by must lie between 1 and 13, got 0"),
        ("shift_by", {"by": True}, "by must be a whole number, got True"),
        ("induction_k", {"n_ctx": 3}, "n_ctx must be at least 7, got 3"),
        ("positional", {"period": 2.5}, "period must be a whole number, got 2.5"),
        (
            "random_weights",
            {"of": "nothing"},
            "of must be one of 'induction_k', 'induction_q', 'two_back', got",
        ),
        ("skip_trigram", {"table": ()}, "table must hold"),
        ("skip_trigram", {"table": (("a", "b", "c"), ("b", "d", "e"))}, "both source and present word: 'b'"),
        ("skip_trigram", {"d_vocab": 6}, "d_vocab must be at least 7, got 6"),
    ],
)
def test_bad_input_is_refused_with_one_clear_line(name, options, message):
    with pytest.raises(InputError) as caught:
        make(name, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_asking_for_a_value_that_is_not_stated_says_what_is():
    with pytest.raises(InputError, match=r"induction_k states no 'accuracy' at L1H0; it states K-composition"):
        make("induction_k").truth.find("accuracy", (1, 0))


def test_an_unknown_role_is_refused():
    with pytest.raises(InputError, match="no role is called 'leader'"):
        Truth("mine", "", {(0, 0): "leader"}, frozenset(), ())
