"""Everything that `interp maximise` measures at one hook point: images made for units, beside three controls.

The controls: the same net untrained, real examples, and images of the same unit that were begun elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from analyses.units.net import Net
from interp.hooks import record
from interp.stats import Estimate, monte_carlo_p_value
from interp.units import Maximised, maximise_units

MOST_UNITS = 64
"""At points with more units only the named ones get an image, and share of own images is among these."""
FEWEST = 5
"""With fewer units a difference between nets has no interval that could be trusted."""
TOO_FEW = f"Fewer than {FEWEST} units of the net, or of the untrained one, got an image and respond to a real example."
REAL = 3
"""The strongest real examples that are shown."""
BATCH = 256


@dataclass(frozen=True, eq=False)
class Driven:
    """The units of one point; `chosen` are the named ones, as places in `trained.units`."""

    trained: Maximised
    untrained: Maximised
    again: Maximised
    """The trained net's images once more, from other noise."""
    chosen: tuple[int, ...]
    strongest: Int[Tensor, "unit rank"]
    """The held-out examples that drive each unit most."""
    strengths: Float[Tensor, "unit rank"]
    differences: dict[str, Estimate] | None
    """Of all these units, to the untrained net's; None where fewer than `FEWEST` of a net's respond to real ones."""

    @property
    def name(self) -> str:
        return self.trained.name

    @property
    def alike(self) -> Float[Tensor, " unit"]:
        """Correlation of each unit's two images, from different beginnings."""
        first, second = (each.images.flatten(1).double() for each in (self.trained, self.again))
        first, second = first - first.mean(1, keepdim=True), second - second.mean(1, keepdim=True)
        return (first * second).sum(1) / (first.norm(dim=1) * second.norm(dim=1))

    def p_value(self, place: int) -> float | None:
        """How often a unit of the untrained net has as large a ratio; None where one has no ratio."""
        others = self.untrained.ratio[self.untrained.ratio > 0]
        ratio = float(self.trained.ratio[place])
        return monte_carlo_p_value(ratio, others) if len(others) and ratio > 0 else None

    def to_dict(self) -> dict[str, Any]:
        differences = None if self.differences is None else {n: each.to_dict() for n, each in self.differences.items()}
        units = [
            {
                "unit": self.trained.units[i],
                "image": self.trained.images[i].tolist(),
                "image_untrained": self.untrained.images[i].tolist(),
                "alike": float(self.alike[i]),
                "p_ratio": self.p_value(i),
                "strongest_examples": self.strongest[i].tolist(),
                "their_responses": self.strengths[i].tolist(),
            }
            for i in self.chosen
        ]
        parts = {"trained": self.trained.to_dict(), "untrained": self.untrained.to_dict()}
        return {"point": self.name, **parts, "difference": differences, "units": units}


def drive(net: Net, point: str, units: Sequence[int], steps: int, generator: torch.Generator) -> Driven:
    """Images for the named units, and for all others of the point where there are not too many, in both nets.

    The pixels stay in the range of the held-out examples. All runs but the second of the trained net begin at the same
    noise.
    """
    size = net.size_of(point)
    made = tuple(range(size)) if size <= MOST_UNITS else tuple(units)
    seeds = torch.randint(2**31, (2,), generator=generator).tolist()

    def images(model: nn.Module, seed: int) -> Maximised:
        own = torch.Generator().manual_seed(seed)
        return maximise_units(model, net.held_out.inputs, point, own, units=made, steps=steps)

    trained, untrained, again = (
        images(net.model, seeds[0]),
        images(net.untrained, seeds[0]),
        images(net.model, seeds[1]),
    )
    strengths, strongest = responses(net, point)[:, list(made)].topk(min(REAL, len(net.held_out)), dim=0)
    differences = None
    if min(int((each.ratio > 0).sum()) for each in (trained, untrained)) >= FEWEST:
        differences = trained.against(untrained, generator)
    chosen = tuple(made.index(unit) for unit in units)
    return Driven(trained, untrained, again, chosen, strongest.T, strengths.T, differences)


def responses(net: Net, point: str) -> Float[Tensor, "n unit"]:
    """The largest response, over places, of each unit to each held-out example."""
    parts = []
    for batch in net.held_out.inputs.split(BATCH):
        run = record(net.model, batch, names=point)
        axes = run.axes[point]
        assert axes is not None
        value = run[point].movedim(axes.index("unit"), 1)
        parts.append(value.flatten(2).amax(2) if value.ndim > 2 else value)
    return torch.cat(parts).double().cpu()
