"""Figures of term importance, of the paths of a logit, and of the parts of an attention score."""

from collections.abc import Sequence
from math import nan

from matplotlib.figure import Figure

from analyses.paths.logits import LogitParts
from analyses.paths.scores import TARGETS, ScoreParts
from analyses.paths.words import chains_name, order_name
from interp.names import Head
from interp.paths import TermImportance
from interp.plots import signed_bars, waterfall
from interp.stats import Estimate

MOST_BARS = 14
HELD = "Attention patterns are held: paths through values only."


def terms_figure(found: TermImportance, heads: Sequence[Head], title: str, protocol: str = "") -> Figure:
    """From ln V down by order to the model's loss; beside it the strongest heads and virtual heads."""
    last = len(found.losses.mean) - 1
    names = ["no path", *(order_name(order, 0) for order in range(last + 1)), "model"]
    return waterfall(
        found.uniform_loss,
        [found.steps[order] for order in range(last + 1)],
        names,
        parts=strongest_effects(found, heads),
        parts_label="the model's loss minus that without (nats)",
        title=title,
        protocol=f"{HELD} {protocol}".strip(),
    )


def strongest_effects(found: TermImportance, heads: Sequence[Head]) -> dict[str, Estimate]:
    """All paths through a head, then single virtual heads: the strongest half of the bars each."""
    single = {f"all through {head}": found.head_paths[head] for head in heads}
    chains = {}
    if found.pair is not None:
        chains = {" → ".join(map(str, pair)): found.pair[i] for i, pair in enumerate(found.pairs)}
    room = MOST_BARS - min(len(chains), MOST_BARS // 2)
    return strongest(single, room) | strongest(chains, MOST_BARS - min(len(single), room))


def strongest(effects: dict[str, Estimate], most: int) -> dict[str, Estimate]:
    order = sorted(effects, key=lambda name: -abs(effects[name].mean))[:most]
    return {name: effects[name] for name in order}


def logit_figure(found: LogitParts, title: str, protocol: str = "", most: int = MOST_BARS) -> Figure:
    """The strongest paths, beside what they add to the token of another sequence."""
    shown = range(min(most, len(found.paths)))
    nulls = None if found.elsewhere is None else [found.elsewhere[i].mean for i in shown]
    return signed_bars(
        [str(found.paths[i]) for i in shown],
        {"": [found.parts[i] for i in shown]},
        nulls=None if nulls is None else {"": nulls},
        null_name="to another\nsequence's",
        title=title,
        label="adds to the next token's logit, relative to the mean (nats)",
        protocol=protocol,
    )


def score_figure(found: ScoreParts, title: str, protocol: str = "", most: int = MOST_BARS) -> Figure:
    """The contrast, its parts by kind, and the strongest chains of heads into query and key."""
    kinds, chains = found.kinds, found.chains
    rows = {"contrast": (found.contrast, found.null)}
    for kind, estimate in kinds.estimates.items():
        name = kind if kind in ("direct", "both") else f"{kind}-composition"
        rows[name] = (estimate, None if kinds.null is None else kinds.null[kind])
    for pair in [pair for pair in chains.estimates if pair != ((), ())][:most]:
        rows[chains_name(pair)] = chains.estimates[pair], None if chains.null is None else chains.null.get(pair, 0.0)
    nulls = None if found.null is None else {"": [nan if null is None else null for _, null in rows.values()]}
    return signed_bars(
        list(rows),
        {"": [estimate for estimate, _ in rows.values()]},
        nulls=nulls,
        null_name="fresh tokens",
        rules=(1, 1 + len(kinds.estimates)),
        title=title,
        label="part of the contrast (score units)",
        protocol=f"Score at {TARGETS[found.aim][0]} minus the mean of the other keys. {protocol}".strip(),
    )
