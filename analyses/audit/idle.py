"""The role "idle": a head that writes next to nothing that matters on these tokens, alone and beside its like."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from analyses.audit.causal import Causal
from analyses.audit.effects import REMOVALS
from analyses.audit.intact import divergence
from analyses.audit.measured import Found, Material, asked_once, claim_of, measured
from analyses.audit.rules import below
from analyses.evidence import Claim, Measurement
from interp.ablation.removal import To
from interp.hooks import record
from interp.names import Head, resid_post_name
from interp.stats import Estimate

COSTLIEST = 8
"""Heads beside whose removal each candidate is looked at too: it might stand in for one of them."""
EITHER = "by mean or zero, the larger effect"
NOTHING = Estimate(-math.inf, -math.inf, -math.inf, 0, 0.0, "no other head")


class Idle:
    """Which heads nothing needs; `causal` has what each costs alone."""

    def __init__(self, material: Material, causal: Causal | None):
        self.material, self.causal = material, causal
        self.beside: dict[Head, tuple[str, Estimate]] = {}
        self.candidates: list[Head] = []
        self.kept: dict[tuple[tuple[Head, ...], To], Tensor] = {}
        if causal is None:
            return
        w = material.weights
        heads = [Head(layer, index) for layer in range(w.n_layers) for index in range(w.n_heads)]
        cheap = [head for head in heads if self._loss(head, causal).holds is True]
        self.candidates = [head for head in cheap if self._predictions(head).holds is True]
        costly = sorted((h for h in heads if h not in self.candidates), key=lambda h: -self._cost(h, causal))
        self.beside = self._measure_beside(costly[:COSTLIEST])

    @asked_once
    def claim(self, head: Head) -> Claim | None:
        """None for a head that costs something alone."""
        if self.causal is None:
            return claim_of("idle", {"behaviour": self._size(head), "weights": self._circuit(head)})
        if head not in self.candidates:
            return None
        causal = (self._predictions(head), self._loss(head, self.causal), *self._stands_in(head))
        found: dict[Any, Found] = {"behaviour": self._size(head), "weights": self._circuit(head), "causal": causal}
        return claim_of("idle", found)

    def to_dict(self) -> dict[str, Any]:
        return {
            "information": None if self.causal is None else self.material.intact.information.to_dict(),
            "candidates": [str(head) for head in self.candidates],
            "beside": {str(h): {"others": text, **e.to_dict()} for h, (text, e) in self.beside.items()},
        }

    @property
    def least(self) -> float:
        """Nats that are next to nothing, beside what the model says."""
        return self.material.criteria.no_loss_share * self.material.intact.information.mean

    @property
    def rule(self) -> str:
        c, said = self.material.criteria, self.material.intact.information.mean
        return f"below {c.no_loss_share:.1%} of the {said:.3g} nats that predictions differ from their mean, surely"

    def _cost(self, head: Head, causal: Causal) -> float:
        return max(float(estimates.mean[head]) for estimates in causal.effects.predictable.values())

    def _loss(self, head: Head, causal: Causal) -> Measurement:
        """Neither up nor down: a head whose removal lowers the loss does something too."""
        scale = causal.gain if causal.gain > 0 else self.material.intact.information.mean
        least = self.material.criteria.no_loss_share * scale
        by = [estimates[head] for estimates in causal.effects.predictable.values()]
        worst = max(by, key=lambda e: max(e.high, -e.low))
        holds = below(worst, least) if worst.low >= -least else (False if worst.high < -least else None)
        rule = f"within {least:.2g} of 0 ({self.material.criteria.no_loss_share:.1%} of the model's gain), surely"
        name = f"loss on predictable tokens when removed ({EITHER})"
        return measured(name, worst, rule, holds, "nats per token", least)

    def _predictions(self, head: Head) -> Measurement:
        intact = self.material.intact
        worst = max((intact.estimate(intact.without(head, to)) for to in ("mean", "zero")), key=lambda e: e.high)
        name = f"predictions moved when removed ({EITHER})"
        return measured(name, worst, self.rule, below(worst, self.least), "nats (KL)", self.least)

    def _stands_in(self, head: Head) -> Found:
        if head not in self.beside:
            return ()
        text, estimate = self.beside[head]
        name = f"predictions it moves when removed beside {text}"
        return (measured(name, estimate, self.rule, below(estimate, self.least), "nats (KL)", self.least),)

    def _measure_beside(self, costly: Sequence[Head]) -> dict[Head, tuple[str, Estimate]]:
        """The most that each candidate's removal adds, with all other candidates gone, or one head that matters."""
        found: dict[Head, tuple[str, Estimate]] = {}
        for head in self.candidates:
            others = [h for h in self.candidates if h != head]
            tried = [("the other idle heads", self._added(head, others, to)) for to in REMOVALS if others]
            found[head] = max(tried, key=lambda each: each[1].high, default=("", NOTHING))
        for other in costly:
            for head in self.candidates:
                added = self._added(head, [other], "mean")
                found[head] = max(found[head], (str(other), added), key=lambda each: each[1].high)
        return {head: each for head, each in found.items() if each[0]}

    def _added(self, head: Head, gone: Sequence[Head], to: To) -> Estimate:
        intact, key = self.material.intact, (tuple(gone), to)
        how = intact.removals[to]
        if key not in self.kept:
            self.kept = {key: intact.changed(how.edits(gone))}  # of one set at a time: logits are large
        return intact.estimate(divergence(self.kept[key], intact.changed(how.edits([*gone, head]))))

    def _size(self, head: Head) -> Found:
        """A head that writes nothing is idle; one that writes may still write where nothing reads."""
        if "behaviour" in self.material.skip:
            return ()
        intact, least = self.material.intact, self.material.criteria.idle_output
        name = resid_post_name(head.layer)
        stream = record(intact.model, intact.tokens, names=name)[name]
        out = intact.written[head.layer][:, :, head.index] @ intact.weights.W_O[head]
        share = intact.estimate(((out - out.mean((0, 1))).norm(dim=-1) / stream.norm(dim=-1)).mean(-1).cpu().double())
        rule = f"at most {least:g}, surely; else undecided: it may write where nothing reads"
        holds = True if below(share, least) else None
        unit = "share of the residual stream's norm"
        return (measured("how much what it writes varies", share, rule, holds, unit, least),)

    def _circuit(self, head: Head) -> Found:
        if "weights" in self.material.skip:
            return ()
        w, least = self.material.weights, self.material.criteria.idle_output
        norms = torch.linalg.matrix_norm(w.W_V @ w.W_O)
        own, typical = float(norms[head]), float(norms.max())
        value = own / typical if typical > 0 else 0.0
        rule = f"at most {least:g}; else undecided: weights alone do not tell what matters"
        name = "size of its OV circuit beside the largest of any head (Frobenius norms)"
        return (Measurement(name, value, rule, True if value <= least else None, "ratio", threshold=least),)
