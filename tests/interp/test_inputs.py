"""What callers confuse is said in one line, before any work starts."""

import inspect

import pytest
import torch

from interp import errors, intervene, weights_of
from interp.ablation import head_effects, removal
from interp.circuits import copying_score, full_ov, full_qk, ov_tables, skip_trigrams
from interp.composition import composition_scores, compositions, token_composition
from interp.edges import edge_problem
from interp.heads import measure_heads, score_heads, scores_by_position
from interp.hooks.targets import find_targets
from interp.inputs import checked
from interp.lens import direct_logit_attribution, logit_lens
from interp.patching import activation_patches, logit_difference, path_patches
from interp.paths import freeze, logit_paths, virtual_full_ov, virtual_ov
from toy_models.errors import InputError as ModelInputError
from toy_models.handmade import make
from toy_models.transformer import Transformer

MODEL = make("induction_k").model
W = weights_of(MODEL)
LISTS = [[0, 1, 2, 1, 2], [0, 3, 4, 3, 4]]
TOKENS = torch.tensor(LISTS)
SCORED = torch.zeros_like(TOKENS, dtype=torch.bool).index_fill(1, torch.tensor([4]), True)
METRIC = logit_difference(TOKENS[:, 4], TOKENS[:, 3])
RANDOM = torch.Generator()
Z = "blocks.*.attn.hook_z"

FOR_WEIGHTS = {
    "virtual_full_ov": lambda m: virtual_full_ov(m, [(0, 0), (1, 0)]),
    "virtual_ov": lambda m: virtual_ov(m, [(0, 0)]),
    "full_ov": lambda m: full_ov(m, (1, 0)),
    "full_qk": lambda m: full_qk(m, (1, 0)),
    "copying_score": lambda m: copying_score(m, RANDOM),
    "skip_trigrams": lambda m: skip_trigrams(m, (1, 0)),
    "ov_tables": ov_tables,
    "compositions": lambda m: compositions(m, RANDOM),
    "composition_scores": lambda m: composition_scores(m, "K"),
    "token_composition": lambda m: token_composition(m, (0, 0), (1, 0), "K", RANDOM),
    "edge_problem": lambda m: edge_problem(m, TOKENS, SCORED, corrupted=TOKENS),
}
FOR_TOKENS = {
    "freeze": lambda t: freeze(MODEL, t),
    "logit_paths": lambda t: logit_paths(MODEL, t),
    "head_effects": lambda t: head_effects(MODEL, t, SCORED, RANDOM),
    "score_heads": lambda t: score_heads(MODEL, t, RANDOM),
    "scores_by_position": lambda t: scores_by_position(MODEL, t, RANDOM),
    "logit_lens": lambda t: logit_lens(MODEL, t, RANDOM),
    "direct_logit_attribution": lambda t: direct_logit_attribution(MODEL, t),
    "activation_patches": lambda t: activation_patches(MODEL, t, TOKENS, METRIC, RANDOM, names=Z),
    "path_patches": lambda t: path_patches(MODEL, TOKENS, t, METRIC, RANDOM),
}
FOR_GENERATOR = {
    "measure_heads": lambda g: measure_heads(MODEL, g, bos=0),
    "score_heads": lambda g: score_heads(MODEL, TOKENS, g),
    "head_effects": lambda g: head_effects(MODEL, TOKENS, SCORED, g),
    "removal": lambda g: removal(MODEL, TOKENS, "resample", generator=g),
    "copying_score": lambda g: copying_score(W, g),
    "compositions": lambda g: compositions(W, g),
    "logit_lens": lambda g: logit_lens(MODEL, TOKENS, generator=g),
}


@pytest.mark.parametrize("name", FOR_WEIGHTS)
def test_a_model_in_place_of_its_weights_is_answered_by_weights_of(name):
    with pytest.raises(errors.InputError, match="must be the weights of a model, got a Transformer: pass"):
        FOR_WEIGHTS[name](MODEL)


@pytest.mark.parametrize("name", FOR_TOKENS)
def test_lists_and_numbers_with_a_fraction_in_place_of_tokens_are_refused(name):
    with pytest.raises(errors.InputError, match=r"must be a tensor \[batch pos\], got a list: pass torch\.tensor"):
        FOR_TOKENS[name](LISTS)
    with pytest.raises(errors.InputError, match=r"must be whole numbers, got torch\.float32: pass \w+\.long\(\)"):
        FOR_TOKENS[name](TOKENS.float())


@pytest.mark.parametrize("name", FOR_GENERATOR)
def test_a_seed_in_place_of_a_generator_is_answered_by_the_generator_of_that_seed(name):
    wanted = r"generator must be a torch\.Generator, got int 7: pass torch\.Generator\(\)\.manual_seed\(7\)"
    with pytest.raises(errors.InputError, match=wanted):
        FOR_GENERATOR[name](7)


def test_no_edit_at_all_and_what_is_no_model_are_refused():
    with pytest.raises(errors.InputError, match="intervene needs at least one edit"), intervene(MODEL, {}):
        pass
    with pytest.raises(errors.InputError, match=r"a model must be a torch\.nn\.Module, got a str"):
        inspect.unwrap(find_targets)("runs/demo", "*")


def test_the_model_itself_refuses_what_are_no_tokens():
    for wrong in (LISTS, TOKENS.float()):
        with pytest.raises(ModelInputError, match="tokens must be a tensor of whole numbers"):
            inspect.unwrap(Transformer.check_tokens)(MODEL, wrong)


def test_what_is_right_passes_by_place_and_by_name_and_the_function_keeps_its_name():
    @checked
    def double(tokens, generator=None):
        """Twice."""
        return 2 * tokens

    assert torch.equal(double(TOKENS), 2 * TOKENS)
    assert torch.equal(double(tokens=TOKENS, generator=RANDOM), 2 * TOKENS)
    assert (double.__name__, double.__doc__) == ("double", "Twice.")
