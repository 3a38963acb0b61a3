"""Numbers that a running model must not give: NaN and infinities, found where they enter a measurement."""

import torch
from torch import Tensor

from interp.errors import NotFinite


def require_finite(what: str, values: Tensor) -> None:
    """`NotFinite` that names what holds NaN or infinity, and what to do; else a whole measurement would be NaN.

    `what` is a hook point's name or words for a value worked out from some.
    """
    if bool(values.isfinite().all()):
        return
    bad, kind = int((~values.isfinite()).sum()), str(values.dtype).removeprefix("torch.")
    raise NotFinite(
        f"not finite: {bad} of {values.numel()} values of {what} are NaN or infinite, so nothing can be measured here. "
        f"The model's weights are finite, but it overflows on these tokens ({kind} holds numbers up to "
        f"{torch.finfo(values.dtype).max:.3g}): run it in a wider type, as model.float() or model.double()"
    )
