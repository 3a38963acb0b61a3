"""Intervals, p-values and null distributions: what stands beside every score.

A *sample* is a whole sequence, never a position: positions of one sequence share their tokens and are not independent.
scipy, which takes a quarter of a second to load, is imported by the two functions that need it.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import InputError

Alternative = Literal["two-sided", "greater", "less"]
BootstrapMethod = Literal["bca", "percentile"]


@dataclass(frozen=True)
class Estimate:
    """A mean (or a share) with its interval `low..high` at confidence `level`, from `n` samples."""

    mean: float
    low: float
    high: float
    n: int
    level: float
    method: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.mean:.3g} [{self.low:.3g}, {self.high:.3g}]"


@dataclass(frozen=True)
class Estimates:
    """`Estimate` for every element of a tensor, for example `[layer head]`; `estimates[1, 3]` is one `Estimate`."""

    mean: Float[Tensor, "*rest"]
    low: Float[Tensor, "*rest"]
    high: Float[Tensor, "*rest"]
    n: int
    level: float
    method: str

    def __getitem__(self, index: int | tuple[int, ...]) -> Estimate:
        mean, low, high = (float(t[index]) for t in (self.mean, self.low, self.high))
        return Estimate(mean, low, high, self.n, self.level, self.method)

    def to_dict(self) -> dict[str, Any]:
        values = {name: getattr(self, name).tolist() for name in ("mean", "low", "high")}
        return values | {"n": self.n, "level": self.level, "method": self.method}


@dataclass(frozen=True)
class Null:
    """What a score is when there is nothing to find: summary of `n` draws, described in words."""

    mean: float
    std: float
    q95: float
    q99: float
    maximum: float
    n: int
    description: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def null_summary(draws: Float[Tensor, " n"], description: str) -> Null:
    """Mean, standard deviation (n - 1), 95 % and 99 % quantile and maximum of the draws of a null distribution.

    Raises `InputError` for fewer than two draws or values that are not finite.
    """
    x = _checked(draws, smallest=2).double()
    q95, q99 = x.quantile(torch.tensor([0.95, 0.99], dtype=torch.float64, device=x.device)).tolist()
    return Null(float(x.mean()), float(x.std()), q95, q99, float(x.max()), len(x), description)


def bootstrap_interval(
    samples: Float[Tensor, " n"],
    generator: torch.Generator,
    level: float = 0.95,
    draws: int = 2000,
    method: BootstrapMethod = "bca",
) -> Estimate:
    """`bootstrap_intervals` of a single quantity."""
    return bootstrap_intervals(samples, generator, level, draws, method)[()]


def bootstrap_intervals(
    samples: Float[Tensor, "n *rest"],
    generator: torch.Generator,
    level: float = 0.95,
    draws: int = 2000,
    method: BootstrapMethod = "bca",
) -> Estimates:
    """Bootstrap interval of the mean over the first axis, for all other elements at once (with the same resamples).

    "percentile": quantiles of the means of `draws` resamples. "bca": quantiles at levels corrected for bias and skew,

        Phi(z0 + (z0 + z_q) / (1 - a (z0 + z_q))),  z0 = Phi^-1(share of resampled means below the mean),
        a = sum d^3 / (6 (sum d^2)^1.5),  d = x - mean

    (Efron 1987, "Better bootstrap confidence intervals"). Samples that are all equal give an interval of width 0:
    it says that nothing varied, not that the mean is certain. Below about 20 samples both are too narrow.
    Raises `InputError` for fewer than two samples, values that are not finite, or a level outside (0, 1).
    """
    _check_level(level)
    x = _checked(samples, smallest=2).double()
    n, flat = len(x), x.reshape(len(x), -1)
    mean = flat[0] + (flat - flat[0]).mean(0)  # equal samples give exactly their value back
    resampled = _resampled_means(flat, generator, draws)
    tail = (1 - level) / 2
    levels = torch.tensor([tail, 1 - tail], dtype=torch.float64, device=x.device)[:, None].expand(2, flat.shape[1])
    if method == "bca":
        levels = _bca_levels(flat, mean, resampled, levels)
    low, high = _quantiles(resampled, levels)
    rest = x.shape[1:]
    name = f"{method} bootstrap, {draws} resamples"
    return Estimates(mean.reshape(rest), low.reshape(rest), high.reshape(rest), n, level, name)


def _resampled_means(flat: Tensor, generator: torch.Generator, draws: int) -> Tensor:
    """Means of resamples with replacement, sorted along the first axis: [draws, elements]."""
    n = len(flat)
    if draws < 2:
        raise InputError(f"a bootstrap needs at least 2 resamples, got {draws}")
    picks = torch.randint(n, (draws, n), generator=generator, device=generator.device).to(flat.device)
    counts = torch.zeros(draws, n, dtype=flat.dtype, device=flat.device)
    counts.scatter_add_(1, picks, torch.ones_like(counts))
    return (flat[:1] + counts @ (flat - flat[:1]) / n).sort(dim=0).values


def _bca_levels(flat: Tensor, mean: Tensor, resampled: Tensor, levels: Tensor) -> Tensor:
    """The two quantile levels, corrected element by element; uncorrected where nothing varies."""
    deviations = flat - mean
    spread = deviations.square().sum(0)
    acceleration = deviations.pow(3).sum(0) / (6 * spread.clamp_min(torch.finfo(spread.dtype).tiny) ** 1.5)
    draws = len(resampled)
    below = (resampled < mean).double().mean(0) + (resampled == mean).double().mean(0) / 2
    z0 = torch.special.ndtri(below.clamp(0.5 / draws, 1 - 0.5 / draws))
    shifted = z0 + torch.special.ndtri(levels)
    denominator = 1 - acceleration * shifted
    corrected = torch.special.ndtr(z0 + shifted / denominator)
    return torch.where((spread > 0) & (denominator > 0), corrected, levels)


def _quantiles(ordered: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Linear interpolation at `levels` [2, elements] in columns that are sorted."""
    place = levels * (len(ordered) - 1)
    lower = place.floor().long()
    upper = (lower + 1).clamp_max(len(ordered) - 1)
    values = torch.lerp(ordered.gather(0, lower), ordered.gather(0, upper), place - lower)
    return values[0], values[1]


def student_t_interval(samples: Float[Tensor, " n"], level: float = 0.95) -> Estimate:
    """`student_t_intervals` of a single quantity."""
    return student_t_intervals(samples, level)[()]


def student_t_intervals(samples: Float[Tensor, "n *rest"], level: float = 0.95) -> Estimates:
    """mean ± t(n - 1) s / sqrt(n) over the first axis: exact for normal samples, good for means of few samples.

    Raises `InputError` for fewer than two samples, values that are not finite, or a level outside (0, 1).
    """
    from scipy import special

    _check_level(level)
    x = _checked(samples, smallest=2).double()
    n, mean = len(x), x.mean(0)
    half = float(special.stdtrit(n - 1, (1 + level) / 2)) * x.std(0) / n**0.5
    return Estimates(mean, mean - half, mean + half, n, level, "Student t")


def clopper_pearson(successes: int, trials: int, level: float = 0.95) -> Estimate:
    """Exact (conservative) interval of a share (Clopper & Pearson 1934); 60 of 60 gives 0.940..1.

    low = Beta^-1((1 - level)/2; k, n - k + 1), high = Beta^-1((1 + level)/2; k + 1, n - k).
    Raises `InputError` unless 0 <= successes <= trials and trials >= 1.
    """
    from scipy import special

    _check_level(level)
    if trials < 1 or not 0 <= successes <= trials:
        raise InputError(f"a share needs 0 <= successes <= trials and a trial, got {successes} of {trials}")
    tail, failures = (1 - level) / 2, trials - successes
    low = float(special.betaincinv(successes, failures + 1, tail)) if successes else 0.0
    high = float(special.betaincinv(successes + 1, failures, 1 - tail)) if failures else 1.0
    return Estimate(successes / trials, low, high, trials, level, "Clopper-Pearson")


def p_value(at_least_as_extreme: int, draws: int) -> float:
    """(1 + b) / (1 + n) for b of n null draws at least as extreme as what was seen: never 0 (Phipson & Smyth 2010)."""
    if draws < 1 or not 0 <= at_least_as_extreme <= draws:
        raise InputError(f"a p-value needs 0 <= b <= n and a draw, got b={at_least_as_extreme}, n={draws}")
    return (1 + at_least_as_extreme) / (1 + draws)


def monte_carlo_p_value(value: float, draws: Float[Tensor, " n"], alternative: Alternative = "greater") -> float:
    """The p-value of `value` among draws of its null distribution; "two-sided" doubles the smaller tail (at most 1)."""
    x = _checked(draws, smallest=1)
    if not math.isfinite(value):
        raise InputError(f"a p-value needs a finite number, got {value}")
    above, below = p_value(int((x >= value).sum()), len(x)), p_value(int((x <= value).sum()), len(x))
    return {"greater": above, "less": below, "two-sided": min(1.0, 2 * min(above, below))}[alternative]


def sign_flip_p_values(
    samples: Float[Tensor, "n *rest"],
    generator: torch.Generator,
    draws: int = 9999,
    alternative: Alternative = "two-sided",
) -> Float[Tensor, "*rest"]:
    """p-value of "the samples are symmetric about 0", for every element, from random signs of whole samples.

    Every assignment of signs is tried when there are at most `draws` + 1 of them, and the p-value is then exact;
    else `draws` random ones, with (1 + b) / (1 + n). Values that differ by rounding only count as equal.
    """
    x = _checked(samples, smallest=1).double()
    n, flat = len(x), x.reshape(len(x), -1)
    exact = n < 62 and 2**n <= draws + 1
    if exact:
        signs = 1 - 2 * ((torch.arange(2**n)[:, None] >> torch.arange(n)) & 1)
    else:
        signs = 1 - 2 * torch.randint(2, (draws, n), generator=generator, device=generator.device)
    flipped, seen = signs.to(flat) @ flat / n, flat.mean(0)
    if alternative == "two-sided":
        flipped, seen = flipped.abs(), seen.abs()
    elif alternative == "less":
        flipped, seen = -flipped, -seen
    extreme = (flipped >= seen - 1e-12 * flat.abs().mean(0)).sum(0)
    p = extreme / len(signs) if exact else (1 + extreme) / (1 + len(signs))
    return p.double().reshape(x.shape[1:])


def _checked(values: Tensor, smallest: int) -> Tensor:
    if len(values) < smallest:
        raise InputError(f"at least {smallest} samples are needed, got {len(values)}")
    if not bool(values.isfinite().all()):
        raise InputError("samples must be finite numbers, got NaN or infinity")
    return values


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InputError(f"a confidence level lies between 0 and 1, got {level}")
