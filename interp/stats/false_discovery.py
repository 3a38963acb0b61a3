"""Many tests at once: q-values that hold whatever the tests have to do with each other."""

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import InputError


def benjamini_yekutieli(p_values: Float[Tensor, "*tests"]) -> Float[Tensor, "*tests"]:
    """q-values: calling all tests with q <= level a discovery is wrong in a share of at most `level`, in expectation.

        q_(i) = min over j >= i of p_(j) m c(m) / j,    c(m) = 1 + 1/2 + ... + 1/m

    with p-values in ascending order (Benjamini & Yekutieli 2001, theorem 1.3). It holds under any dependence, as that
    of pairs that share heads; the price is the factor c(m), 4.5 for 50 tests. NaN is no test and stays NaN; m counts
    the others. Raises `InputError` for p-values outside 0..1.
    """
    tested = ~p_values.isnan()
    p = p_values[tested].double()
    if not bool(((p >= 0) & (p <= 1)).all()):
        raise InputError(f"p-values lie between 0 and 1, got {float(p.min())} to {float(p.max())}")
    m = len(p)
    rank = torch.arange(1, m + 1, dtype=torch.float64, device=p.device)
    ascending, order = p.sort()
    raised = ascending * m * (1 / rank).sum() / rank
    q = torch.empty_like(p)
    q[order] = raised.flip(0).cummin(0).values.flip(0).clamp_max(1) if m else raised
    found = torch.full_like(p_values, float("nan"), dtype=torch.float64)
    found[tested] = q
    return found
