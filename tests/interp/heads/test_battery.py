"""The battery on models whose heads are known, on random ones, on TransformerLens', and on tiny vocabularies."""

import json
import math

import pytest
import torch

from interp.errors import InputError
from interp.heads import (
    DETECTORS,
    Protocol,
    detectors,
    measure_heads,
    predictable_positions,
    prefix_matching_by_period,
    repeated_tokens,
    score_heads,
)
from interp.heads.detectors import PREFIX_MATCHING, read_patterns
from interp.heads.scores import head_scores
from interp.hooks import record
from toy_models import handmade
from toy_models.bridge import to_bridge
from toy_models.config import TransformerConfig
from toy_models.transformer import Transformer

FRESH, SHUFFLED = "fresh tokens", "shuffled pattern"
QUANTITIES = {
    "previous-token": "previous_token",
    "current-token": "current_token",
    "first-token": "first_token",
    "duplicate-token": "duplicate_token",
    "prefix-matching": "prefix_matching",
}


def battery_of(name, n=6, **options):
    made = handmade.make(name, **options)
    return measure_heads(made.model, torch.Generator().manual_seed(1), bos=0, n=n)


def random_transformer(seed=0, **options):
    return Transformer(TransformerConfig(**options), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", handmade.names())
def test_detectors_find_what_is_known_of_handmade_heads(name, generator):
    made = handmade.make(name)
    found = score_heads(made.model, made.example_tokens, generator)
    known = [e for e in made.truth.expected if e.quantity in QUANTITIES and len(e.at) == 1]
    assert known or name in ("skip_trigram", "shift_by")
    for expected in known:
        measured = float(found[QUANTITIES[expected.quantity]].score[expected.at[0]])
        assert measured == pytest.approx(expected.value, abs=max(expected.tolerance, 1e-6)), expected


@pytest.mark.parametrize(
    "name, head", [("induction_k", (1, 0)), ("induction_q", (1, 0)), ("induction_smeared", (0, 0))]
)
def test_an_induction_head_scores_one_at_every_period_and_its_nulls_stay_low(name, head):
    battery = battery_of(name)
    assert sorted(battery.by_period) == [7, 8, 9, 15]
    for scores in battery.by_period.values():
        assert float(scores.score[head]) == pytest.approx(1, abs=1e-6)
        assert float(scores.nulls[FRESH][head]) < 0.2
        assert float(scores.nulls[SHUFFLED][head]) < 0.12
    assert float(battery["copying_on_repeats"].score[head]) > 0.99
    for name in ("previous_token", "current_token", "before_copy"):
        assert float(battery[name].score[head]) < 0.2


def test_mean_entry_of_even_induction_reaches_its_stated_maximum():
    scores = battery_of("induction_k")["prefix_matching_mean_entry"]
    assert scores.maximum == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert float(scores.score[1, 0]) == pytest.approx(scores.maximum, abs=1e-6)


def test_a_positional_head_fits_one_period_only_and_keeps_its_score_on_fresh_tokens():
    battery = battery_of("positional")
    scores = {period: float(s.score[1, 0]) for period, s in battery.by_period.items()}
    assert scores == pytest.approx({8: 0, 15: 1, 7: 0, 9: 0}, abs=1e-6)
    assert float(battery.by_period[15].nulls[FRESH][1, 0]) == pytest.approx(1, abs=1e-6)


def test_an_anti_copying_head_matches_prefixes_and_scores_minus_one_at_copying():
    battery = battery_of("anti_copying")
    assert float(battery["prefix_matching"].score[1, 0]) == pytest.approx(1, abs=1e-6)
    assert float(battery["copying"].score[1, 0]) == pytest.approx(-1, abs=1e-6)
    assert float(battery["copying_on_repeats"].score[1, 0]) == pytest.approx(-1, abs=1e-6)


def test_a_previous_token_head_keeps_its_score_on_fresh_tokens_and_copies():
    battery = battery_of("previous_token")
    scores = battery["previous_token"]
    assert float(scores.score[0, 0]) == pytest.approx(1, abs=1e-6)
    assert float(scores.also[FRESH][0, 0]) == pytest.approx(1, abs=1e-6)
    assert list(scores.nulls) == [SHUFFLED]
    assert float(battery["copying"].score[0, 0]) == pytest.approx(1, abs=1e-6)
    assert float(battery["entropy"].score[0, 0]) == pytest.approx(0, abs=1e-6)


def test_a_sink_moves_nothing_so_value_weighting_leaves_it_no_share():
    battery = battery_of("first_token_sink")
    assert float(battery["first_token"].score[0, 0]) == pytest.approx(1, abs=1e-6)
    assert float(battery["value_weighted_prefix_matching"].score[0, 0]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("positions", ["standard", "rotary"])
def test_heads_of_random_models_stay_near_chance(positions):
    scores = []
    for seed in range(4):
        battery = measure_heads(
            random_transformer(seed, positions=positions), torch.Generator().manual_seed(seed), bos=0
        )
        for name in ("prefix_matching", "duplicate_token", "previous_token", "before_copy"):
            scores.append((battery[name].score - battery[name].nulls[SHUFFLED]).abs().max())
            assert float(battery[name].score.max()) < 0.12
        contrast = battery["prefix_matching"].contrast(FRESH, torch.Generator().manual_seed(0), level=0.9999)
        assert bool(((contrast.low < 0.01) & (contrast.high > -0.01)).all())
        copying = battery["copying"]
        assert torch.allclose(copying.score, copying.nulls[SHUFFLED], atol=0.03)
    assert max(scores) < 0.05


def test_even_attention_scores_exactly_its_shuffled_null():
    model = random_transformer()
    with torch.no_grad():
        for block in model.blocks:
            block.attn.W_Q.zero_()
    battery = measure_heads(model, torch.Generator().manual_seed(0), bos=0, n=5)
    for name in DETECTORS:
        if name != "value_weighted_prefix_matching":
            assert torch.allclose(battery[name].score, battery[name].nulls[SHUFFLED], atol=1e-6), name
            fresh = {**battery[name].nulls, **battery[name].also}[FRESH]
            assert torch.allclose(battery[name].score, fresh, atol=1e-6), name
    entropy = battery["entropy"]
    assert entropy.maximum == pytest.approx(sum(math.log(i + 1) for i in range(1, 61)) / 60, abs=1e-5)
    assert torch.allclose(entropy.score, entropy.nulls["even attention"], atol=1e-5)


def test_two_tokens_are_enough(generator):
    """A vocabulary of BOS and two tokens: blocks repeat tokens, the null changes one query at a time."""
    made = handmade.make("induction_k", d_vocab=4, n_ctx=34)
    battery = measure_heads(made.model, generator, bos=0, excluded=(3,), n=12)
    scores = battery["prefix_matching"]
    assert "drawn with replacement" in scores.protocol
    assert "one query at a time" in scores.protocol
    assert float(scores.score[1, 0]) == pytest.approx(1, abs=1e-6)
    assert float(scores.nulls[FRESH][1, 0]) < 0.05  # on the followers of the token that was taken away
    assert 0.3 < float(scores.nulls[SHUFFLED][1, 0]) < 0.6
    assert scores.maximum == 1


def test_readings_do_not_depend_on_how_sequences_are_chunked(generator, monkeypatch):
    model = random_transformer()
    tokens = torch.randint(64, (5, 20), generator=generator)
    entries = {name: detector.entries(tokens) for name, detector in DETECTORS.items()}
    whole = read_patterns(model, tokens, entries, 2, 4)
    monkeypatch.setattr(detectors, "MAX_ENTRIES", 2 * 4 * 20 * 20)
    sizes = []
    hook = model.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    parts = read_patterns(model, tokens, entries, 2, 4)
    hook.remove()
    assert sizes == [2, 2, 1]
    for name in [*DETECTORS, "entropy"]:
        assert torch.allclose(whole[name].score, parts[name].score, atol=1e-6, equal_nan=True)
        assert torch.allclose(whole[name].shuffled, parts[name].shuffled, atol=1e-6, equal_nan=True)


def test_the_driver_reads_what_detectors_read_from_whole_patterns(generator):
    model = random_transformer()
    tokens = torch.randint(9, (5, 20), generator=generator)
    found = score_heads(model, tokens, generator)
    kept = record(model, tokens, names=["blocks.*.attn.hook_pattern", "blocks.*.attn.hook_v"])
    for layer in range(2):
        pattern, v = kept[f"blocks.{layer}.attn.hook_pattern"], kept[f"blocks.{layer}.attn.hook_v"]
        weighted = pattern * v.norm(dim=-1).transpose(1, 2)[:, :, None]
        weighted = weighted / weighted.sum(-1, keepdim=True)
        for name, detector in DETECTORS.items():
            expected = detector(weighted if detector.weighted else pattern, tokens).double()
            assert torch.allclose(found[name].samples[:, layer], expected, atol=1e-6), name
        logs = torch.where(pattern > 0, pattern * pattern.log(), 0.0)
        even = sum(math.log(i + 1) for i in range(1, 20)) / 19
        assert found["entropy"].nulls["even attention"][layer].tolist() == pytest.approx([even] * 4)
        assert torch.allclose(found["entropy"].samples[:, layer], -logs.sum(-1)[..., 1:].mean(-1).double(), atol=1e-5)


def test_patterns_are_never_kept(generator, monkeypatch):
    model, largest = random_transformer(), []
    original = detectors.record

    def spy(*args, **kwargs):
        found = original(*args, **kwargs)
        largest.append(max(value.numel() for value in found.values()))
        return found

    monkeypatch.setattr(detectors, "record", spy)
    measure_heads(model, generator, bos=0, n=8)
    assert max(largest) < 8 * 4 * 61  # a single layer's pattern has 8 * 4 * 61 * 61


def test_a_transformerlens_bridge_gets_the_same_scores_as_our_twin():
    ours = random_transformer(n_ctx=32, d_vocab=20)
    theirs = to_bridge(ours)
    first, second = (measure_heads(m, torch.Generator().manual_seed(3), bos=0, n=4) for m in (ours, theirs))
    for name in first.scores:
        assert torch.allclose(first[name].score, second[name].score, atol=1e-5), name


def test_predictable_positions_come_with_the_tokens(generator):
    battery = measure_heads(random_transformer(), generator, bos=0, n=3)
    assert torch.equal(battery.predictable, predictable_positions(battery.protocol, 3))
    assert battery.tokens.shape == battery.predictable.shape == (3, 61)


def test_scores_carry_their_protocol_interval_and_nulls_into_json(generator):
    battery = measure_heads(random_transformer(), generator, bos=0, n=6)
    written = json.loads(json.dumps(battery.to_dict()))
    prefix = written["scores"]["prefix_matching"]
    assert prefix["protocol"].startswith("6 sequences: random tokens, 4 x 15 (Olsson et al. 2022 have 4 x 25)")
    assert prefix["maximum"] == 1.0
    assert prefix["unit"] == "share of attention"
    means = battery["prefix_matching"].samples.mean(0)
    assert [pytest.approx(row) for row in means.tolist()] == prefix["score"]
    assert set(prefix["nulls"]) == {FRESH, SHUFFLED}
    low, high = torch.tensor(prefix["interval"]["low"]), torch.tensor(prefix["interval"]["high"])
    assert bool((low < high).all())
    assert list(written["prefix_matching_by_period"]) == ["15", "31", "11", "7"]


def test_measuring_twice_with_one_seed_gives_the_same_and_leaves_the_model_alone():
    model = random_transformer()
    before = {name: p.clone() for name, p in model.named_parameters()}
    first, second = (measure_heads(model, torch.Generator().manual_seed(2), n=4).to_dict() for _ in range(2))
    assert first == second
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_sequences_without_a_repeated_token_are_left_out(generator):
    tokens = torch.tensor([[1, 2, 3, 4], [1, 2, 1, 2], [5, 5, 6, 7]])
    scores = score_heads(random_transformer(), tokens, generator, ["prefix_matching"])["prefix_matching"]
    assert scores.interval.n == 2
    assert len(scores.samples) == 2
    with pytest.raises(InputError, match="1 of the 2 sequences have one"):
        score_heads(random_transformer(), tokens[:2], generator, ["prefix_matching"])
    with pytest.raises(InputError, match="a token that came before"):
        score_heads(random_transformer(), torch.arange(12).view(3, 4), generator, ["prefix_matching"])


def test_contrast_is_taken_sequence_by_sequence(generator):
    """Noise that score and null share falls out of their difference."""
    shared = torch.randn(40, 1, 2, generator=generator, dtype=torch.float64)
    scores = head_scores(
        "a score", "noise and one", shared + 1.0, generator, protocol="made up", nulls={"noise": shared}
    )
    contrast = scores.contrast("noise", generator)
    assert contrast.mean.tolist() == [[pytest.approx(1.0)] * 2]
    assert float((contrast.high - contrast.low).max()) < 1e-9
    assert float((scores.interval.high - scores.interval.low).min()) > 0.3
    with pytest.raises(InputError, match="called 'chance'; it has noise"):
        scores.contrast("chance", generator)


def test_several_periods_can_be_asked_for(generator):
    found = prefix_matching_by_period(
        handmade.make("positional").model, [Protocol(2, p, d_vocab=16, bos=0) for p in (14, 15)], generator, n=4
    )
    assert [float(found[p].score[1, 0]) for p in (14, 15)] == pytest.approx([0, 1], abs=1e-6)


def test_detectors_are_plain_functions_of_pattern_and_tokens(generator):
    tokens = repeated_tokens(Protocol(2, 5, d_vocab=9), 3, generator)
    pattern = torch.rand(3, 2, 10, 10, generator=generator).tril()
    before = pattern.clone()
    value = PREFIX_MATCHING(pattern, tokens)
    expected = torch.stack([pattern[:, :, i, i - 4] for i in range(5, 10)]).mean(0)
    assert torch.allclose(value, expected)
    assert torch.equal(pattern, before)


def test_models_and_names_that_cannot_be_measured_are_refused(generator):
    with pytest.raises(InputError, match="no attention layers"):
        measure_heads(random_transformer(n_layers=0), generator)
    with pytest.raises(InputError, match="got Linear"):
        measure_heads(torch.nn.Linear(2, 2), generator)
    with pytest.raises(InputError, match="no detector 'prefix'"):
        score_heads(random_transformer(), torch.zeros(2, 5, dtype=torch.long), generator, ["prefix"])
    with pytest.raises(InputError, match="there is no score 'induction'"):
        measure_heads(random_transformer(n_ctx=16), generator, n=2)["induction"]
    with pytest.raises(InputError, match="the context holds 3"):
        measure_heads(random_transformer(n_ctx=3), generator)
    assert math.isfinite(float(measure_heads(random_transformer(n_ctx=4), generator, n=2)["copying"].score.sum()))
