"""Activation patching: against circuits known by construction, identities, and one patch at a time written out."""

import json
from itertools import product

import pytest
import torch
from torch import nn

from interp.errors import InputError
from interp.hooks import intervene, record
from interp.patching import Metric, activation_patches, kl_from, logit_difference, loss
from interp.patching.runs import two_runs
from tests.interp.patch_pairs import CLEAN, COPY, EVEN, QUERY, pair
from tests.reference_transformer import random_model, random_tokens
from toy_models.config import TransformerConfig

Z, RESID_PRE = "blocks.*.attn.hook_z", "blocks.*.hook_resid_pre"
DIRECTIONS = ("denoising", "noising")


def patches(of, generator, direction="denoising", **options):
    return activation_patches(of.model, of.clean, of.corrupted, of.metric, generator, direction=direction, **options)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_corrupting_a_key_shows_the_previous_token_head_one_later_and_the_induction_head_at_the_query(
    generator, direction
):
    found = patches(pair("induction_k", COPY), generator, direction, names=Z, by=["head", "pos"])
    assert {direction: found.base.mean, "other": found.other.mean} == pytest.approx(
        {"denoising": {"denoising": EVEN, "other": CLEAN}, "noising": {"noising": CLEAN, "other": EVEN}}[direction]
    )
    expected = torch.zeros(2, 1, 21)
    expected[0, 0, COPY + 1] = expected[1, 0, QUERY] = 1
    assert found.effect.share is not None
    assert torch.allclose(found.effect.share.mean, expected.double(), atol=1e-9)
    sign = 1 if direction == "denoising" else -1
    assert torch.allclose(found.effect.raw.mean, sign * (CLEAN - EVEN) * expected.double(), atol=1e-9)
    assert list(found.labels) == ["point", "head", "pos"]


def test_the_residual_stream_carries_the_key_until_the_previous_token_head_has_moved_it(generator):
    found = patches(pair("induction_k", COPY), generator, names=RESID_PRE, by="pos")
    assert found.effect.share is not None
    assert found.effect.share.mean.argmax(1).tolist() == [COPY, COPY + 1]
    assert found.effect.share[found.index("blocks.1.hook_resid_pre", COPY)].mean == pytest.approx(0, abs=1e-9)
    assert found.effect.share.mean.sum(1).tolist() == pytest.approx([1, 1], abs=1e-9)


def test_heads_that_stand_in_for_each_other_are_enough_each_and_needed_neither(generator):
    both = [patches(pair("induction_shared", COPY), generator, d, names=Z, by=["head"]) for d in DIRECTIONS]
    restored, broken = (found.effect.share.mean[0].tolist() for found in both if found.effect.share is not None)
    assert restored == pytest.approx([1, 1], abs=1e-6)
    assert broken == pytest.approx([0, 0], abs=1e-6)
    together = patches(pair("induction_shared", COPY), generator, "noising", names=Z)
    assert together.effect.share is not None
    assert together.effect.share.mean.tolist() == pytest.approx([1, 1], abs=1e-6)
    assert "1 means that this alone restores" in both[0].text
    assert "1 means that this alone breaks" in both[1].text


def test_another_sequences_activations_restore_nothing(generator):
    """The rows' blocks are shifted round, so that another row's previous token at the copy never matches."""
    found = patches(pair("induction_k", COPY), generator, names="blocks.0.attn.hook_z", by="pos")
    assert found.control is not None
    assert found.control.share is not None
    assert found.contrast is not None
    assert found.control.share.mean[0, COPY + 1] == pytest.approx(0, abs=1e-9)
    assert found.contrast.mean[0, COPY + 1] == pytest.approx(CLEAN - EVEN, abs=1e-9)
    assert "a random cycle through the batch" in found.text


def test_the_control_never_patches_a_sequence_with_itself():
    """Whole runs are patched in; the control is then the other run of the next row of the cycle."""
    of = pair("induction_k", COPY, n=5)
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        found = patches(of, generator, names="blocks.1.hook_resid_post")
        assert found.control is not None
        assert found.effect.samples[:, 0].tolist() == pytest.approx([CLEAN - EVEN] * 5)
        assert float(found.control.samples.max()) < 1  # another row's logits raise another token


CONFIGS = [
    {},
    {"normalization": "LN", "d_mlp": 7},
    {"positions": "rotary", "normalization": "RMS"},
    {"positions": "shortformer", "normalization": "LN", "smeared_keys": True},
]


def random_pair(seed=0, batch=4, **options):
    config = TransformerConfig(d_model=10, n_heads=3, d_head=4, d_vocab=9, n_ctx=8, **options)
    model, clean = random_model(config, seed), random_tokens(config, batch, 7, seed=1)
    corrupted = (clean + torch.tensor([0, 0, 3, 0, 1, 0, 2])) % 9
    right = clean[:, -1]
    return model, clean, corrupted, logit_difference(right, (right + 1) % 9, -2)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("options", CONFIGS)
def test_patching_the_whole_stream_gives_the_other_run(generator, options, direction):
    model, clean, corrupted, metric = random_pair(**options)
    found = activation_patches(model, clean, corrupted, metric, generator, names="*hook_resid_*", direction=direction)
    with torch.no_grad():
        values = [metric(model(tokens)) for tokens in (clean, corrupted)]
    base, other = values[::-1] if direction == "denoising" else values
    start = found.labels["point"].index("blocks.0.hook_resid_pre")
    for point in range(start, len(found.labels["point"])):
        assert found.effect.samples[:, point].tolist() == pytest.approx((other - base).tolist(), abs=1e-9)
    assert found.base.mean == pytest.approx(float(base.mean()), abs=1e-12)
    assert found.gap.mean == pytest.approx(float((other - base).mean()), abs=1e-12)


@pytest.mark.parametrize(
    "names, by", [("*.hook_z", ("head", "pos")), ("*.hook_pattern", ("pos", "head")), ("*_pre", ("pos",))]
)
@pytest.mark.parametrize("options", CONFIGS[:2])
def test_every_cell_is_that_patch_made_alone(generator, options, names, by):
    model, clean, corrupted, metric = random_pair(**options)
    found = activation_patches(model, clean, corrupted, metric, generator, names=names, by=by, batch_size=13)
    there = record(model, clean, names=names)
    order = {"*.hook_z": "h p", "*.hook_pattern": "p h", "*_pre": "p"}[names].split()
    sizes = {"h": 3, "p": 7}
    with torch.no_grad():
        base = metric(model(corrupted))
        for i, point in enumerate(found.labels["point"]):
            for at in product(*(range(sizes[axis]) for axis in order)):
                h, p = (dict(zip(order, at, strict=True)).get(axis, 0) for axis in "hp")
                where = {
                    "*.hook_z": (slice(None), p, h),
                    "*.hook_pattern": (slice(None), h, p),
                    "*_pre": (slice(None), p),
                }

                def put(value, where=where[names], source=there[point]):
                    value[where] = source[where]
                    return value

                with intervene(model, {point: put}):
                    alone = metric(model(corrupted)) - base
                assert found.effect.samples[:, i][(slice(None), *at)].tolist() == pytest.approx(
                    alone.tolist(), abs=1e-10
                )


def test_results_do_not_depend_on_the_batch_size():
    model, clean, corrupted, metric = random_pair(normalization="LN")
    results = [
        activation_patches(
            model, clean, corrupted, metric, torch.Generator().manual_seed(3), names=Z, by="head", batch_size=size
        )
        for size in (1, 3, 4, 9, 500)
    ]
    for other in results[1:]:
        assert torch.allclose(other.effect.samples, results[0].effect.samples, atol=1e-12)
        assert other.control is not None
        assert results[0].control is not None
        assert torch.allclose(other.control.samples, results[0].control.samples, atol=1e-12)


def test_units_of_an_mlp_are_found_by_the_name_of_heads(generator):
    model, clean, corrupted, metric = random_pair(d_mlp=6)
    found = activation_patches(model, clean, corrupted, metric, generator, names="blocks.*.mlp.hook_post", by="head")
    assert found.effect.raw.mean.shape == (2, 6)
    there = record(model, clean, names="blocks.1.mlp.hook_post")["blocks.1.mlp.hook_post"]

    def put(value):
        value[..., 4] = there[..., 4]
        return value

    with torch.no_grad(), intervene(model, {"blocks.1.mlp.hook_post": put}):
        alone = metric(model(corrupted))
    assert found.effect.samples[:, 1, 4].tolist() == pytest.approx(
        (alone - metric(model(corrupted)).detach()).tolist(), abs=1e-10
    )


def test_shares_are_ratios_of_means_for_every_metric(generator):
    model, clean, corrupted, difference = random_pair(batch=6)
    scored = (torch.arange(7) > 1).repeat(6, 1)
    with torch.no_grad():
        reference = kl_from(model(clean))
    for metric in (difference, loss(clean, scored), reference):
        found = activation_patches(model, clean, corrupted, metric, generator, names=Z, by="head", level=0.5)
        gap = found.effect.samples.mean(0) / found.gap.mean
        assert found.effect.share is not None
        assert torch.allclose(found.effect.share.mean, gap, atol=1e-9)
        assert bool((found.effect.share.low <= gap + 1e-12).all() and (gap <= found.effect.share.high + 1e-12).all())
        assert found.unit == metric.unit


def test_runs_that_do_not_differ_give_raw_effects_and_a_reason_instead_of_shares(generator):
    model, clean, _, metric = random_pair()
    same = activation_patches(model, clean, clean, metric, generator, names=Z, by="head", control=False)
    assert float(same.effect.samples.abs().max()) < 1e-12
    assert same.effect.share is None
    assert "not distinguishable from 0" in same.undivided
    assert (same.control, same.contrast) == (None, None)
    # Corrupting what comes after the position that is read changes nothing but rounding.
    late = clean.clone()
    late[:, -1] = (late[:, -1] + 1) % 9
    assert activation_patches(model, clean, late, metric, generator, names=Z, by="pos").effect.share is None


def test_a_difference_of_the_size_of_rounding_errors_is_not_divided_by(generator):
    """The other run's metric lies above the base's in every sequence, by some 1e-15 of 1."""
    model, clean, corrupted, metric = random_pair()
    with torch.no_grad():
        signs = (metric(model(clean)) - metric(model(corrupted))).sign()

    def found(size):
        def value(logits, *data):
            return 1 + size * data[3] * metric.function(logits, *data[:3])

        tiny = Metric("tiny", "logits", "", (*metric.data, signs), value)
        return activation_patches(model, clean, corrupted, tiny, generator, names=Z)

    assert found(1e-15).gap.low > 0
    assert "not distinguishable from 0" in found(1e-15).undivided
    assert found(1e-9).undivided == ""


def test_what_varies_around_0_is_not_divided_by(generator):
    """The same differences, large against rounding, once with alternating signs and once as they are."""
    model, clean, corrupted, metric = random_pair(batch=8)
    with torch.no_grad():
        gap = metric(model(clean)) - metric(model(corrupted))

    def found(signs):
        signed = Metric(
            "signed",
            "logits",
            "",
            (*metric.data, signs),
            lambda logits, *data: data[3] * metric.function(logits, *data[:3]),
        )
        return activation_patches(model, clean, corrupted, signed, generator, names=Z)

    order = gap.abs().argsort()
    alternating = torch.empty(8, dtype=torch.float64)
    alternating[order] = torch.tensor([1.0, -1.0] * 4, dtype=torch.float64)
    assert found(gap.sign() * alternating).undivided.startswith("other minus base is ")
    assert found(gap.sign() * alternating).effect.share is None
    assert found(gap.sign()).undivided == ""


def test_a_foreign_model_is_patched_by_module_path_and_named_axes(generator):
    class Foreign(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.mix, self.read = nn.Embedding(9, 4), nn.Linear(4, 4), nn.Linear(4, 9)

        def forward(self, tokens):
            return self.read(self.mix(self.embed(tokens)).tanh())

    torch.manual_seed(0)
    model = Foreign().double()
    _, clean, corrupted, metric = random_pair()
    found = activation_patches(
        model, clean, corrupted, metric, generator, names=["embed", "mix"], by="pos", axes={"*": "batch pos unit"}
    )
    assert found.effect.share is None  # position -2 reads itself alone, and is not corrupted
    where = logit_difference(torch.tensor([1] * 4), torch.tensor([2] * 4), 2)
    found = activation_patches(
        model, clean, corrupted, where, generator, names=["embed", "mix"], by="pos", axes={"*": "batch pos unit"}
    )
    gap = found.effect.samples.sum(2)
    assert found.effect.samples[:, :, 2].tolist() == gap.tolist()
    assert float(gap.abs().min()) > 1e-3


def test_nothing_is_left_behind(generator):
    model, clean, corrupted, metric = random_pair(normalization="LN")
    kept = [t.clone() for t in (clean, corrupted, *model.parameters())]
    before = model(clean)
    activation_patches(model, clean, corrupted, metric, generator, names="*", by=())
    assert all(torch.equal(a, b) for a, b in zip(kept, (clean, corrupted, *model.parameters()), strict=True))
    assert torch.equal(model(clean), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_map_goes_to_json(generator):
    written = json.loads(json.dumps(patches(pair("induction_k", COPY), generator, names=Z, by="head").to_dict()))
    assert written["effect"]["share"]["mean"] == [[pytest.approx(1)], [pytest.approx(1)]]
    assert written["labels"] == {"point": ["blocks.0.attn.hook_z", "blocks.1.attn.hook_z"], "head": ["0"]}
    assert written["metric"] == "logit difference"
    assert written["gap"]["n"] == 4


def test_what_cannot_be_meant_is_refused(generator):
    model, clean, corrupted, metric = random_pair(d_mlp=6)

    def call(a=clean, b=corrupted, m=metric, names=Z, **options):
        return activation_patches(model, a, b, m, generator, names=names, **options)

    with pytest.raises(InputError, match=r"of one shape, got \[4, 7\] and \[4, 6\]"):
        call(b=corrupted[:, 1:])
    with pytest.raises(InputError, match="at least two of them, got 1"):
        call(clean[:1], corrupted[:1], metric.select(torch.tensor([0])))
    with pytest.raises(InputError, match="is about 2 sequences, there are 4"):
        call(m=metric.select(torch.tensor([0, 1])))
    with pytest.raises(InputError, match="'denoising' or 'noising', got 'both'"):
        two_runs(model, clean, corrupted, metric, generator, "both", 8)
    with pytest.raises(InputError, match="batch_size must be at least 1"):
        call(batch_size=0)
    with pytest.raises(InputError, match=r"\(batch pos d_model\), none called head"):
        call(names=RESID_PRE, by="head")
    with pytest.raises(InputError, match=r"is \[3\] along head, blocks\.0\.mlp\.hook_post is \[6\]"):
        call(names=[Z, "blocks.*.mlp.hook_post"], by="head")
    with pytest.raises(InputError, match="names an axis twice: pos, pos"):
        call(by=["pos", "pos"])
    with pytest.raises(InputError, match=r"blocks\.0\.attn have no names"):
        call(names="blocks.0.attn", by="pos")
    found = call(by="head")
    with pytest.raises(InputError, match="no head is called '3'; there are 0, 1, 2"):
        found.index("blocks.0.attn.hook_z", 3)
    with pytest.raises(InputError, match="one label for each of point, head, got 1"):
        found.index("blocks.0.attn.hook_z")
