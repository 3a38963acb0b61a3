"""What an audit measures when everything would take too long: one plan, made before the work and kept with the result.

A plan is made from the time of one forward pass, so it differs from run to run; the numbers of an audit depend on the
plan and the seed alone, not on the time.
"""

from dataclasses import replace

from torch import nn

from analyses.audit.costs import Costs
from analyses.audit.plan import SEQUENCES, Plan
from interp.errors import InputError
from interp.heads import olsson_protocol
from interp.heads.stimuli import other_periods
from interp.weights.shape import shape_of

SMALL_WORK = 2e12
"""A model whose whole audit takes fewer operations is audited whole: about a minute of one core. No clock decides."""
MINUTES = 4.0
"""The budget of a larger one, if nobody says."""
FEWER_SEQUENCES = (16, 8, 4)
FEWEST_CANDIDATES = 4
PARTNERS = 4
FEEDERS = 16
SAMPLED_TOKENS, SAMPLED_POSITIONS = 1024, 128
MOST_TOKENS = 20_000
"""Tables of all pairs of tokens are not made for larger vocabularies."""


def make_plan(
    model: nn.Module, bos: int | None = None, excluded: tuple[int, ...] = (), minutes: float | None = None
) -> Plan:
    """The plan that fits `minutes`, 4 if nobody says; everything for models whose whole audit takes under a minute.

    Raises `InputError` for a budget that is not above 0, and for models that cannot be audited.
    """
    if minutes is not None and not 0 < minutes < float("inf"):
        raise InputError(f"--budget must be a number of minutes above 0, got {minutes:g}")
    shape = shape_of(model)
    first = olsson_protocol(shape.d_vocab, shape.n_ctx, bos, excluded)
    costs = Costs.timed(model, first, other_periods(first, shape.n_ctx))
    whole, budget = Plan(), 60 * (MINUTES if minutes is None else minutes)
    small = costs.work(whole) <= SMALL_WORK if minutes is None else sum(costs.of(whole).values()) <= budget
    if small and shape.d_vocab <= MOST_TOKENS:
        return replace(whole, minutes=minutes, estimated=costs.of(whole))
    reduced = replace(
        whole,
        partners=PARTNERS,
        feeders=FEEDERS,
        tokens=SAMPLED_TOKENS if shape.d_vocab > SAMPLED_TOKENS else None,
        positions=SAMPLED_POSITIONS if shape.n_ctx > SAMPLED_POSITIONS else None,
        minutes=budget / 60,
    )
    return fitted(reduced, costs, budget, len(shape.heads))


def fitted(plan: Plan, costs: Costs, budget: float, n_heads: int) -> Plan:
    """As many sequences as leave half of the budget to the candidates, then as many candidates as fit."""
    least = replace(plan, candidates=min(FEWEST_CANDIDATES, n_heads))
    for n in (SEQUENCES, *FEWER_SEQUENCES):
        least = replace(least, sequences=n)
        if sum(costs.of(least).values()) <= budget / 2:
            break
    one_more = replace(least, candidates=least.candidates + 1 if least.candidates else 1)
    each = sum(costs.of(one_more).values()) - sum(costs.of(least).values())
    room = max(0, int((budget - sum(costs.of(least).values())) / max(each, 1e-9)))
    made = replace(least, candidates=min(n_heads, (least.candidates or 0) + room))
    return replace(made, estimated=costs.of(made))
