"""`interp maximise`: inputs made to drive units, beside real ones and those made for the same net untrained."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from analyses.arguments import Maximise
from analyses.output import deliver
from analyses.report.drawing import DPI
from analyses.report.driven_units import driven_page
from analyses.tables import interval, number, paragraph, table
from analyses.units.driven import TOO_FEW, Driven, drive
from analyses.units.loading import load_net
from analyses.units.naming import units_named
from analyses.units.net import Net
from interp.plots import png_bytes
from interp.plots.images import image_rows

MOST_ROWS = 24
"""Units that one figure shows; the rest are in the JSON."""


def run(arguments: Maximise) -> int:
    """Images for the named units, point by point."""
    net, folder = load_net(arguments)
    named = units_named(net, arguments.unit, whole_points=True)
    generator = torch.Generator().manual_seed(arguments.seed)
    found = [drive(net, point, units, arguments.steps, generator) for point, units in named.items()]
    files = {f"maximise-{each.name.replace('.', '-')}.png": png_bytes(figure(net, each), DPI) for each in found}
    command = " ".join(["interp maximise", str(arguments.model), *(f"--unit {name}" for name in arguments.unit)])
    page = driven_page(net, found, list(files.items()), command)
    values = {"model": net.identity, "inputs": len(net.held_out), "points": [each.to_dict() for each in found]}
    return deliver(arguments, folder, values, report(net, found), {"maximise.html": page, **files})


def figure(net: Net, found: Driven) -> Figure:
    """A row for each named unit: its image, the untrained net's, and the real examples that drive it most."""
    shown = found.chosen[:MOST_ROWS]
    inputs = net.held_out.inputs
    rows, captions = [], []
    for i in shown:
        real = [as_image(inputs[int(example)]) for example in found.strongest[i]]
        rows.append([as_image(found.trained.images[i]), as_image(found.untrained.images[i]), *real])
        captions.append(
            [
                f"{number(float(found.trained.response[i]), 2)}",
                f"{number(float(found.untrained.response[i]), 2)}",
                *(real_caption(net, found, i, rank) for rank in range(len(real))),
            ]
        )
    more = len(found.chosen) - len(shown)
    return image_rows(
        rows,
        [f"unit {found.trained.units[i]}" for i in shown],
        ["made for it", "untrained", *(f"real, no. {rank + 1}" for rank in range(len(rows[0]) - 2))],
        captions,
        limits=(float(inputs.min()), float(inputs.max())),
        title=f"What drives {found.name} of {net.name}",
        protocol="Below each image the unit's largest response to it (below the second, of the untrained net). "
        f"Gradient ascent in {found.trained.steps} steps; pixels stay in the range of real ones; of {len(inputs)} "
        "held-out examples the strongest." + (f" {more} more units: maximise.json." if more else ""),
    )


def real_caption(net: Net, found: Driven, unit: int, rank: int) -> str:
    response = number(float(found.strengths[unit, rank]), 2)
    if net.labels is None:
        return response
    return f"{response} ({net.classes[int(net.labels[int(found.strongest[unit, rank])])]})"


def as_image(values: Tensor) -> Tensor:
    """An image as it is; a vector as a strip one pixel high."""
    return values.cpu() if values.ndim == 3 else values.cpu().reshape(1, 1, -1)


def report(net: Net, found: list[Driven]) -> str:
    """Unit by unit, then all units of a point against the untrained net."""
    return "\n\n".join(
        [
            paragraph(net.description),
            *(f"{each.name}\n{unit_table(each)}\n{paragraph(difference(each), 2)}" for each in found),
            paragraph(
                f"response: the unit's largest to its image; best real: to any of {len(net.held_out)} held-out "
                "examples, at any place; ratio: of the two, and p, how often a unit of the untrained net has as large "
                "a one; own: whether of all units' images the unit's own drives it most; alike: correlation with an "
                "image begun at other noise. An untrained net exceeds its best real example too, and owns most of its "
                "images: only the difference is evidence.",
                2,
            ),
        ]
    )


def unit_table(found: Driven) -> str:
    rows = []
    for i in found.chosen:
        each, other = found.trained, found.untrained
        rows.append(
            [
                str(each.units[i]),
                *(number(float(values[i])) for values in (each.response, each.best_real)),
                number(float(each.ratio[i]), 2),
                number(found.p_value(i), 3),
                "yes" if bool(each.own[i]) else "no",
                number(float(found.alike[i]), 2),
                number(float(other.ratio[i]), 2),
                "yes" if bool(other.own[i]) else "no",
            ]
        )
    header = ["unit", "response", "best real", "ratio", "p", "own", "alike", "ratio untrained", "own untrained"]
    return table(header, rows, "rrrrrlrrl")


def difference(found: Driven) -> str:
    """Of all units that got an image, trained minus untrained."""
    if found.differences is None:
        return f"{TOO_FEW} The units are not compared with the untrained net's as a whole."
    log, own = found.differences["log ratio"], found.differences["own image"]
    return (
        f"Of {len(found.trained.units)} units, trained minus untrained, 95 % intervals over units: median log ratio "
        f"{number(log.mean)} {interval(log.low, log.high)}, share of units that own their image {number(own.mean)} "
        f"{interval(own.low, own.high)}."
    )
