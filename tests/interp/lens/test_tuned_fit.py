"""Where the fit ends, against the conditions that hold at a minimum."""

import torch

from interp.hooks import record
from interp.lens.tuned_fit import PENALTIES, Part, fit, fit_all, kl_to_final
from interp.weights import weights_of
from tests.reference_transformer import random_model, random_tokens
from toy_models.config import TransformerConfig

SMALL = TransformerConfig(
    n_layers=1, n_heads=2, d_model=6, d_head=3, d_vocab=9, n_ctx=9, positions="standard", normalization="LN"
)


def weights_and_part(batch, seed=1):
    model, tokens = random_model(SMALL), random_tokens(SMALL, batch, seed=seed)
    run = record(model, tokens, names=["blocks.0.hook_resid_pre"])
    residual = run["blocks.0.hook_resid_pre"].flatten(0, 1)
    weight = torch.full((len(residual),), 1 / len(residual), dtype=torch.float64)
    return weights_of(model, fold=False), Part(residual, run.output.log_softmax(-1).flatten(0, 1), weight)


def test_a_stronger_penalty_moves_the_map_less_and_what_is_minimised_falls():
    w, part = weights_and_part(20)
    zero, sizes, kls = torch.zeros(6, dtype=torch.float64), [], []
    for penalty in (1.0, 0.1, 0.01, 0.0):
        found = fit(w, part, part, zero, penalty, 200, 200)
        moved = float((found.A - torch.eye(6, dtype=torch.float64)).norm())
        assert found.training_kl + penalty * moved**2 < found.identity_kl
        sizes.append(moved)
        kls.append(found.training_kl)
    assert sizes == sorted(sizes)
    assert kls == sorted(kls, reverse=True)
    assert sizes[0] < 0.1 < 0.5 < sizes[-1]


def test_the_control_moves_the_bias_to_where_its_gradient_is_zero():
    w, part = weights_and_part(20)
    found = fit(w, part, part, None, 0.0, 200, 200)
    b = found.b.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(kl_to_final(w, part, found.A, b), b)
    assert float(gradient.abs().max()) < 1e-4
    assert torch.equal(found.A, torch.eye(6, dtype=torch.float64))
    assert found.looks > 0


def test_the_penalty_that_is_kept_has_the_lowest_validation_kl():
    w, training = weights_and_part(8)
    _, validation = weights_and_part(8, seed=2)
    best, control = fit_all(w, training, validation, 40, 5)
    each = [fit(w, training, validation, control.b, penalty, 40, 5).validation_kl for penalty in PENALTIES]
    assert best.validation_kl == min(each)
    assert best.penalty == PENALTIES[each.index(min(each))]
    assert min(each) < max(each)
