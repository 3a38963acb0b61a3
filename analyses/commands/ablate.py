"""`interp ablate`: what breaks when units are removed, beside random and magnitude-matched sets, class by class."""

import torch
from torch import Tensor

from analyses.arguments import Ablate
from analyses.output import deliver
from analyses.report.drawing import DPI
from analyses.report.removed_units import removal_page
from analyses.tables import interval, number, paragraph, table
from analyses.units.loading import load_net
from analyses.units.naming import units_named
from analyses.units.net import Net
from interp.ablation import Controls, UnitRemoval, unit_removal
from interp.plots import png_bytes
from interp.plots.controls import among_controls, class_effects
from interp.stats import Estimate


def run(arguments: Ablate) -> int:
    """The named units together, and each alone."""
    net, folder = load_net(arguments)
    named = units_named(net, arguments.units, whole_points=True)
    generator = torch.Generator().manual_seed(arguments.seed)
    found = unit_removal(
        net.model,
        net.held_out.inputs,
        net.held_out.targets,
        named,
        generator,
        loss=net.loss,
        classes=net.labels,
        to=arguments.to,
        controls=arguments.controls,
    )
    files = figures(net, found)
    command = " ".join(["interp ablate", str(arguments.model), "--units", *arguments.units, f"--to {arguments.to}"])
    values = {"model": net.identity, "classes": list(net.classes), "removal": found.to_dict()}
    return deliver(
        arguments,
        folder,
        values,
        report(net, found),
        {"ablate.html": removal_page(net, found, files, command), **files},
    )


def figures(net: Net, found: UnitRemoval) -> dict[str, bytes]:
    """The effect among the controls', and by class."""
    label, what = f"increase in loss ({net.loss_name})", named(found)
    made = {}
    sets = controls_of(found)
    if sets:
        losses: dict[str, Tensor] = {kind: each.losses for kind, each in sets.items()}
        title = f"Removing {what} of {net.name}"
        made["ablate-controls.png"] = among_controls(found.loss, losses, title=title, label=label, protocol=found.text)
    if found.classes:
        random = [(c.random_mean, c.random_high) for c in found.classes]
        made["ablate-classes.png"] = class_effects(
            [net.classes[each.label] for each in found.classes],
            [each.loss for each in found.classes],
            [(mean, high) for mean, high in random if mean is not None and high is not None],
            title=f"By class, without {what}",
            label=label,
            protocol=f"{found.text}; 95 % intervals over inputs.",
        )
    return {name: png_bytes(figure, DPI) for name, figure in made.items()}


def named(found: UnitRemoval) -> str:
    """The units in few words."""
    words = [str(unit) for unit in found.units]
    return ", ".join(words) if len(words) <= 3 else f"{len(words)} units"


def controls_of(found: UnitRemoval) -> dict[str, Controls]:
    sets = {"random": found.random, "matched": found.matched}
    return {kind: each for kind, each in sets.items() if each is not None}


def report(net: Net, found: UnitRemoval) -> str:
    """The effect beside its controls, each unit alone, and what else breaks."""
    parts = [
        paragraph(net.description),
        paragraph(f"Removed together: {', '.join(map(str, found.units))}. On {found.text}."),
        effect_table(net, found),
    ]
    if len(found.units) > 1:
        rows = [[str(unit), cell(each)] for unit, each in zip(found.units, found.alone, strict=True)]
        parts.append("Each alone\n" + table(["unit", f"loss ({net.loss_name})"], rows))
    if found.classes:
        parts.append("By class: collateral damage\n" + class_table(net, found))
    return "\n\n".join([*parts, legend(found)])


def effect_table(net: Net, found: UnitRemoval) -> str:
    """Removed minus intact; below it what other sets do."""
    accuracy = found.accuracy is not None
    rows = [
        ["intact", cell(found.intact_loss), "", *([cell(found.intact_accuracy), ""] if accuracy else []), ""],
        ["removed minus intact", cell(found.loss), "", *([cell(found.accuracy), ""] if accuracy else []), "1"],
    ]
    for kind, each in controls_of(found).items():
        low, high = spread(each.losses)
        row = [f"{len(each)} {kind} sets", f"{number(float(each.losses.mean()))} {interval(low, high)}"]
        row.append(number(each.p_loss))
        if accuracy and each.accuracies is not None:
            row += [f"{number(float(each.accuracies.mean()))} {interval(*spread(each.accuracies))}"]
            row += [number(each.p_accuracy)]
        rows.append([*row, number(float(each.sizes.median()), 2)])
    header = ["", f"loss ({net.loss_name})", "p", *(["accuracy", "p"] if accuracy else []), "size"]
    return table(header, rows)


def spread(draws: Tensor) -> tuple[float, float]:
    """The 2.5 % and 97.5 % quantiles."""
    low, high = draws.double().quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def class_table(net: Net, found: UnitRemoval) -> str:
    rows = []
    for each in found.classes:
        row = [net.classes[each.label], cell(each.loss)]
        if found.accuracy is not None:
            row.append(cell(each.accuracy))
        rows.append([*row, number(each.random_mean), number(each.random_high), number(each.p), number(each.p_any)])
    accuracy = ["accuracy"] if found.accuracy is not None else []
    return table(["class", "loss", *accuracy, "random mean", "random 95 %", "p", "any"], rows)


def cell(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    return f"{number(estimate.mean)} {interval(estimate.low, estimate.high)}"


def legend(found: UnitRemoval) -> str:
    lines = [
        "Intervals: 95 %, over inputs. Sets: as many other units of the same points; their mean effect with the 2.5 % "
        "and 97.5 % quantiles over sets; p: (1 + sets that harm at least as much) / (1 + sets).",
    ]
    if found.matched is not None:
        lines.append(
            "matched: every unit near a named one in magnitude. size: how much a removal changes where it is made, as "
            "a share of the named units' (median over sets); where it is far below 1, no other units are as large."
        )
    else:
        lines.append("There are too few other units for sets matched in magnitude.")
    if found.classes:
        lines.append(
            "random: effect of the random sets on that class, and p among them; any: p among the random sets' hardest "
            "hit classes, which allows for having looked at all classes."
        )
    return "\n".join(paragraph(line, 2) for line in lines)
