"""What every head of a model does on random tokens: the battery of detectors, with nulls and intervals."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from interp.causality import require_causal
from interp.errors import InputError
from interp.heads.detectors import DETECTORS, PREFIX_MATCHING, Readings, read_patterns
from interp.heads.evaluators import copying_samples
from interp.heads.matching import highest_mean_entry
from interp.heads.scores import HeadScores, head_scores
from interp.heads.stimuli import (
    OLSSON_PERIOD,
    SMALL_PERIOD,
    Control,
    Protocol,
    drawable,
    fresh_control,
    olsson_protocol,
    other_periods,
    predictable_positions,
    random_tokens,
    repeated_tokens,
)
from interp.inputs import checked
from interp.weights import TransformerWeights, weights_of
from interp.weights.shape import ModelShape, shape_of

FRESH, SHUFFLED, EVEN = "fresh tokens", "shuffled pattern", "even attention"


@dataclass(frozen=True, eq=False)
class HeadBattery:
    """All scores by name; prefix matching also by period, the first of which is that of `protocol`."""

    scores: dict[str, HeadScores]
    by_period: dict[int, HeadScores]
    protocol: Protocol
    tokens: Int[Tensor, "batch pos"] = field(repr=False)
    """The repeated tokens on which most scores were measured."""
    predictable: Bool[Tensor, "batch pos"] = field(repr=False)
    """Which of them can be told from the tokens before by looking for an earlier copy (for ablation)."""

    def __getitem__(self, name: str) -> HeadScores:
        if name not in self.scores:
            raise InputError(f"there is no score {name!r}; there are {', '.join(self.scores)}")
        return self.scores[name]

    def to_dict(self) -> dict[str, Any]:
        return {
            "protocol": self.protocol.text,
            "scores": {name: scores.to_dict() for name, scores in self.scores.items()},
            "prefix_matching_by_period": {str(p): scores.to_dict() for p, scores in self.by_period.items()},
        }


@checked
def measure_heads(
    model: nn.Module,
    generator: torch.Generator,
    *,
    bos: int | None = None,
    excluded: tuple[int, ...] = (),
    n: int = 32,
    level: float = 0.95,
    weights: TransformerWeights | None = None,
    periods: int | None = None,
) -> HeadBattery:
    """Every detector on every head, on Olsson et al.'s protocol or the largest like it that fits the model.

    `bos`: the token that begins sequences, if the model was trained with one; `excluded`: tokens that are never
    drawn; `n`: sequences for each protocol. All from `generator`, which is on the CPU. `weights` (folded) saves reading
    the model's again; `periods`: at most so many besides the protocol's own, all there are if left out.

    Nulls of detectors that follow tokens: the same (dest, src) entries on the same sequences without the repetition
    ("fresh tokens", see `stimuli.fresh_control`), and each row's weights permuted over the keys it may see ("shuffled
    pattern", exact). Detectors of places have the second only: what they read on fresh tokens is in `also`, since a
    true previous-token head keeps its score there.

    Raises `InputError` for a model without attention layers, or a vocabulary or context too small to repeat anything.
    """
    require_causal(model, "a detector of heads that look back")
    shape = shape_of(model)
    protocol = olsson_protocol(shape.d_vocab, shape.n_ctx, bos, excluded)
    tokens = repeated_tokens(protocol, n, generator)
    control = fresh_control(tokens, protocol, generator)
    scores = _compared(model, tokens, control, tuple(DETECTORS), shape, _text(protocol, n), generator, level)
    w = weights_of(model) if weights is None else weights
    scores |= _copying(model, w, tokens, protocol, generator, level)
    by_period, others = {protocol.period: scores[PREFIX_MATCHING.name]}, other_periods(protocol, shape.n_ctx)[:periods]
    by_period |= prefix_matching_by_period(model, others, generator, n=n, level=level)
    return HeadBattery(scores, by_period, protocol, tokens, predictable_positions(protocol, n))


def prefix_matching_by_period(
    model: nn.Module,
    protocols: Iterable[Protocol],
    generator: torch.Generator,
    *,
    n: int = 32,
    level: float = 0.95,
) -> dict[int, HeadScores]:
    """Prefix matching at several periods: a head that looks a fixed distance back scores at one of them only."""
    require_causal(model, "a detector of heads that look back")
    shape, found = shape_of(model), {}
    for protocol in protocols:
        tokens = repeated_tokens(protocol, n, generator)
        control = fresh_control(tokens, protocol, generator)
        names, text = (PREFIX_MATCHING.name,), _text(protocol, n)
        scores = _compared(model, tokens, control, names, shape, text, generator, level)
        found[protocol.period] = scores[PREFIX_MATCHING.name]
    return found


@checked
def score_heads(
    model: nn.Module,
    tokens: Int[Tensor, "batch pos"],
    generator: torch.Generator,
    detectors: Iterable[str] | None = None,
    *,
    text: str = "the given tokens",
    level: float = 0.95,
) -> dict[str, HeadScores]:
    """The detectors on given tokens, such as real text; the only null is the shuffled pattern.

    Sequences in which a detector finds no eligible query are left out of its score.
    """
    require_causal(model, "a detector of heads that look back")
    names = tuple(DETECTORS) if detectors is None else tuple(detectors)
    if unknown := [name for name in names if name not in DETECTORS]:
        raise InputError(f"there is no detector {unknown[0]!r}; there are {', '.join(DETECTORS)}")
    return _compared(model, tokens, None, names, shape_of(model), f"{len(tokens)} sequences: {text}", generator, level)


def _text(protocol: Protocol, n: int) -> str:
    return f"{n} sequences: {protocol.text}"


def _compared(
    model: nn.Module,
    tokens: Tensor,
    control: Control | None,
    names: tuple[str, ...],
    shape: ModelShape,
    text: str,
    generator: torch.Generator,
    level: float,
) -> dict[str, HeadScores]:
    """The named detectors and the entropy on `tokens`, beside the same entries on the control."""
    device = next(model.parameters()).device
    entries = {name: DETECTORS[name].entries(tokens) for name in names}
    found = _read(model, tokens, entries, shape, device)
    fresh: dict[str, Tensor] = {}
    if control is not None:
        moved = {name: control.entries(mask) for name, mask in entries.items()}
        on_control = _read(model, control.tokens, moved, shape, device)
        fresh = {name: r.score.unflatten(0, (-1, control.copies)).nanmean(1) for name, r in on_control.items()}
        text = f"{text}; fresh tokens: {control.text}"
    made = {}
    for name in names:
        detector, comparison = DETECTORS[name], {FRESH: fresh[name]} if fresh else {}
        follows = detector.follows_tokens
        made[name] = head_scores(
            name,
            detector.description,
            found[name].score,
            generator,
            protocol=text,
            maximum=highest_mean_entry(entries[name]) if detector.reduction == "mean entry" else 1.0,
            nulls={**(comparison if follows else {}), SHUFFLED: found[name].shuffled},
            also={} if follows else comparison,
            level=level,
        )
    made["entropy"] = _entropy(found["entropy"], fresh, generator, text, level)
    return made


def _read(
    model: nn.Module, tokens: Tensor, entries: dict[str, Tensor], shape: ModelShape, device: torch.device
) -> dict[str, Readings]:
    moved = {name: mask.to(device) for name, mask in entries.items()}
    return read_patterns(model, tokens.to(device), moved, shape.n_layers, shape.n_heads)


def _entropy(
    found: Readings, fresh: dict[str, Tensor], generator: torch.Generator, text: str, level: float
) -> HeadScores:
    return head_scores(
        "entropy",
        "-sum_j A_ij ln A_ij, averaged over queries i >= 1; its maximum is that of even attention",
        found.score,
        generator,
        protocol=text,
        unit="nats",
        maximum=float(found.shuffled.mean()),
        nulls={EVEN: found.shuffled},
        also={FRESH: fresh["entropy"]} if fresh else {},
        level=level,
    )


def _copying(
    model: nn.Module,
    w: TransformerWeights,
    repeated: Tensor,
    protocol: Protocol,
    generator: torch.Generator,
    level: float,
) -> dict[str, HeadScores]:
    """Olsson et al.'s evaluator as published, and at the later copies of repeated tokens."""
    device, n = next(model.parameters()).device, len(repeated)
    symbols = drawable(protocol.d_vocab, protocol.bos, protocol.excluded)
    length = min(OLSSON_PERIOD, w.n_ctx, max(len(symbols), SMALL_PERIOD))
    tokens = random_tokens(n, length, symbols, generator)
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    later = (torch.arange(protocol.length) >= protocol.start + protocol.period).repeat(n, 1)
    aside = "(Olsson et al. 2022)" if length == OLSSON_PERIOD else "(Olsson et al. 2022 have 25)"
    where = {
        "copying": (tokens, everywhere, f"{n} sequences: {length} random tokens {aside}, not repeated, no BOS"),
        "copying_on_repeats": (repeated, later, f"{_text(protocol, n)}; queries in later copies only"),
    }
    made = {}
    said = {
        "copying": "on random tokens that do not repeat",
        "copying_on_repeats": "at the later copies of repeated tokens, where an induction head has something to copy",
    }
    for name, (stimuli, queries, text) in where.items():
        samples, shuffled = copying_samples(model, w, stimuli.to(device), queries.to(device))
        made[name] = head_scores(
            name,
            "2 sum(a)/sum(s) - 1: of what the head adds to the logits of the sequence's tokens, the part on the tokens "
            f"it attends to ({said[name]}); -1 if it never raises them",
            samples,
            generator,
            protocol=text,
            unit="from -1 to 1",
            nulls={SHUFFLED: shuffled},
            level=level,
        )
    return made
