"""KL as money and as evidence: what a gambler wins against the house's belief, and what a long record says."""

import torch
from torch import Tensor

from analyses.claims.claim import Arm, Claim, Picture, Row
from analyses.claims.experiments.distributions import drawn_distributions
from analyses.claims.experiments.identities import exact
from analyses.claims.experiments.slopes import log_slope
from interp.stats import divergence, growth_rate
from interp.stats.gambling import mean_growth

BETS = 1_000_000
LENGTHS = tuple(int(10 ** (k / 2)) for k in range(2, 13))
REPEATS = 200
Z = 4.0
"""Standard errors that a mean may be off: more happens by chance 6 times in 100,000."""


def three_beliefs(seed: int) -> tuple[torch.Generator, Tensor, Tensor, Tensor]:
    """The truth P, the house's belief Q and a bettor's wrong belief R about four outcomes."""
    generator = torch.Generator().manual_seed(seed)
    return generator, *drawn_distributions(generator, 3, 4)


def kelly(seed: int, device: str, budget: float) -> Row:
    """Growth of capital in played and in expected rounds, against what KL says."""
    generator, truth, house, wrong = three_beliefs(seed)
    outcomes = torch.multinomial(truth, max(100, round(BETS * budget)), replacement=True, generator=generator)
    kl, kl_wrong = float(divergence(truth, house)), float(divergence(truth, wrong))
    growth, error = mean_growth(outcomes, truth, house)
    other, other_error = mean_growth(outcomes, wrong, house)
    strategies = drawn_distributions(generator, 5000, 4)
    expected = growth_rate(truth, strategies, house)
    return {
        "off": abs(growth - kl) / error,
        "off believing R": abs(other - kl) / other_error,
        "off by KL(P, R)": abs(other - (kl - kl_wrong)) / other_error,
        "off without KL(P, R)": abs(other - kl) / other_error,
        "identity": float((expected - (kl - divergence(truth, strategies))).abs().max()),
        "identity reversed": float((expected - (kl - divergence(truth, strategies, "reverse kl"))).abs().max()),
        "above the best": max(0.0, float(expected.max()) - kl),
        "above R": max(0.0, float(expected.max()) - (kl - kl_wrong)),
        "growth": growth,
        "KL": kl,
    }


def log_likelihood_ratio(seed: int, device: str, budget: float) -> Row:
    """(1/k) log(P(E) / Q(E)) of records E of length k, drawn from P and from Q, against KL(P, Q)."""
    generator, truth, house, _ = three_beliefs(seed)
    kl, log_ratio = float(divergence(truth, house)), (truth / house).log()
    lengths = [max(2, round(k * min(budget, 1.0))) for k in LENGTHS]
    drawn = {"P": truth, "Q": house}
    means = {name: _means(source, log_ratio, lengths, generator) for name, source in drawn.items()}
    row: Row = {"length": [float(k) for k in lengths], "KL": kl}
    for name, source in drawn.items():
        missed = (means[name] - kl).square().mean(0).sqrt()
        row[f"rms {name}"] = missed.tolist()
        row[f"slope {name}"] = abs(log_slope(torch.tensor(lengths), missed) + 0.5)
        spread = float(((log_ratio.square() * source).sum() - (log_ratio * source).sum() ** 2).sqrt())
        last = float(means[name][:, -1].mean())
        se = spread / (lengths[-1] * REPEATS) ** 0.5
        row[f"off {name}"] = abs(last - kl) / se
        row[f"off reversed {name}"] = abs(last + float(divergence(truth, house, "reverse kl"))) / se
    return row


def _means(source: Tensor, log_ratio: Tensor, lengths: list[int], generator: torch.Generator) -> Tensor:
    """Mean log ratio of each repeat's first k outcomes: [repeat, length]; k outcomes are drawn as their counts."""
    totals, so_far, found = torch.zeros(REPEATS, len(source), dtype=torch.float64), 0, []
    for k in lengths:
        totals = totals + _counts(source, k - so_far, generator)
        so_far = k
        found.append(totals @ log_ratio / k)
    return torch.stack(found, 1)


def _counts(source: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """How often each outcome comes in n draws, for every repeat: one binomial after the other."""
    left, share = torch.full((REPEATS,), float(n), dtype=torch.float64), 1.0
    found = []
    for p in source[:-1].tolist():
        found.append(torch.binomial(left, torch.full_like(left, min(1.0, p / share)), generator=generator))
        left, share = left - found[-1], share - p
    return torch.stack([*found, left], 1)


CLAIMS = (
    Claim(
        name="kl-is-what-a-gambler-wins",
        numbers=(7,),
        statement="Who knows the true odds P wins KL(P, Q) nats each round against a house that believes Q.",
        source="Kelly 1956; Cover & Thomas, Elements of Information Theory, ch. 6",
        arms={"four outcomes": Arm(kelly)},
        comparisons=(
            exact(
                "played, betting P",
                "|growth - KL(P, Q)| in standard errors",
                "four outcomes",
                "off",
                Z,
                wrong="off believing R",
            ),
            exact(
                "played, betting R",
                "|growth - KL(P, Q) + KL(P, R)| in standard errors",
                "four outcomes",
                "off by KL(P, R)",
                Z,
                wrong="off without KL(P, R)",
            ),
            exact(
                "every bet, expected",
                "|growth - KL(P, Q) + KL(P, bet)|",
                "four outcomes",
                "identity",
                1e-12,
                wrong="identity reversed",
            ),
            exact(
                "no bet wins more",
                "most that 5,000 random bets gain above KL(P, Q)",
                "four outcomes",
                "above the best",
                1e-12,
                wrong="above R",
            ),
        ),
        why="A bettor who believes R plays the same rounds and wins KL(P, R) less; the reversed divergence does not "
        "fit; his bet is beaten by others.",
        trained=False,
    ),
    Claim(
        name="log-likelihood-ratio-tends-to-kl",
        numbers=(8,),
        statement="KL(P, Q) is the limit of (1/k) log P(E)/Q(E) for records E of k outcomes drawn from P.",
        source="Cover & Thomas, Elements of Information Theory, ch. 11 (law of large numbers)",
        arms={"records": Arm(log_likelihood_ratio)},
        comparisons=(
            exact(
                "E drawn from P", "|mean log ratio - KL(P, Q)| in standard errors", "records", "off P", Z, wrong="off Q"
            ),
            exact(
                "E drawn from Q: - KL(Q, P)",
                "|mean log ratio + KL(Q, P)| in standard errors",
                "records",
                "off reversed Q",
                Z,
                wrong="off reversed P",
            ),
            exact("as 1 / root k", "|slope of log error by log k + 1/2|", "records", "slope P", 0.1, wrong="slope Q"),
        ),
        why="Records drawn from Q run away from KL(P, Q), however long they are.",
        picture=Picture("rms P", "root mean square error", "length", "outcomes k", log_x=True, log_y=True),
        slip="'For any event' cannot be meant: the record has to be drawn from P. Drawn from Q it tends to - KL(Q, P).",
        trained=False,
    ),
)
