"""What the weights of handmade models say, by the library's functions: composition, paths, copying, matching."""

import pytest

from interp.circuits import Factored, copying_score, diagonal_scores, direct_path, full_ov, full_qk
from interp.circuits.diagonal import eigenvalue_share
from interp.composition import composition_scores, token_composition, token_table
from interp.paths import score_table, virtual_full_ov
from interp.weights import weights_of
from tests.interp.truth_copies import copy_of, every_copy, every_model, stated, wrong
from toy_models import handmade


def largest(table: Factored) -> float:
    return float(table.dense().abs().max())


@every_copy
@every_model
def test_composition_scores_are_those_of_the_truth(name, copy):
    made = copy_of(name, copy)
    w = weights_of(made.model)
    scores = {kind: composition_scores(w, kind) for kind in ("Q", "K", "V")}
    known = stated(made, *(f"{kind}-composition" for kind in scores))
    assert wrong((e, float(scores[e.quantity[0]][(*e.at[0], *e.at[1])])) for e in known) == {}
    if copy in ("other head bases", "idle and permuted heads"):  # theory says that none of them moves
        assert len(known) == len(stated(handmade.make(name), *(f"{kind}-composition" for kind in scores)))


@every_copy
@every_model
def test_logits_of_every_path_are_those_of_the_truth(name, copy):
    made = copy_of(name, copy)
    w = weights_of(made.model)
    found = []
    for e in stated(made, "path logit"):
        if e.at:
            found.append((e, largest(virtual_full_ov(w, e.at))))
        else:
            sources = ("token",) if w.W_pos is None else ("token", "position")
            found.append((e, max(largest(direct_path(w, source)) for source in sources)))
        if len(e.at) == 1:
            found.append((e, largest(full_ov(w, e.at[0]))))
        if len(e.at) == 2:
            found.append((e, largest(token_table(w, *e.at, "V"))))
    assert found or name in ("random_weights", "untrained")
    assert wrong(found) == {}


@every_copy
@every_model
def test_paths_copy_as_the_truth_says(name, copy, generator):
    made = copy_of(name, copy)
    w = weights_of(made.model)
    known = stated(made, "path copying")
    assert wrong((e, float(eigenvalue_share(virtual_full_ov(w, e.at)))) for e in known) == {}
    for e in known:
        if abs(e.value) == 1:  # with row means removed, which leaves the ratio of a multiple of the identity alone
            scores = diagonal_scores(virtual_full_ov(w, e.at), generator, draws=9)
            assert float(scores.eigenvalue.value) == pytest.approx(e.value, abs=1e-7)
            assert float(scores.cosine.value) == pytest.approx(e.value, abs=1e-7)
        if len(e.at) == 1 and e.value == 1:
            assert float(copying_score(w, generator, e.at[0], draws=9).eigenvalue.p_values()) == 0.1


@every_copy
@every_model
def test_keys_and_pointers_match_through_the_earlier_head_as_the_truth_says(name, copy, generator):
    made = copy_of(name, copy)
    w = weights_of(made.model)
    found = []
    for e in stated(made, "K-matching"):
        found.append((e, float(eigenvalue_share(token_table(w, *e.at, "K")))))
        found.append((e, float(eigenvalue_share(score_table(w, e.at[1], key=[e.at[0]])))))
    for e in stated(made, "pointer"):
        scores = token_composition(w, *e.at, "Q", generator, draws=9, moved="position", other="position", shift=1)
        found.append((e, float(scores.top1.value)))
    for e in stated(made, "token matching"):
        found.append((e, largest(full_qk(w, e.at[0])) / w.attn_scale))
    assert wrong(found) == {}
