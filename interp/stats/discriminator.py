"""What a discriminator of two distributions can reach (Goodfellow et al. 2014, arXiv:1406.2661, section 4.1)."""

import torch
from jaxtyping import Float
from torch import Tensor

from interp.stats.divergence import check_distributions


def optimal_discriminator(
    data: Float[Tensor, "*#batch outcome"], fake: Float[Tensor, "*#batch outcome"]
) -> Float[Tensor, "*#batch outcome"]:
    """D*(x) = data(x) / (data(x) + fake(x)): the probability that x is data where both are as frequent.

    NaN where neither ever gives x. Raises `InputError` for values that are no probabilities.
    """
    check_distributions(data=data, fake=fake)
    return data / (data + fake)


def discriminator_value(
    data: Float[Tensor, "*#batch outcome"],
    fake: Float[Tensor, "*#batch outcome"],
    judged: Float[Tensor, "*#batch outcome"],
) -> Float[Tensor, "*#batch"]:
    """V = sum data log D + fake log(1 - D) for D = `judged`, in nats; at D* it is 2 JS(data, fake) - log 4.

    Outcomes that neither gives do not count. Raises `InputError` for values that are no probabilities.
    """
    check_distributions(data=data, fake=fake)
    seen = (data > 0) | (fake > 0)
    judged = torch.where(seen, judged, 0.5)
    return (torch.xlogy(data, judged) + torch.xlogy(fake, 1 - judged)).sum(-1)
