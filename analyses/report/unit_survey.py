"""The page of `interp units`: responses, gradients and linearity of a net, and what hooks do not see of it."""

from collections.abc import Mapping

from analyses.report.blocks import Block, Cell, Picture, Section, Table, sentence
from analyses.report.numbers import interval, number, whole
from analyses.report.page import page_of
from analyses.units.figures import after_activations
from analyses.units.net import Net
from analyses.units.survey import Survey
from interp.stats import Estimate
from interp.units import Responses

MOST_ROWS = 30
"""Longer tables are folded away."""


def survey_page(net: Net, found: Survey, pictures: Mapping[str, bytes], command: str) -> str:
    """The whole document, from the survey and its figures by file name."""
    sections = [responses(net, found, pictures), gradients(net, found, pictures)]
    if found.linearity:
        sections.append(linearity(found, pictures))
    sections.append(unseen(found))
    return page_of(f"Units of {net.name}", conclusion(found), facts(net), sections, command)


def conclusion(found: Survey) -> str:
    """How many units are dead, where the most, and how linear the least linear layer is."""
    trained, untrained = found.responses
    posts = after_activations(found)
    dead, before = (sum(int(each[name].dead.sum()) for name in posts) for each in (trained, untrained))
    n = sum(len(trained[name].dead) for name in posts)
    verb = "is" if dead == 1 else "are"
    said = f"{dead} of {n} units {verb} dead after their activation on these examples ({before} untrained)."
    if found.linearity:
        least = min(found.linearity, key=lambda each: each.trained.r2.mean)
        said += (
            f" The least linear layer, {least.layer.name}, is affine to {least.trained.r2.mean:.2f} "
            f"(untrained {least.untrained.r2.mean:.2f}, its affine part alone {least.affine.r2.mean:.2f})."
        )
    return said


def facts(net: Net) -> dict[str, str]:
    """What identifies the net and its examples."""
    return {
        "net": net.description,
        "examples": f"{len(net.held_out)} held out, {len(net.training)} trained on",
        "baseline": "the same net before training; where it normalises by batch statistics, with those of training "
        "examples",
    }


def responses(net: Net, found: Survey, pictures: Mapping[str, bytes]) -> Section:
    """A table of points, and one of units for each point after an activation."""
    trained, untrained = found.responses
    rows = tuple(
        (
            name,
            whole(len(each.dead)),
            *estimated(each.layer_std),
            number(untrained[name].layer_std.mean),
            number(float(each.active.mean.mean())),
            number(float(untrained[name].active.mean.mean())),
            number(each.dead_share),
            number(untrained[name].dead_share),
            number(each.saturated_share),
            number(float(each.sparsity.mean())),
            number(float(untrained[name].sparsity.mean())),
        )
        for name, each in trained.items()
    )
    header = ("point", "units", "std", "interval", "untrained", "above 0", "untrained", "dead", "untrained")
    table = Table(
        (*header, "saturated", "sparsity", "untrained"),
        rows,
        numeric=tuple(range(1, 12)),
        caption="One row per hook point; of all units together.",
        summary=f"All {len(rows)} hook points" if len(rows) > MOST_ROWS else "",
    )
    return Section(
        "responses",
        "What units do",
        f"How strongly, how often and how evenly units respond to {len(net.held_out)} held-out examples.",
        "A difference to the untrained net beyond the intervals. A unit is dead if no example drives it above 0, which "
        f"only shows that fewer than {3 / len(net.held_out):.2g} of such examples (95 %) do.",
        (
            picture("units-responses.png", pictures, "Standard deviation, activity, dead units and sparsity by point."),
            table,
            *(unit_table(name, trained[name], untrained[name]) for name in after_activations(found)),
        ),
    )


def unit_table(name: str, trained: Responses, untrained: Responses) -> Block:
    """Every unit of a point, folded away."""
    rows = tuple(
        (
            whole(unit),
            *estimated(trained.mean[unit]),
            *estimated(trained.std[unit]),
            number(float(untrained.std.mean[unit])),
            *estimated(trained.active[unit]),
            number(float(trained.sparsity[unit])),
            "dead" if bool(trained.dead[unit]) else "",
        )
        for unit in range(len(trained.dead))
    )
    header = ("unit", "mean", "interval", "std", "interval", "std untrained", "above 0", "interval", "sparsity", "")
    return Table(header, rows, numeric=tuple(range(9)), summary=f"All {len(rows)} units of {name}")


def gradients(net: Net, found: Survey, pictures: Mapping[str, bytes]) -> Section:
    """Norms by module."""
    trained, untrained = found.gradients
    rows: list[tuple[Cell, ...]] = [
        (name, *estimated(trained.norms[i]), *estimated(untrained.norms[i]), *estimated(trained.relative[i]))
        for i, name in enumerate(trained.names)
    ]
    rows.append(("first / last", *estimated(trained.first_to_last), *estimated(untrained.first_to_last), "", ""))
    header = ("weights of", "norm", "interval", "untrained", "interval", "norm / weights' norm", "interval")
    return Section(
        "gradients",
        "How large the gradient is",
        f"The Euclidean norm of the gradient of the loss ({net.loss_name}) that reaches each layer's weights, in "
        f"training mode, over minibatches of {trained.batch_size} training examples.",
        "A norm that falls or grows layer by layer in the untrained net; after training gradients are small where the "
        "loss is.",
        (
            picture("units-gradients.png", pictures, "Norm of the gradient by layer, trained and untrained."),
            Table(header, tuple(rows), numeric=tuple(range(1, 7))),
        ),
    )


def linearity(found: Survey, pictures: Mapping[str, bytes]) -> Section:
    """R² by layer with its ceiling and its null."""
    rows = tuple(
        (
            each.layer.name,
            each.layer.source or "input",
            each.layer.target,
            *estimated(each.trained.r2),
            *estimated(each.untrained.r2),
            number(each.affine.r2.mean),
            number(each.trained.shuffled.maximum),
        )
        for each in found.linearity
    )
    header = ("layer", "from", "to", "R²", "interval", "untrained", "interval", "affine part", "shuffled (largest)")
    first = found.linearity[0].trained
    return Section(
        "linearity",
        "How linear each layer is",
        "How much of what a layer gives an affine map of what it reads gives too, on examples it was not fitted to.",
        "An R² below that of the layer's affine part alone (to before its activation), which only few examples lower.",
        (
            picture("units-linearity.png", pictures, "Held-out R² of the best affine map, by layer."),
            Table(header, rows, numeric=tuple(range(3, 9))),
            sentence(
                f"Fitted to {first.fitted} training examples with a ridge chosen by leave-one-out, measured on as many "
                f"others; shuffled: each example with another's target, {first.shuffled.n} times.",
                quiet=True,
            ),
        ),
    )


def unseen(found: Survey) -> Section:
    """What no hook reaches."""
    hidden = found.unseen
    rows = tuple(
        (each.module or "the net itself", each.name, " x ".join(map(str, each.shape)), whole(each.times))
        for each in hidden.computed
    )
    blocks: list[Block] = [
        sentence(
            f"{hidden.seen} operations give a value that some module gives out, {len(hidden.unseen)} do not, of which "
            f"{len(rows)} compute something new. Written in place: {len(hidden.in_place)}. Modules that run more than "
            f"once: {', '.join(hidden.reused) or 'none'}."
        )
    ]
    if rows:
        blocks.append(Table(("in", "operation", "shape of its value", "times"), rows, numeric=(3,)))
    return Section(
        "unseen",
        "What hooks do not see",
        "Values that are computed between modules, and so can be neither recorded nor replaced.",
        "An operation listed here; what passes a hook point or leaves a module is seen.",
        tuple(blocks),
    )


def estimated(estimate: Estimate) -> tuple[Cell, Cell]:
    """Value and interval in two columns."""
    return number(estimate.mean), interval(estimate.low, estimate.high)


def picture(file: str, pictures: Mapping[str, bytes], description: str) -> Picture:
    return Picture(file, pictures[file], description)
