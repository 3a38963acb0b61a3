import dataclasses
from typing import Any

import pytest
import torch

from interp.errors import InputError
from interp.heads.matching import copy_entries, offset_entries
from interp.names import Head
from interp.paths import Path, freeze, kind_of, score_paths, score_paths_of, shares
from interp.paths.scores import KINDS
from tests.frozen_twin import Twin, term
from tests.reference_transformer import random_model, random_tokens
from toy_models.config import TransformerConfig
from toy_models.handmade import make
from toy_models.transformer import Transformer

SMALL = TransformerConfig(
    n_layers=2, n_heads=2, d_model=8, d_head=4, d_vocab=11, n_ctx=9, positions="standard", normalization="LN"
)
CASES: dict[str, dict[str, Any]] = {
    "LN, standard, smeared": {"smeared_keys": True},
    "RMS, rotary, MLP, smeared": {"positions": "rotary", "normalization": "RMS", "d_mlp": 5, "smeared_keys": True},
    "LN, shortformer": {"positions": "shortformer"},
    "none, standard, three layers": {"n_layers": 3, "normalization": "none", "biases": False},
}
FIRST, SECOND = Head(0, 0), Head(1, 0)


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_every_part_is_the_inclusion_exclusion_on_both_sides(options):
    config = dataclasses.replace(SMALL, **options)
    model, tokens = random_model(config), random_tokens(config, pos=5)
    run, slow = freeze(model, tokens, scores=True), Twin(model, tokens)
    head = Head(config.n_layers - 1, 1)
    found = score_paths_of(run, head)
    sides = [
        {
            path: term(lambda kept, path=path, x=letter: slow.side(x, head, kept, {path.source}), path.heads)
            for path in paths
        }
        for letter, paths in zip("QK", (found.query_paths, found.key_paths), strict=True)
    ]
    for query in found.query_paths[::2]:
        for key in found.key_paths[::3]:
            expected = slow.scores(sides[0][query], sides[1][key])
            allowed = expected.isfinite()
            torch.testing.assert_close(found.part(query, key)[allowed], expected[allowed], rtol=0, atol=1e-9)
    whole = slow.scores(*(torch.stack(list(side.values())).sum(0) for side in sides))
    torch.testing.assert_close(whole, run.scores[head.layer][:, 1], rtol=0, atol=1e-9)


def test_every_side_of_a_path_is_its_inclusion_exclusion_before_it_is_rotated():
    config = dataclasses.replace(SMALL, n_layers=3)
    model, tokens = random_model(config), random_tokens(config, pos=5)
    slow, head = Twin(model, tokens), Head(2, 0)
    found = score_paths(model, tokens, head)
    for letter, paths, values, scale in (
        ("Q", found.query_paths, found.queries, 2.0),
        ("K", found.key_paths, found.keys, 1.0),
    ):
        assert len(paths) == len(set(paths)) == 3 + 3 * 8
        for path, value in zip(paths, values, strict=True):
            expected = term(lambda kept, path=path, x=letter: slow.side(x, head, kept, {path.source}), path.heads)
            torch.testing.assert_close(value * scale, expected, rtol=0, atol=1e-9, msg=f"{letter} {path}")


def test_a_head_of_the_first_layer_has_direct_paths_alone():
    found = score_paths(random_model(SMALL), random_tokens(SMALL), (0, 1))
    assert found.query_paths == found.key_paths == (Path("token"), Path("position"), Path("bias"))
    assert found.complete
    assert found.error <= 1e-12


@pytest.mark.parametrize("limits", [{"order": 1}, {"order": 0}, {"most": 2}, {"most": 0}, {"order": 1, "most": 3}])
def test_bounded_paths_are_those_of_the_whole_and_the_error_says_how_much_is_missing(limits):
    config = dataclasses.replace(SMALL, n_layers=3)
    run = freeze(random_model(config), random_tokens(config), scores=True)
    whole, bounded = score_paths_of(run, (2, 1)), score_paths_of(run, (2, 1), **limits)
    assert set(bounded.query_paths) < set(whole.query_paths)
    for query in bounded.query_paths[::5]:
        for key in bounded.key_paths[::3]:
            torch.testing.assert_close(bounded.part(query, key), whole.part(query, key), rtol=0, atol=1e-10)
    allowed = whole.scores.isfinite()
    kept = sum(whole.part(q, k) for q in bounded.query_paths for k in bounded.key_paths)
    missing = float((whole.scores - kept)[allowed].abs().max() / whole.scores[allowed].abs().max())
    assert bounded.error == pytest.approx(missing)
    assert bounded.error > 1e-3
    assert (whole.complete, bounded.complete) == (True, False)


def a_mask(tokens):
    """Some targets, with queries that have none, that have two, and whose every key is one; some lie ahead."""
    mask = torch.zeros(*tokens.shape, tokens.shape[1], dtype=torch.bool)
    mask[:, 4, [1, 3]] = mask[:, 5, 0] = mask[:, 2, :3] = mask[0, 6, 6] = mask[:, 1, 5] = True
    return mask


def contrast_by_hand(scores, mask):
    """[batch]: mean score at targets minus mean over the other keys at most as late, over queries that have both."""
    found = []
    for row, targets in zip(scores, mask, strict=True):
        values = []
        for dest in range(row.shape[0]):
            here = [float(row[dest, src]) for src in range(dest + 1) if targets[dest, src]]
            there = [float(row[dest, src]) for src in range(dest + 1) if not targets[dest, src]]
            if here and there:
                values.append(sum(here) / len(here) - sum(there) / len(there))
        found.append(sum(values) / len(values))
    return torch.tensor(found, dtype=torch.float64)


def test_parts_of_the_contrast_are_the_contrasts_of_the_parts_and_add_up():
    config = dataclasses.replace(SMALL, positions="rotary", smeared_keys=True)
    run = freeze(random_model(config), random_tokens(config), scores=True)
    found, mask = score_paths_of(run, (1, 0)), a_mask(run.tokens)
    contrast = found.contrast(mask)
    seen = contrast_by_hand(run.scores[1][:, 0], mask)
    torch.testing.assert_close(contrast.seen, seen)
    torch.testing.assert_close(contrast.parts.sum((0, 1)), seen)
    assert contrast.error <= 1e-10
    for i, query in enumerate(found.query_paths):
        for j, key in enumerate(found.key_paths):
            torch.testing.assert_close(contrast.parts[i, j], contrast_by_hand(found.part(query, key), mask))


def test_groups_of_the_contrast_keep_its_sum_and_name_who_composes(generator):
    run = freeze(random_model(SMALL), random_tokens(SMALL), scores=True)
    contrast = score_paths_of(run, (1, 0)).contrast(a_mask(run.tokens))
    kinds, chains = contrast.by_kind(), contrast.by_chains()
    assert tuple(kinds) == KINDS
    for groups in (kinds, chains):
        torch.testing.assert_close(torch.stack(list(groups.values())).sum(0), contrast.seen)
    through = torch.stack([part for (query, key), part in chains.items() if key and not query]).sum(0)
    torch.testing.assert_close(kinds["K"], through)
    assert {key for query, key in chains if not query} == {(), (Head(0, 0),), (Head(0, 1),)}
    for name, estimate in contrast.estimates(kinds, generator).items():
        assert estimate.mean == pytest.approx(float(kinds[name].mean()))
        assert (estimate.low <= estimate.mean <= estimate.high, estimate.n) == (True, 2)
    direct = score_paths_of(run, (0, 0)).contrast(a_mask(run.tokens))
    assert float(direct.by_kind()["both"].abs().max()) == 0
    torch.testing.assert_close(direct.by_kind()["direct"], direct.seen)


def test_a_sequence_without_targets_is_left_out_and_two_are_needed():
    run = freeze(random_model(SMALL), random_tokens(SMALL, batch=3), scores=True)
    found, mask = score_paths_of(run, (1, 1)), a_mask(random_tokens(SMALL, batch=3))
    all_three = found.contrast(mask)
    mask[1] = False
    torch.testing.assert_close(found.contrast(mask).parts, all_three.parts[..., [0, 2]])
    mask[0] = False
    with pytest.raises(InputError, match="at least two sequences"):
        found.contrast(mask)
    with pytest.raises(InputError, match=r"targets must be \[batch dest src\] \[3, 7, 7\]"):
        found.contrast(mask[:, :3])


@pytest.mark.parametrize(
    "query, key, kind",
    [((), (), "direct"), ((FIRST,), (), "Q"), ((), (FIRST,), "K"), ((FIRST,), (FIRST,), "both")],
)
def test_kinds_say_which_side_came_through_heads(query, key, kind):
    assert kind_of(Path("token", query), Path("position", key)) == kind


def test_shares_are_given_only_where_all_parts_have_one_sign():
    assert shares({"Q": 1.0, "K": 3.0, "both": 0.0}) == {"Q": 0.25, "K": 0.75, "both": 0.0}
    assert shares({"Q": -1.0, "K": -3.0}) == {"Q": 0.25, "K": 0.75}
    assert shares({"Q": -1.0, "K": 3.0}) is None
    assert shares({"Q": 0.0}) is None


CARRIED = [
    ("induction_k", SECOND, 1, Path("token"), Path("token", (FIRST,)), "K"),
    ("induction_q", SECOND, 1, Path("position", (FIRST,)), Path("position"), "Q"),
    ("induction_both", SECOND, 1, Path("token"), Path("token", (FIRST,)), "K"),
    ("induction_both", Head(1, 1), 1, Path("position", (Head(0, 1),)), Path("position"), "Q"),
    ("induction_smeared", FIRST, 1, Path("token"), Path("token"), "direct"),
    ("literal_current", SECOND, 1, Path("token"), Path("token", (FIRST,)), "K"),
    ("literal_previous", SECOND, 0, Path("token"), Path("token"), "direct"),
    ("anti_copying", SECOND, 1, Path("token"), Path("token", (FIRST,)), "K"),
    ("positional", SECOND, -14, Path("position"), Path("position"), "direct"),
]


@pytest.mark.parametrize("name, head, offset, query, key, kind", CARRIED)
def test_the_contrast_of_handmade_heads_is_carried_by_the_one_pair_that_was_built(name, head, offset, query, key, kind):
    made = make(name)
    tokens = made.example_tokens
    targets = offset_entries(tokens, -offset) if offset < 0 else copy_entries(tokens, offset)
    if name == "literal_previous":  # its query's own key matches as well
        targets |= torch.eye(tokens.shape[1], dtype=torch.bool) & targets.any(-1, keepdim=True)
    contrast = score_paths(made.model, tokens, head).contrast(targets)
    assert contrast.seen.tolist() == pytest.approx([40.0] * 4, abs=1e-6)
    kinds = contrast.by_kind()
    assert {each: float(part.mean()) for each, part in kinds.items()} == pytest.approx(
        {each: 40.0 * (each == kind) for each in KINDS}, abs=1e-6
    )
    for i, a in enumerate(contrast.query_paths):
        for j, b in enumerate(contrast.key_paths):
            carried = 40.0 if (a, b) == (query, key) else 0.0
            assert contrast.parts[i, j].tolist() == pytest.approx([carried] * 4, abs=1e-6), (a, b)
    of_chains = {chains: float(part.mean()) for chains, part in contrast.by_chains().items()}
    assert shares({chains: round(part, 6) for chains, part in of_chains.items()}) == {
        chains: float(chains == (query.heads, key.heads)) for chains in of_chains
    }


def test_a_head_with_two_feeds_gets_half_of_its_contrast_from_each():
    made = make("induction_shared")
    contrast = score_paths(made.model, made.example_tokens, SECOND).contrast(copy_entries(made.example_tokens, 1))
    chains = {key: float(part.mean()) for (query, key), part in contrast.by_chains().items() if not query}
    assert chains == pytest.approx({(): 0.0, (FIRST,): 20.0, (Head(0, 1),): 20.0}, abs=1e-6)


def test_a_key_bias_moves_raw_shares_and_neither_the_pattern_nor_the_contrast():
    made = make("induction_k")
    biased = Transformer(dataclasses.replace(made.model.config, biases=True), torch.Generator()).double()
    biased.load_state_dict(made.model.state_dict(), strict=False)
    with torch.no_grad():
        biased.blocks[1].attn.b_K[0] = 5.0
    tokens, targets = made.example_tokens, copy_entries(made.example_tokens, 1)
    plain, moved = (score_paths_of(freeze(m, tokens, scores=True), SECOND) for m in (made.model, biased))
    pattern, same = (freeze(model, tokens).patterns[1][:, 0] for model in (made.model, biased))
    assert float((pattern - same).abs().max()) <= 1e-12
    was, now = plain.contrast(targets).by_kind(), moved.contrast(targets).by_kind()
    for kind in KINDS:
        torch.testing.assert_close(now[kind], was[kind], rtol=0, atol=1e-9)
    key = Path("token", (FIRST,))
    raw = [
        part[0, 16, 2] / score[0, 16, 2]
        for part, score in zip(
            (plain.part(Path("token"), key), moved.part(Path("token"), key)), (plain.scores, moved.scores), strict=True
        )
    ]
    assert [float(share) for share in raw] == pytest.approx([1.0, 1 / 6], abs=1e-9)


@pytest.mark.parametrize("head, message", [((2, 0), "L2H0 is in layer 2"), ((1, 2), "L1H2 is head 2"), ((-1, 0), "-1")])
def test_scores_of_a_head_that_does_not_exist_are_refused(head, message):
    with pytest.raises(InputError, match=message):
        score_paths(random_model(SMALL), random_tokens(SMALL), head)


def test_runs_without_scores_paths_that_are_not_there_and_too_many_paths_are_refused(monkeypatch):
    model, tokens = random_model(SMALL), random_tokens(SMALL)
    with pytest.raises(InputError, match=r"without attention scores: freeze\(model, tokens, scores=True\)"):
        score_paths_of(freeze(model, tokens), (1, 0))
    run = freeze(model, tokens, scores=True)
    found = score_paths_of(run, (1, 0))
    with pytest.raises(InputError, match="no key path L0 MLP → L0H0"):
        found.part(Path("token"), Path("L0 MLP", (FIRST,)))
    with pytest.raises(InputError, match="no query path L0 MLP"):
        found.part(Path("L0 MLP"), Path("token"))
    monkeypatch.setattr("interp.paths.scores.MEMORY", 1000)
    with pytest.raises(InputError, match=r"9 x 9 pairs of paths take 1.3e-06 GB, more than 1e-06 GB"):
        found.contrast(a_mask(tokens))
    monkeypatch.setattr("interp.paths.scores.walk", lambda *_: pytest.fail("work began"))
    with pytest.raises(InputError, match=r"1 layers of 2 heads need .* for 2 sequences of 7 tokens.*order="):
        score_paths_of(run, (1, 0), memory=10_000)
