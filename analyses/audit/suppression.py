"""The role "copy-suppression": attends to what the model already predicts, and lowers it (McDougall et al. 2023)."""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from analyses.audit.copying import logits_lost
from analyses.audit.measured import Found, Material, asked_once, claim_of, is_open, measured
from analyses.audit.rules import above, below, every
from analyses.audit.weight_evidence import WeightEvidence
from analyses.evidence import Claim, Measurement
from interp.circuits.diagonal import DiagonalScores, diagonal_scores
from interp.circuits.factored import Factored
from interp.circuits.tables import attention_input, attention_side
from interp.composition import token_composition
from interp.heads.matching import mass_of_rows
from interp.heads.predicted import LIKELY, PredictedReadings, predicted_readings
from interp.hooks import intervene, record
from interp.names import Head, pattern_name
from interp.stats import Estimate
from interp.stats.ratios import resample

DRAWS = 400
NO_PREDICTION = f"before this layer nothing is predicted with a probability of {LIKELY:g} that stands in the sequence"


class Suppression:
    """What heads do at queries whose prediction stands earlier; by layers before which something is predicted."""

    def __init__(self, material: Material, weights: WeightEvidence | None):
        self.material, self.weights = material, weights
        self.readings: dict[int, PredictedReadings] = {}
        if "behaviour" not in material.skip:
            m = material
            self.readings = predicted_readings(m.model, m.weights, m.battery.tokens, m.generator)

    @asked_once
    def claim(self, head: Head) -> Claim | None:
        """None where nothing is predicted before its layer: there is nothing to suppress."""
        skipped = "behaviour" in self.material.skip
        if not skipped and head.layer not in self.readings:
            return None
        behaviour = () if skipped else self._behaviour(head)
        weights: Found = ()
        causal: Found = ()
        if is_open(behaviour):
            weights = () if self.weights is None else self._weights(head, self.weights)
            causal = () if "causal" in self.material.skip else self._causal(head)
        return claim_of("copy-suppression", {"behaviour": behaviour, "weights": weights, "causal": causal})

    def to_dict(self) -> dict[str, Any]:
        return {
            f"layer {layer}": {
                "queries": found.queries,
                "attention": found.attention.mean(0).tolist(),
                "nulls": {name: null.mean(0).tolist() for name, null in found.nulls.items()},
                "push": found.push.mean(0).tolist(),
            }
            for layer, found in self.readings.items()
        }

    def _estimate(self, samples: Float[Tensor, " n"]) -> Estimate:
        return self.material.intact.estimate(samples)

    def _behaviour(self, head: Head) -> Found:
        c, found, index = self.material.criteria, self.readings[head.layer], head.index
        attention = self._estimate(found.attention[:, index])
        margins = [self._estimate(found.attention[:, index] - null[:, index]) for null in found.nulls.values()]
        nulls = {name: float(null[:, index].mean()) for name, null in found.nulls.items()}
        smallest, push = min(margins, key=lambda margin: margin.mean), self._estimate(found.push[:, index])
        unit = "share of attention"
        return (
            measured(
                f"attention on tokens that the layers before predict (probability {LIKELY:g} or more)",
                attention,
                f"at least {c.pattern_mass:g}, with its whole interval",
                above(attention, c.pattern_mass),
                unit,
                c.pattern_mass,
                nulls,
            ),
            measured(
                "the same minus its highest null",
                smallest,
                f"at least {c.null_margin:g} above every null, with its whole interval",
                every(above(margin, c.null_margin) for margin in margins),
                unit,
                c.null_margin,
            ),
            measured(
                "logit of the predicted token minus the typical token's, from this head alone",
                push,
                f"at least {c.push_margin:g} nats down, with its whole interval",
                below(push, -c.push_margin),
                "nats",
                -c.push_margin,
            ),
        )

    def _weights(self, head: Head, weights: WeightEvidence) -> Found:
        return (*weights.copies(head, rises=False), *self._matching(head, weights))

    def _matching(self, head: Head, weights: WeightEvidence) -> Found:
        """What predicts a token must match that token's key: the unembedding itself, or what an earlier head writes."""
        ways = {"the unembedding": self._through_unembedding(head)}
        w = weights.weights
        for earlier in (Head(layer, index) for layer in range(head.layer) for index in range(w.n_heads)):
            if weights.copies(earlier, rises=True)[0].holds:
                ways[f"the output of {earlier}, which copies"] = token_composition(
                    w, earlier, head, "Q", self.material.generator, DRAWS, offset=self.material.offset
                )
        level = 1 - (1 - self.material.criteria.null_quantile) / len(ways)
        made = [self._match(name, scores, level, len(ways)) for name, scores in ways.items()]
        made.sort(key=lambda m: (not m.holds, -m.value))
        first, *rest = made
        return (first, *(replace(each, informs=True) for each in rest))

    def _match(self, name: str, scores: DiagonalScores, level: float, n: int) -> Measurement:
        value, threshold = float(scores.eigenvalue.value), max(0.0, float(scores.eigenvalue.null_quantile(level)))
        return Measurement(
            f"match of a predicted token with its own key, through {name}: eigenvalue score of the QK table",
            value,
            f"above 0 and the {self.material.criteria.null_quantile:.0%} quantile of its null, corrected for {n} ways",
            value > threshold,
            "from -1 to 1",
            nulls={scores.eigenvalue.null: threshold},
            threshold=threshold,
        )

    def _through_unembedding(self, head: Head) -> DiagonalScores:
        """W_U^T as queries (McDougall et al. 2023): depends on the basis where the model does not normalise."""
        w = self.material.weights.to(device="cpu")
        query = attention_input(w, head, w.W_U.mT) @ w.W_Q[head] @ w.rotation(self.material.offset)
        table = Factored(query, attention_side(w, head, "K", "token", biases=False).mT)
        return diagonal_scores(table, self.material.generator, DRAWS)

    def _causal(self, head: Head) -> Found:
        lowered = self._lowered(head)
        if head.layer == 0 or self.material.intact.closed:
            return (lowered,)
        return (lowered, self._by_query(head))

    def _lowered(self, head: Head) -> Measurement:
        """Removing it must raise the predicted tokens' logits."""
        entries, least = self.readings[head.layer].entries, self.material.criteria.push_margin
        found = []
        for to in ("mean", "zero"):
            raised = -logits_lost(self.material.intact, head, to)
            own = (raised * entries).sum(-1) / entries.sum(-1).clamp_min(1)
            alike = raised.tril().sum(-1) / torch.arange(1, raised.shape[-1] + 1, device=raised.device)
            eligible = entries.any(-1)
            mean = ((own - alike) * eligible).sum(-1) / eligible.sum(-1)
            found.append(self._estimate(mean.cpu()))
        estimate = min(found, key=lambda each: each.mean)
        return measured(
            "logit that predicted tokens gain beyond all keys alike when it is removed (by mean or zero, the less)",
            estimate,
            f"at least {least:g} nats, with its whole interval",
            above(estimate, least),
            "nats",
            least,
        )

    def _by_query(self, head: Head) -> Measurement:
        """Its attention to predicted tokens must hang on what earlier heads put into its query."""
        intact, share = self.material.intact, self.material.criteria.feed_drop
        earlier = [Head(layer, index) for layer in range(head.layer) for index in range(self.material.weights.n_heads)]
        before = self._on_predicted(head, {})
        lost = before - self._on_predicted(head, intact.cut(head, "Q", earlier))
        draws = resample(len(lost), self.material.generator, self.material.criteria.interval_level)
        estimate = draws.ratio(lost[:, None], before)[0]
        return measured(
            "share of that attention lost when all earlier heads leave its Q input",
            estimate,
            f"at least {share:.0%}, with its whole interval",
            above(estimate, share),
            "share",
            share,
        )

    def _on_predicted(self, head: Head, edits: dict[str, Any]) -> Float[Tensor, " n"]:
        name, entries, intact = pattern_name(head.layer), self.readings[head.layer].entries, self.material.intact
        index, eligible = head.index, entries.any(-1)

        def read(pattern: Tensor) -> Tensor:
            return mass_of_rows(pattern[:, index : index + 1], entries)[:, 0]

        if edits:
            with intervene(intact.model, edits):
                rows = record(intact.model, intact.tokens, names=name, reduce=read)[name]
        else:
            rows = read(intact.patterns[name])
        rows, eligible = rows[eligible.any(-1)], eligible[eligible.any(-1)]
        return ((rows * eligible).sum(-1) / eligible.sum(-1)).cpu().double()
