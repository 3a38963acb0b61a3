"""All kinds together: q-values over one family, and a false-discovery rate that is what it says."""

import dataclasses

import pytest
import torch

from interp.composition import composition, compositions
from interp.errors import InputError
from interp.names import Head
from interp.stats import benjamini_yekutieli
from interp.weights import weights_of
from tests.reference_transformer import random_model
from toy_models.config import TransformerConfig
from toy_models.handmade.catalogue import make
from toy_models.handmade.transforms import add_idle_heads

SMALL = TransformerConfig(n_layers=3, n_heads=2, d_model=10, d_head=4, d_vocab=11, n_ctx=9, normalization="LN")
MANY = dataclasses.replace(SMALL, n_layers=2, n_heads=4, d_model=16, d_vocab=5, n_ctx=4)


def test_q_values_are_over_all_pairs_of_all_kinds_for_each_tail(generator):
    found = compositions(weights_of(random_model(SMALL)), generator, draws=60)
    assert list(found.kinds) == ["Q", "K", "V"]
    for name in ("above", "below"):
        p = torch.stack([getattr(each, f"p_{name}") for each in found.kinds.values()])
        q = torch.stack(list(getattr(found, f"q_{name}").values()))
        assert torch.equal(q.nan_to_num(-1), benjamini_yekutieli(p).nan_to_num(-1))
    assert found.tested == 3 * 12


def test_each_edge_carries_the_numbers_of_its_pair(generator):
    found = compositions(weights_of(random_model(SMALL)), generator, draws=60)
    edges = list(found.edges())
    assert len(edges) == found.tested
    edge = next(e for e in edges if (e.kind, e.earlier, e.later) == ("K", Head(0, 1), Head(2, 0)))
    at, kind = (0, 1, 2, 0), found.kinds["K"]
    assert (edge.score, edge.bound, edge.share) == (kind.score[at], kind.law.bound[at], kind.share[at])
    assert (edge.p_above, edge.p_below) == (kind.p_above[at], kind.p_below[at])
    assert (edge.q_above, edge.q_below) == (found.q_above["K"][at], found.q_below["K"][at])
    assert str(edge) == "L0H1 -> L2H0.K"


@pytest.mark.parametrize("name, kind", [("induction_k", "K"), ("induction_q", "Q"), ("two_back", "V")])
def test_the_only_edge_above_the_null_of_a_handmade_model_is_its_own(name, kind, generator):
    found = compositions(weights_of(add_idle_heads(make(name).model, 2)), generator, draws=60)
    (edge,) = found.above()
    assert (edge.kind, edge.earlier, edge.later) == (kind, Head(0, 0), Head(1, 0))
    assert edge.share == pytest.approx(1)
    assert {e.kind for e in found.below()} == {"Q", "K", "V"} - {kind}
    assert all(e.share < 0 for e in found.below())
    assert found.tested == 3  # idle heads are not tested


def test_on_random_weights_an_edge_is_called_in_at_most_the_stated_share_of_models():
    models, level = 80, 0.2
    called = {"above": 0, "below": 0, "uncorrected": 0}
    for seed in range(models):
        w = weights_of(random_model(MANY, seed))
        found = compositions(w, torch.Generator().manual_seed(seed), draws=100)
        called["above"] += bool(found.above(level))
        called["below"] += bool(found.below(level))
        called["uncorrected"] += any(e.p_above <= level for e in found.edges())
    for tail in ("above", "below"):
        assert called[tail] / models <= level + 3 * (level * (1 - level) / models) ** 0.5
    assert called["uncorrected"] / models > 0.9


def test_planted_edges_are_found_among_random_ones_with_few_false_ones():
    models, level, missed, false = 40, 0.2, 0, []
    for seed in range(models):
        w = weights_of(random_model(dataclasses.replace(MANY, d_model=32), seed))
        W_K = w.W_K.clone()
        W_K[1, 1] = w.W_O[0, 2].T
        W_K[1, 3] = w.W_O[0, 0].T
        found = compositions(dataclasses.replace(w, W_K=W_K), torch.Generator().manual_seed(seed), draws=100)
        above = {(e.kind, *e.earlier, *e.later) for e in found.above(level)}
        planted = {("K", 0, 2, 1, 1), ("K", 0, 0, 1, 3)}
        missed += len(planted - above)
        false.append(len(above - planted) / max(1, len(above)))
    share = torch.tensor(false)
    assert missed == 0
    assert float(share.mean()) <= level + 3 * float(share.std()) / models**0.5


def test_the_dictionary_names_what_survives(generator):
    found = compositions(weights_of(make("induction_k").model), generator, draws=100)
    written = found.to_dict()
    assert written["surviving"]["above"] == ["L0H0 -> L1H0.K"]
    assert written["surviving"]["tested"] == 3
    assert written["kinds"]["K"]["q_above"][0][0][1][0] == float(found.q_above["K"][0, 0, 1, 0])
    assert written["kinds"]["K"]["q_above"][1][0][0][0] is None


def test_some_kinds_alone_are_one_family(generator):
    w = weights_of(random_model(dataclasses.replace(SMALL, positions="rotary")))
    found = compositions(w, torch.Generator().manual_seed(0), 50, offsets=2, kinds=["K"])
    alone = composition(w, "K", torch.Generator().manual_seed(0), 50, offsets=2)
    assert found.tested == 12
    assert torch.equal(found.kinds["K"].p_above.nan_to_num(-1), alone.p_above.nan_to_num(-1))
    everything = compositions(w, generator, 20, offsets=2)
    assert everything.kinds["V"].offsets is None
    with pytest.raises(InputError, match="at least one kind"):
        compositions(w, generator, kinds=[])
