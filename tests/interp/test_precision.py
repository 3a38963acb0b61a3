"""Half precision beside float32 with the same (rounded) weights, and a GPU beside the CPU: how far numbers differ.

Tolerances are shares of the largest number of each kind. bfloat16 has 8 bits (a step of 0.4 %), float16 has 11
(0.05 %); each measurement goes through some ten roundings. What is worked out from weights alone is in float32 or more.
"""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor

from interp import intervene, record, weights_of
from interp.ablation import head_effects
from interp.circuits import copying_score, ranks
from interp.circuits.tables import full_ov
from interp.composition import composition_scores, compositions
from interp.edges import eap, edge_problem, exact
from interp.heads import measure_heads, next_token_push
from interp.hooks import ablate
from interp.lens import direct_logit_attribution, logit_lens
from interp.patching import activation_patches, attribution_patches, logit_difference, path_patches
from interp.paths import freeze, logit_paths_of, score_paths_of
from toy_models import handmade
from toy_models.config import TransformerConfig
from toy_models.handmade.transforms import add_noise
from toy_models.transformer import Transformer

HALF = {torch.float16: 6e-3, torch.bfloat16: 5e-2}
ON_GPU = 1e-4
"""float32 adds up in another order there; matrix products are in full float32 unless TF32 is asked for."""
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA GPU")


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def random_model() -> Transformer:
    config = TransformerConfig(
        n_layers=2,
        n_heads=2,
        d_model=24,
        d_head=8,
        d_vocab=16,
        n_ctx=34,
        positions="rotary",
        normalization="LN",
        smeared_keys=True,
        d_mlp=16,
    )
    return Transformer(config, seeded()).eval()


MODELS: dict[str, Callable[[], Transformer]] = {
    "handmade, with noise": lambda: add_noise(handmade.make("induction_k").model, 0.02, seeded()),
    "random, with everything": random_model,
}


@pytest.fixture(params=MODELS)
def model(request) -> Transformer:
    return MODELS[request.param]()


def stimuli(device: str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
    """Token 0, then a block of 8 three times; which tokens repeat; and the same with one token changed."""
    block = 1 + (torch.arange(8) + torch.arange(4)[:, None] * 3) % 15
    tokens = torch.cat([torch.zeros(4, 1, dtype=torch.long), block.repeat(1, 3)], dim=1)
    scored = torch.zeros_like(tokens, dtype=torch.bool)
    scored[:, 10:] = True
    other = tokens.clone()
    other[:, 3] = other[:, 3] % 15 + 1
    return tokens.to(device), scored.to(device), other.to(device)


def measured(model: Transformer) -> dict[str, Tensor]:
    """Numbers of every kind, on the CPU in float64."""
    tokens, scored, other = stimuli(str(model.W_E.device))
    w, plain = weights_of(model), weights_of(model, fold=False)
    metric = logit_difference(tokens[:, 4].cpu(), tokens[:, 4].cpu() % 15 + 1, 11)
    run = record(model, tokens)
    found = {"logits": run.output} | {name: run[name] for name in run if name.endswith(("pattern", "resid_post"))}
    found["scores"] = torch.stack([run[name].tril() for name in run if name.endswith("attn_scores")])
    with torch.no_grad(), intervene(model, {"blocks.1.attn.hook_z": ablate([0])}):
        found["logits without L1H0"] = model(tokens)
    battery = measure_heads(model, seeded(), bos=0, n=8)
    found |= {f"heads: {name}": battery.scores[name].samples for name in battery.scores}
    found["push"] = next_token_push(
        model, w, battery.tokens, battery.predictable, seeded(), protocol="repeated tokens"
    ).samples
    for to in ("mean", "zero", "resample"):
        found[f"effects by {to}"] = head_effects(model, tokens, scored, seeded(), to=to).loss.samples
    held = freeze(model, tokens, scores=True)
    found["paths"] = logit_paths_of(held).logit
    found["pairs of paths"] = score_paths_of(held, (1, 0)).total()
    found["lens"] = logit_lens(model, tokens, seeded()).loss.mean
    found["attribution"] = direct_logit_attribution(model, tokens).logit
    found["patches"] = activation_patches(
        model, tokens, other, metric, seeded(), names="blocks.*.attn.hook_z", by=("head",)
    ).effect.samples
    found["approximate patches"] = attribution_patches(
        model, tokens, other, metric, seeded(), names="blocks.*.attn.hook_z", by=("head",)
    ).approximate.effect.samples
    found["path patches"] = path_patches(model, tokens, other, metric, seeded()).table.effect.samples.nan_to_num()
    problem = edge_problem(plain, tokens, scored, corrupted=other)
    found["edges"], found["approximate edges"] = exact(problem).samples, eap(problem).samples
    found["copying"] = copying_score(w, seeded()).eigenvalue.value
    found["stable rank"] = torch.tensor(ranks(full_ov(w, (1, 0))).stable)
    offsets = 1 if w.rotary_base is not None else None
    for kind in ("Q", "K", "V"):
        found[f"{kind}-composition"] = composition_scores(w, kind, offsets).nan_to_num()
    return {name: value.detach().double().cpu() for name, value in found.items()}


def differences(model: Transformer, other: Transformer) -> dict[str, float]:
    """Largest difference of each kind of number, as a share of the largest of what it is worked out from."""
    one, two = measured(model), measured(other)
    assert one.keys() == two.keys()
    assert all(bool(value.isfinite().all()) for value in two.values())
    return {name: float((two[name] - one[name]).abs().max()) / size(name, one) for name in one}


def size(name: str, numbers: dict[str, Tensor]) -> float:
    """Effects are differences of two losses or of two logits, and no nearer than these; patterns follow scores."""
    largest = float(numbers[name].abs().max())
    if name.startswith(("effects", "edges", "approximate edges")):
        return max(largest, float(numbers["lens"][-1]))
    if "patches" in name:
        return max(largest, float(numbers["logits"].abs().max()))
    if name.endswith("pattern"):  # moves by p (1 - p) <= 1/4 of what the difference of two scores does
        return max(largest, float(numbers["scores"].abs().max()) / 4)
    return max(largest, 1e-2)


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_in_half_precision_every_number_is_that_of_float32_within_the_stated_tolerance(model, dtype):
    half = deepcopy(model).to(dtype)
    off = {name: share for name, share in differences(deepcopy(half).float(), half).items() if share > HALF[dtype]}
    assert off == {}


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_composition_of_half_precision_weights_is_worked_out_in_float32(model, dtype):
    half = deepcopy(model).to(dtype)
    offsets = 1 if model.config.positions == "rotary" else None
    one, two = (
        compositions(weights_of(each, fold=False), seeded(), 50, offsets) for each in (deepcopy(half).float(), half)
    )
    for kind in ("Q", "K", "V"):
        assert two.kinds[kind].score.dtype == torch.float32
        assert torch.equal(two.kinds[kind].score.nan_to_num(), one.kinds[kind].score.nan_to_num())
        assert torch.equal(two.kinds[kind].p_above.nan_to_num(), one.kinds[kind].p_above.nan_to_num())


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_weights_keep_their_precision_and_are_folded_in_float64(dtype):
    model = random_model().to(dtype)
    w, exactly = weights_of(model), weights_of(model, dtype=torch.float64)
    assert w.dtype == dtype
    for name, tensor in w.tensors().items():
        assert torch.equal(tensor, getattr(exactly, name).to(dtype))


@NEEDS_CUDA
def test_on_a_gpu_every_number_is_that_of_the_cpu_within_the_stated_tolerance(model):
    off = {name: share for name, share in differences(model, deepcopy(model).cuda()).items() if share > ON_GPU}
    assert off == {}


@NEEDS_CUDA
@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_in_half_precision_on_a_gpu_every_number_is_that_of_float32_on_the_cpu(model, dtype):
    half = deepcopy(model).to(dtype)
    off = differences(deepcopy(half).float(), half.cuda())
    assert {name: share for name, share in off.items() if share > HALF[dtype]} == {}
