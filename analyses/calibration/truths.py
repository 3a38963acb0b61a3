"""What the audit should say of a head that was made by hand, and where the making does not tell."""

from dataclasses import dataclass

from analyses.criteria import ROLES
from toy_models.handmade.truth import Edge, HeadIndex, Truth

MADE_AS: dict[str, frozenset[str]] = {
    "previous-token": frozenset({"previous-token"}),
    "shift": frozenset({"positional"}),
    "current-token": frozenset({"current-token"}),
    "first-token": frozenset({"first-token"}),
    "duplicate-token": frozenset({"duplicate-token"}),
    "induction": frozenset({"induction"}),
    "anti-copying": frozenset({"anti-copying"}),
    "copy-suppression": frozenset({"copy-suppression"}),
    "induction-pattern": frozenset({"prefix-matching"}),
    "literal-previous": frozenset({"duplicate-token"}),
    "literal-current": frozenset({"prefix-matching"}),
    "positional": frozenset({"positional"}),
    "skip-trigram": frozenset(),
    "random": frozenset(),
    "idle": frozenset({"idle"}),
}
"""The roles in the audit's words of each role in the handmade models' words; `copying` and `virtual-head` are read off
the truth of each head besides."""

UNTOLD: dict[str, frozenset[str]] = {
    "previous-token": frozenset({"positional"}),
    "shift": frozenset({"first-token"}),
    "positional": frozenset({"first-token"}),
    "current-token": frozenset({"positional"}),
    "first-token": frozenset({"positional"}),
    "duplicate-token": frozenset({"current-token"}),
    "anti-copying": frozenset({"copy-suppression", "prefix-matching"}),
    "copy-suppression": frozenset({"anti-copying", "prefix-matching"}),
    "literal-previous": frozenset({"current-token"}),
    "skip-trigram": frozenset({"first-token", "unexplained"}),
    "random": frozenset({"first-token", "current-token", "positional", "copying", "copy-suppression", "idle"})
    | frozenset({"virtual-head", "unexplained"}),
}
"""Roles that a head made for something else may have too: there the truth is silent, and no case is counted.

A previous-token head is positional in the word's plain sense. A head that looks further back than the sequence goes
looks at the first position; one that looks for a copy of its token looks at itself where there is none, a skip-trigram
head at token 0. What a model of induction predicts is what followed an earlier copy, so a head that lowers the one
lowers the other; and to lower it is one way not to raise it. What random weights happen to do at the first token, by
position, or to the loss, nobody set.
"""

BY_NOISE = frozenset({"virtual-head", "unexplained"})
"""Roles that noise can give: it makes every head read every earlier one, and write something to the logits."""


@dataclass(frozen=True)
class HeadTruth:
    """Roles that a head has, roles of which nothing is known, and how induction is made."""

    roles: frozenset[str]
    silent: frozenset[str]
    mechanism: str | None

    def told(self, role: str) -> bool | None:
        """Whether the head has the role; None where the truth is silent."""
        return None if role in self.silent else role in self.roles


def truth_of(truth: Truth, head: HeadIndex, disturbed: bool = False) -> HeadTruth:
    """What is known about one head, from the truth of its model without noise.

    `disturbed`: there is so much noise that it makes connections of its own, of which the truth then says nothing.
    """
    made_as = truth.roles[head]
    roles, silent = set(MADE_AS[made_as]), set(UNTOLD.get(made_as, frozenset()))
    if made_as not in ("random", "idle"):
        roles |= {"copying"} if copies(truth, head) else set()
        roles |= {"virtual-head"} if moves_values(truth, head) else set()
        silent |= set() if reaches_logits(truth.edges, head) else {"idle"}
        silent |= {"unexplained"} if not roles else set()
    silent |= BY_NOISE - roles if disturbed else set()
    return HeadTruth(frozenset(roles), frozenset(silent & set(ROLES)), mechanism_of(truth, head))


def copies(truth: Truth, head: HeadIndex) -> bool:
    """Whether the head by itself raises the token it attends to."""
    return any(e.quantity == "path copying" and e.at == (head,) and e.value > 0.5 for e in truth.expected)


def moves_values(truth: Truth, head: HeadIndex) -> bool:
    """Whether another head reads its values, or it reads another's: a part of a virtual head."""
    return any(
        edge.channel == "V" and head in (edge.source, edge.target) and isinstance(edge.source, tuple)
        for edge in truth.edges
    )


def reaches_logits(edges: frozenset[Edge], head: HeadIndex) -> bool:
    """Whether what the head writes is read, in the end, by the logits."""
    frontier, reached = {head}, set()
    while frontier:
        reached |= frontier
        targets = {edge.target for edge in edges if edge.source in frontier}
        if "logits" in targets:
            return True
        frontier = {target for target in targets if isinstance(target, tuple)} - reached
    return False


def mechanism_of(truth: Truth, head: HeadIndex) -> str | None:
    """How an induction head is fed, from who writes its keys and queries; None for other heads."""
    if truth.roles[head] != "induction":
        return None
    fed = {edge.channel for edge in truth.edges if edge.target == head and isinstance(edge.source, tuple)}
    by = {frozenset("K"): "K-composition", frozenset("Q"): "Q-composition", frozenset("KQ"): "mixed"}
    return by.get(frozenset(fed & {"K", "Q"}), "smeared keys")
