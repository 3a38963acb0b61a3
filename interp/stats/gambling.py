"""What a gambler's capital grows by: relative entropy as money (Kelly 1956)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.stats.divergence import check_distributions


def growth_rate(
    truth: Float[Tensor, " outcome"], bets: Float[Tensor, "*batch outcome"], house: Float[Tensor, " outcome"]
) -> Float[Tensor, "*batch"]:
    """Expected growth of log capital in each round, in nats, when the whole capital is spread as `bets`.

        W = sum_i truth_i log(bets_i / house_i) = KL(truth || house) - KL(truth || bets)

    The house pays 1 / house_i on outcome i, fair if the outcomes were as it believes. The largest growth is that of
    bets = truth (Cover & Thomas, theorem 6.1.2). Raises `InputError` for values that are no probabilities.
    """
    check_distributions(truth=truth, bets=bets, house=house)
    return (torch.xlogy(truth, bets) - torch.xlogy(truth, house)).sum(-1)


def mean_growth(
    outcomes: Int[Tensor, " round"], bets: Float[Tensor, " outcome"], house: Float[Tensor, " outcome"]
) -> tuple[float, float]:
    """(mean, standard error) of the growth of log capital over the rounds that were played, in nats.

    Raises `InputError` for values that are no probabilities.
    """
    check_distributions(bets=bets, house=house)
    each = (bets / house).double().log()[outcomes]
    return float(each.mean()), float(each.std() / len(each) ** 0.5)
