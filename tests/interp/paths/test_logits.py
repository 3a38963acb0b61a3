import copy
import dataclasses
import itertools
from typing import Any, get_args

import pytest
import torch

from interp.errors import InputError
from interp.names import Head
from interp.paths import LogitPaths, Path, freeze, logit_paths, logit_paths_of, score_paths_of
from interp.paths.path import checked_chain
from tests.frozen_twin import Twin, term
from tests.reference_transformer import random_model, random_tokens
from tests.small_runs import MODEL
from toy_models.config import Normalization, Positions, TransformerConfig
from toy_models.handmade import make, names
from toy_models.transformer import Transformer

SMALL = TransformerConfig(
    n_layers=2, n_heads=2, d_model=8, d_head=4, d_vocab=11, n_ctx=9, positions="standard", normalization="LN"
)
OPTIONS: list[dict[str, Any]] = [
    {"n_layers": 0},
    {"n_layers": 1, "biases": False},
    {"n_layers": 2, "smeared_keys": True},
    {"n_layers": 3, "tied_embeddings": True},
    {"n_layers": 4, "smeared_keys": True, "biases": False},
    {"n_layers": 2, "d_mlp": 6},
    {"n_layers": 3, "d_mlp": 6, "activation": "relu", "tied_embeddings": True, "biases": False},
]
CASES: dict[str, dict[str, Any]] = {
    "LN, standard, MLP": {"n_layers": 3, "d_mlp": 5},
    "none, standard, three layers": {"n_layers": 3, "normalization": "none"},
    "RMS, rotary, relu": {"positions": "rotary", "normalization": "RMS", "d_mlp": 5, "activation": "relu"},
    "LNPre, shortformer, smeared": {"positions": "shortformer", "normalization": "LNPre", "smeared_keys": True},
    "RMSPre, none, no biases": {"positions": "none", "normalization": "RMSPre", "biases": False},
}


@pytest.fixture(scope="module", params=CASES)
def twin(request):
    """A random model's frozen run, and its slow twin."""
    config = dataclasses.replace(SMALL, **CASES[request.param])
    model, tokens = random_model(config), random_tokens(config)
    return freeze(model, tokens), Twin(model, tokens)


def expanded(run, targets=None, **options) -> LogitPaths:
    """Paths to the logits of all positions; to token 3 by default."""
    return logit_paths_of(run, torch.full_like(run.tokens, 3) if targets is None else targets, **options)


@pytest.fixture(scope="module")
def trained():
    """A model after some dozen steps on repeated tokens, and tokens of the same kind."""
    model = Transformer(MODEL, torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(1)
    for _ in range(40):
        block = torch.randint(MODEL.d_vocab, (8, 6), generator=generator)
        tokens = torch.cat([block, block], dim=1)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimizer.step()
    return model.eval(), tokens


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_terms_add_up_to_the_logits_and_scores_of_a_trained_model(trained, dtype, tolerance):
    model, tokens = copy.deepcopy(trained[0]).to(dtype), trained[1]
    moved = model.W_K.detach().float() - Transformer(MODEL, torch.Generator().manual_seed(0)).W_K.detach()
    assert float(moved.norm() / model.W_K.detach().norm()) > 0.3
    run = freeze(model, tokens, scores=True)
    assert_adds_up(expanded(run), model(tokens), tolerance)
    assert_scores_add_up(run, tolerance)


def assert_adds_up(paths, logits, relative_to=1e-9):
    """The terms, added here and not by the module, are the model's logits; absolute and relative ones."""
    logits = logits.detach()[:, list(paths.positions)]
    seen = logits.gather(-1, paths.targets[..., None])[..., 0]
    allowed = relative_to * float(logits.abs().max())
    assert float((paths.logit.sum(0) - seen).abs().max()) <= allowed
    assert float((paths.relative.sum(0) - (seen - logits.mean(-1))).abs().max()) <= allowed
    assert float(paths.remainder.abs().max()) <= allowed
    assert paths.error <= relative_to
    assert paths.complete


@pytest.mark.parametrize("normalization", get_args(Normalization))
@pytest.mark.parametrize("positions", get_args(Positions))
def test_terms_add_up_to_the_logits_and_scores_of_every_kind_of_model(
    positions: Positions, normalization: Normalization
):
    for options in OPTIONS:
        config = dataclasses.replace(SMALL, positions=positions, normalization=normalization, **options)
        model, tokens = random_model(config), random_tokens(config, pos=5)
        run = freeze(model, tokens, scores=True)
        assert_adds_up(expanded(run, tokens.flip(1)), model(tokens))
        assert_adds_up(logit_paths_of(run, split=False), model(tokens))
        assert_scores_add_up(run)
        if config.n_layers >= 3:
            run = freeze(model.float(), tokens, scores=True)
            assert_adds_up(expanded(run, tokens.flip(1)), model(tokens), 1e-4)
            assert_scores_add_up(run, 1e-4)


def assert_scores_add_up(run, relative_to=1e-9):
    """Of the first and of the last layer, with sources apart and together; the scores are kept by the same run."""
    for layer in sorted({0, run.n_layers - 1} if run.n_layers else ()):
        for split in (True, False):
            paths = score_paths_of(run, (layer, 1), split=split)
            allowed, scores = paths.scores.isfinite(), run.scores[layer][:, 1]
            assert torch.equal(allowed, torch.ones_like(allowed).tril())
            total = torch.einsum("abqd,cbkd->bqk", paths.queries, paths.keys)
            assert float((total - scores)[allowed].abs().max()) <= relative_to * float(scores[allowed].abs().max())
            assert paths.error <= relative_to
            assert paths.complete


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-9), (torch.float32, 1e-4)])
@pytest.mark.parametrize("name", names())
def test_terms_add_up_to_the_logits_of_every_handmade_model(name, dtype, tolerance):
    made = make(name, dtype=dtype)
    assert_adds_up(logit_paths(made.model, made.example_tokens), made.model(made.example_tokens), tolerance)


def test_terms_add_up_at_chosen_positions_in_any_order_for_any_targets():
    model, tokens = random_model(SMALL), random_tokens(SMALL)
    run, logits = freeze(model, tokens), model(tokens)
    for positions in ([3], [6, 0, 2], [6, 5, 4, 3, 2, 1, 0], [2] * 11):
        targets = torch.arange(11)[: len(positions)].expand(2, -1)
        paths = logit_paths_of(run, targets, positions)
        assert paths.positions == tuple(positions)
        assert_adds_up(paths, logits)
        alone = logit_paths_of(run, targets[:, :1], positions[:1])
        torch.testing.assert_close(paths.logit[..., :1], alone.logit)


def test_without_targets_each_position_is_asked_for_the_token_that_comes_next():
    model, tokens = random_model(SMALL), random_tokens(SMALL)
    paths = logit_paths(model, tokens)
    assert torch.equal(paths.targets, tokens[:, 1:])
    assert paths.positions == tuple(range(6))
    some = logit_paths(model, tokens, positions=[4, 1])
    assert torch.equal(some.targets, tokens[:, [5, 2]])
    torch.testing.assert_close(some.logit, paths.logit[..., [4, 1]])


def test_every_term_is_the_inclusion_exclusion_over_runs_that_keep_some_of_its_heads(twin):
    run, slow = twin
    logits = slow.logits(slow.heads)
    assert float((run.logits - logits).abs().max()) <= 1e-10 * float(logits.abs().max())
    paths = expanded(run)
    chains = paths.grouped(lambda path: path.heads)
    for size in range(run.n_layers + 1):
        for heads in itertools.combinations(slow.heads, size):
            expected = term(slow.logits, heads)
            chain = tuple(Head(*head) for head in heads)
            if len({layer for layer, _ in heads}) < size:
                assert float(expected.abs().max()) <= 1e-9
                assert chain not in chains
            else:
                relative = expected[..., 3] - expected.mean(-1)
                torch.testing.assert_close(chains[chain], relative, rtol=0, atol=1e-9)
                absolute = sum(part for path, part in zip(paths.paths, paths.logit, strict=True) if path.heads == chain)
                torch.testing.assert_close(absolute, expected[..., 3], rtol=0, atol=1e-9)


def test_every_source_of_a_term_is_the_run_that_starts_from_it_alone(twin):
    run, slow = twin
    found = expanded(run)
    for source in slow.sources:
        for path, part in zip(found.paths, found.logit, strict=True):
            if path.source == source:
                expected = term(lambda kept, source=source: slow.logits(kept, {source}), path.heads)[..., 3]
                torch.testing.assert_close(part, expected, rtol=0, atol=1e-9, msg=str(path))
    with_position = run.weights.W_pos is not None
    assert {path.source for path in found.paths} == slow.sources - ({"position"} if not with_position else set()) - (
        set() if run.weights.b_U.any() else {"bias"}
    )


def test_sources_together_are_one_term_of_each_chain(twin):
    run, _ = twin
    apart, together = expanded(run), expanded(run, split=False)
    assert {path.source for path in together.paths} == {"all"}
    summed = apart.grouped(lambda path: path.heads)
    assert len(together.paths) == len(summed)
    for path in together.paths:
        torch.testing.assert_close(together[path], summed[path.heads], rtol=0, atol=1e-9)


def test_a_batch_in_parts_gives_the_numbers_of_the_whole(twin):
    run, _ = twin
    whole = expanded(run)
    parts: list[slice] = []

    def counted(slices):
        parts.extend(slices)
        return slices

    one = logit_paths_of(run, whole.targets[:, :1], [0], memory=200_000, progress=counted)
    assert parts == [slice(0, 2)]
    least = next(m for m in range(1000, 200_000, 500) if fits(run, m))
    parts.clear()
    split = logit_paths_of(run, whole.targets[:, :1], [0], memory=least, progress=counted)
    assert parts == [slice(0, 1), slice(1, 2)]
    torch.testing.assert_close(split.logit, one.logit)
    torch.testing.assert_close(split.logit, whole.logit[..., :1])


def fits(run, memory):
    try:
        logit_paths_of(run, run.tokens[:, :1], [0], memory=memory)
    except InputError:
        return False
    return True


def test_a_bound_on_order_leaves_exactly_the_longer_chains_missing(twin):
    run, _ = twin
    whole = expanded(run)
    for order in range(run.n_layers + 1):
        bounded = expanded(run, order=order)
        assert set(bounded.paths) == {path for path in whole.paths if path.order <= order}
        assert_missing(bounded, whole)
        assert bounded.complete == (order == run.n_layers)


def assert_missing(bounded, whole):
    """The kept terms are those of the whole, and the remainder is the sum of the others."""
    for path in bounded.paths:
        torch.testing.assert_close(bounded[path], whole[path], rtol=0, atol=1e-12)
    left_out = [i for i, path in enumerate(whole.paths) if path not in bounded.paths]
    torch.testing.assert_close(bounded.remainder, whole.logit[left_out].sum(0), rtol=0, atol=1e-9)
    torch.testing.assert_close(bounded.relative_remainder, whole.relative[left_out].sum(0), rtol=0, atol=1e-9)


def test_pruning_extends_the_chains_that_write_most_and_says_how_much_is_missing():
    config = dataclasses.replace(SMALL, n_layers=3)
    model, tokens = random_model(config), random_tokens(config)
    run, slow = freeze(model, tokens), Twin(model, tokens)
    whole = expanded(run)
    first = [path for path in whole.paths if path.heads and path.heads[-1].layer == 0]
    sizes = {path: float(written(slow, path).square().sum()) for path in first}
    for most in range(len(first) + 1):
        bounded = expanded(run, most=most)
        extended = {Path(path.source, path.heads[:1]) for path in bounded.paths if path.order > 1}
        longest = sorted(first, key=lambda path: -sizes[path])[:most]
        assert {path for path in extended if path in first and path.heads[0].layer == 0} == set(longest)
        assert_missing(bounded, whole)
        assert not bounded.complete
        assert bounded.error == pytest.approx(float(bounded.remainder.abs().max() / run.logits.abs().max()))
    everything = expanded(run, most=len(whole.paths))
    assert set(everything.paths) == set(whole.paths)
    assert everything.complete


def written(slow, path):
    """What a chain of one head of layer 0 writes into the residual stream, centred as LN sees it."""
    x = term(lambda kept: slow.residual(1, kept, {path.source}), path.heads)
    return x - x.mean(-1, keepdim=True)


def test_a_bound_on_both_keeps_chains_short_and_few():
    config = dataclasses.replace(SMALL, n_layers=3)
    run = freeze(random_model(config), random_tokens(config))
    whole, bounded = expanded(run), expanded(run, order=2, most=1)
    assert max(path.order for path in bounded.paths) == 2
    assert len({path.heads[0] for path in bounded.paths if path.order == 2 and path.heads[0].layer == 0}) == 1
    assert_missing(bounded, whole)
    assert not bounded.complete


def test_the_two_back_model_speaks_through_its_virtual_head_alone(generator):
    made = make("two_back")
    paths = logit_paths(made.model, made.example_tokens, made.answers.clamp_min(0))
    of_chains = paths.mean(generator, made.answers >= 0, key=lambda path: path.heads)
    virtual = (Head(0, 0), Head(1, 0))
    assert of_chains[virtual].mean == pytest.approx(12 * 15 / 16)
    assert all(abs(part.mean) <= 1e-9 for heads, part in of_chains.items() if heads != virtual)
    by_path = paths.mean(generator, made.answers >= 0)
    assert by_path[Path("token", virtual)].mean == pytest.approx(12 * 15 / 16)
    assert by_path[Path("position", virtual)].mean == pytest.approx(0, abs=1e-9)


def test_means_are_over_scored_positions_of_each_sequence_and_then_over_sequences(generator):
    model, tokens = random_model(SMALL), random_tokens(SMALL, batch=3)
    paths = logit_paths(model, tokens)
    scored = torch.tensor([[1, 0, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0]], dtype=torch.bool)
    means = paths.mean(generator, scored)
    for path, estimate in means.items():
        part = paths[path]
        assert estimate.mean == pytest.approx(float((part[0, 0] + part[1, 1:4].mean()) / 2))
        assert (estimate.n, estimate.low <= estimate.mean <= estimate.high) == (2, True)
    with pytest.raises(InputError, match="at least 2 sequences"):
        paths.mean(generator, scored[[0, 2, 2]])
    with pytest.raises(InputError, match=r"targets' shape \[3, 6\]"):
        paths.mean(generator, scored[:, :3])


def test_paths_print_as_arrows_and_count_their_heads():
    path = Path("token").then(Head(0, 3)).then(Head(1, 2))
    assert (str(path), path.order) == ("token → L0H3 → L1H2", 2)
    with pytest.raises(InputError, match=r"no path token → L0H3 → L1H2"):
        _ = logit_paths(random_model(SMALL), random_tokens(SMALL))[path]


@pytest.mark.parametrize(
    "chain, message",
    [
        ([(2, 0)], "L2H0 is in layer 2, the model has layers 0 to 1"),
        ([(0, 2)], "L0H2 is head 2"),
        ([(-1, 0)], "layer -1"),
        ([(1, 0), (0, 0)], "L0H0 cannot follow L1H0, which is in a later layer"),
        ([(0, 0), (0, 1)], "L0H1 cannot follow L0H0, which is in the same layer"),
    ],
)
def test_chains_that_cannot_be_are_refused(chain, message):
    with pytest.raises(InputError, match=message):
        checked_chain(chain, 2, 2)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"targets": torch.full((2, 7), 11)}, "target 11 is outside the vocabulary 0..10"),
        ({"targets": torch.full((2, 7), -1)}, "target -1 is outside"),
        ({"targets": torch.zeros(3, 7, dtype=torch.int64)}, r"targets must be \[batch pos\]"),
        ({"targets": torch.zeros(2, 0, dtype=torch.int64)}, r"targets must be \[batch pos\]"),
        ({"targets": torch.zeros(2, 8, dtype=torch.int64)}, r"positions are whole numbers in 0..6"),
        ({"targets": torch.zeros(2, 2, dtype=torch.int64), "positions": [1]}, "at each of 1 positions"),
        ({"targets": torch.zeros(2, 1, dtype=torch.int64), "positions": [7]}, r"in 0..6, got \[7\]"),
        ({"targets": torch.zeros(2, 1, dtype=torch.int64), "positions": [-1]}, r"in 0..6, got \[-1\]"),
        ({"positions": [6]}, r"positions with a next token are whole numbers in 0..5, got \[6\]"),
        ({"positions": []}, "got \\[\\]"),
        ({"order": -1}, "order must be a whole number of at least 0, or None, got -1"),
        ({"most": -1}, "most must be a whole number"),
    ],
)
def test_what_cannot_be_read_is_refused(options, message):
    run = freeze(random_model(SMALL), random_tokens(SMALL))
    with pytest.raises(InputError, match=message):
        logit_paths_of(run, **options)


def test_chains_and_results_too_large_for_memory_are_refused_before_any_is_followed(monkeypatch):
    run = freeze(random_model(SMALL), random_tokens(SMALL))
    monkeypatch.setattr("interp.paths.logits.walk", lambda *_: pytest.fail("work began"))
    with pytest.raises(InputError, match=r"2 layers of 2 heads need .* GB for 1 sequences of 7 tokens.*order= .*most="):
        expanded(run, memory=4000)
    with pytest.raises(InputError, match=r"2 sequences of 7 tokens"):
        expanded(run, memory=4000, most=3)
    monkeypatch.setattr("interp.paths.logits.parts_of", lambda *_: [slice(0, 2)])
    with pytest.raises(InputError, match=r"27 paths at 14 positions take 6.05e-06 GB.*read fewer positions"):
        expanded(run, memory=6000)
