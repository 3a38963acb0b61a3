"""`interp units`: what the units of a net do by hook point and layer, each beside the same net untrained."""

from collections import Counter

import torch

from analyses.arguments import Units
from analyses.output import deliver
from analyses.report.drawing import DPI
from analyses.report.unit_survey import survey_page
from analyses.tables import interval, number, paragraph, table
from analyses.units.figures import gradient_figure, linearity_figure, response_figure
from analyses.units.loading import load_net
from analyses.units.net import Net
from analyses.units.survey import Survey, survey
from interp.plots import png_bytes
from interp.stats import Estimate


def run(arguments: Units) -> int:
    """Responses, gradients, linearity, and what hooks do not see."""
    net, folder = load_net(arguments)
    found = survey(net, arguments.point, torch.Generator().manual_seed(arguments.seed))
    files = figures(net, found)
    page = survey_page(net, found, files, command_line(arguments))
    values = {"model": net.identity, "inputs": len(net.held_out), **found.to_dict()}
    return deliver(arguments, folder, values, report(net, found), {"units.html": page, **files})


def command_line(arguments: Units) -> str:
    """As it can be typed."""
    return " ".join(["interp units", str(arguments.model), *(f"--point {name}" for name in arguments.point)])


def figures(net: Net, found: Survey) -> dict[str, bytes]:
    made = {"responses": response_figure, "gradients": gradient_figure}
    if found.linearity:
        made["linearity"] = linearity_figure
    return {f"units-{name}.png": png_bytes(draw(net, found), DPI) for name, draw in made.items()}


def report(net: Net, found: Survey) -> str:
    """Three tables and what they mean."""
    parts = [
        paragraph(net.description),
        f"Responses on {len(net.held_out)} held-out examples; in brackets behind them, of the same net untrained.\n"
        + response_table(found),
        f"Norm of the loss's gradient ({net.loss_name}) by weights, in training mode\n" + gradient_table(found),
    ]
    if found.linearity:
        parts.append("How affine each layer is: held-out R² of the best affine map from its input\n" + linear(found))
    return "\n\n".join([*parts, legend(net, found)])


def response_table(found: Survey) -> str:
    trained, untrained = found.responses
    rows = []
    for name, each in trained.items():
        other, std = untrained[name], each.layer_std
        saturated = "n/a" if each.saturated_share is None else number(each.saturated_share, 2)
        rows.append(
            [
                name,
                str(len(each.dead)),
                f"{number(std.mean)} {interval(std.low, std.high)}",
                f"({number(other.layer_std.mean)})",
                *before_and_after(float(each.active.mean.mean()), float(other.active.mean.mean())),
                *before_and_after(each.dead_share, other.dead_share),
                saturated,
                *before_and_after(float(each.sparsity.mean()), float(other.sparsity.mean())),
            ]
        )
    header = ["point", "units", "std", "", "above 0", "", "dead", "", "saturated", "sparsity", ""]
    return table(header, rows, "lrlrrrrrrrr")


def before_and_after(trained: float, untrained: float) -> tuple[str, str]:
    return number(trained, 2), f"({number(untrained, 2)})"


def gradient_table(found: Survey) -> str:
    trained, untrained = found.gradients
    rows = []
    for place, name in enumerate(trained.names):
        rows.append([name, *(cell(norms.norms[place], 4) for norms in (trained, untrained))])
    rows.append(["first / last", *(cell(norms.first_to_last) for norms in (trained, untrained))])
    return table(["weights of", "trained", "untrained"], rows)


def linear(found: Survey) -> str:
    rows = [
        [
            each.layer.name,
            cell(each.trained.r2),
            cell(each.untrained.r2),
            cell(each.affine.r2),
            number(each.trained.shuffled.maximum),
        ]
        for each in found.linearity
    ]
    return table(["layer", "trained", "untrained", "affine part alone", "shuffled"], rows, "llllr")


def cell(estimate: Estimate, digits: int = 3) -> str:
    return f"{number(estimate.mean, digits)} {interval(estimate.low, estimate.high, digits)}"


def legend(net: Net, found: Survey) -> str:
    """What the columns mean, and what hooks do not see."""
    lines = [
        "std: root mean square of the units' standard deviations, over examples and places, with its 95 % interval. "
        "above 0: share of values. dead: share of units never above 0 on these examples, which only shows that fewer "
        f"than {number(3 / len(net.held_out), 4)} of such examples (95 %) drive them. saturated: share of values "
        "within 5 % of an end of the activation's range, where it has two. sparsity: 0 for a unit that answers to all "
        "examples alike, 1 for one that answers to a single one (Vinje and Gallant 2000).",
    ]
    if found.linearity:
        shuffles = found.linearity[0].trained.shuffled.n
        lines.append(
            f"Linearity: fitted to {found.linearity[0].trained.fitted} training examples, measured on others; affine "
            "part alone: to the layer before its activation, which is exactly affine, so that it says what few "
            f"examples cost; shuffled: the largest R² of {shuffles} runs with the examples' targets dealt anew."
        )
    lines.append(f"{seen_by_hooks(found)} units.json has every unit with its interval.")
    return "\n".join(paragraph(line, 2) for line in lines)


def seen_by_hooks(found: Survey) -> str:
    """How many operations give a value that no hook sees, by name."""
    hidden: Counter[str] = Counter()
    for each in found.unseen.computed:
        hidden[each.name] += each.times
    if not hidden:
        return "Hooks see every value that is computed."
    listed = ", ".join(f"{name} ({times})" for name, times in hidden.items())
    return f"Hooks do not see the values of {listed}: units.json says where."
