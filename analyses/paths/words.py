"""Names of orders, chains and kinds of composition, as tables, figures and pages call them."""

from collections.abc import Sequence

from analyses.paths.scores import Chains
from interp.names import Head
from interp.paths.scores import Kind
from interp.plots.drawing import COLORS

KINDS_IN_WORDS: dict[Kind, str] = {
    "direct": "neither through an earlier head",
    "Q": "query through earlier heads",
    "K": "key through earlier heads",
    "both": "both through earlier heads",
}
KIND_COLORS: dict[Kind, str] = {
    "direct": "#999999",
    "Q": COLORS[0],
    "K": COLORS[1],
    "both": COLORS[3],
}
"""Q and K as in the composition graph."""


def order_name(order: int, last: int) -> str:
    """What the paths of an order run through; the last order makes the model whole."""
    words = {0: "direct path", 1: "single heads"}.get(order, f"chains of {order}")
    return f"{words} (the model)" if order == last and order else words


def chain_name(chain: Sequence[Head]) -> str:
    """Heads in order; "·" for none."""
    return " → ".join(map(str, chain)) or "·"


def chains_name(chains: Chains) -> str:
    """Such as "K through L0H1", for one line of a figure."""
    query, key = chains
    parts = [f"{side} through {chain_name(chain)}" for side, chain in (("Q", query), ("K", key)) if chain]
    return ", ".join(parts) or "direct"
