"""The page of `interp ablate`: the effect of removing units among that of other sets, and what else breaks."""

from collections.abc import Mapping

from analyses.report.blocks import Block, Cell, Picture, Section, Table, sentence
from analyses.report.numbers import interval, number, shown, signed
from analyses.report.page import page_of
from analyses.units.net import Net
from interp.ablation import Controls, UnitRemoval
from interp.stats import Estimate

SURE = 0.05


def removal_page(net: Net, found: UnitRemoval, pictures: Mapping[str, bytes], command: str) -> str:
    """The whole document, from the removal and its figures by file name."""
    sections = [effect(net, found, pictures)]
    if found.classes:
        sections.append(classes(net, found, pictures))
    facts = {
        "net": net.description,
        "units": ", ".join(map(str, found.units)),
        "how": found.text,
    }
    return page_of(f"Units removed from {net.name}", conclusion(net, found), facts, sections, command)


def conclusion(net: Net, found: UnitRemoval) -> str:
    """What the removal costs, and whether other sets cost as much."""
    said = f"Without these {len(found.units)} units" if len(found.units) > 1 else "Without this unit"
    said += f" the loss changes by {signed(found.loss)}"
    if found.accuracy is not None:
        said += f" and the accuracy by {signed(found.accuracy)}"
    for kind, each in (("random sets", found.random), ("sets matched in magnitude", found.matched)):
        if each is not None:
            more = "more" if each.p_loss <= SURE else "no more"
            said += f"; {more} than by {len(each)} {kind} of as many (p = {shown(each.p_loss)})"
    hit = [net.classes[each.label] for each in found.classes if each.p_any is not None and each.p_any <= SURE]
    if hit:
        said += f". Hit more than by random sets: class {', '.join(hit)}"
    return said + "."


def effect(net: Net, found: UnitRemoval, pictures: Mapping[str, bytes]) -> Section:
    """The effect, its controls, and each unit by itself."""
    blocks: list[Block] = []
    if "ablate-controls.png" in pictures:
        shown = "The effect of the named units among those of other sets."
        blocks.append(Picture("ablate-controls.png", pictures["ablate-controls.png"], shown))
    rows: list[tuple[Cell, ...]] = [
        ("intact", *two(found.intact_loss), "", *two(found.intact_accuracy), "", ""),
        ("removed minus intact", *two(found.loss), "", *two(found.accuracy), "", "1"),
    ]
    rows += [control(kind, each) for kind, each in (("random", found.random), ("matched", found.matched)) if each]
    header = ("", f"loss ({net.loss_name})", "interval", "p", "accuracy", "interval", "p", "size")
    caption = (
        "Sets: mean effect, with the 2.5 % and 97.5 % quantiles over sets; p: (1 + sets that harm at least as much) / "
        "(1 + sets). Size: how much a removal changes where it is made, as a share of the named units' (median)."
    )
    blocks.append(Table(header, tuple(rows), caption, numeric=tuple(range(1, 8))))
    if len(found.units) > 1:
        alone = tuple((str(unit), *two(each)) for unit, each in zip(found.units, found.alone, strict=True))
        blocks.append(Table(("each alone", "loss", "interval"), alone, numeric=(1, 2)))
    if found.matched is None:
        blocks.append(sentence("There are too few other units for sets matched in magnitude.", quiet=True))
    return Section(
        "effect",
        "What the units are worth",
        "How much worse the net does on held-out examples without these units, and without other sets of as many.",
        "An effect that few random sets reach, and few sets that are as large: any removal harms, and large units "
        "harm by their size.",
        tuple(blocks),
    )


def control(kind: str, sets: Controls) -> tuple[Cell, ...]:
    """A row of the table of effects."""
    cells: list[Cell] = [f"{len(sets)} {kind} sets"]
    for values, p in ((sets.losses, sets.p_loss), (sets.accuracies, sets.p_accuracy)):
        if values is None:
            cells += ["", "", ""]
        else:
            low, high = (float(values.double().quantile(q)) for q in (0.025, 0.975))
            cells += [number(float(values.mean())), interval(low, high), number(p)]
    return (*cells, number(float(sets.sizes.median())))


def classes(net: Net, found: UnitRemoval, pictures: Mapping[str, bytes]) -> Section:
    """Collateral damage."""
    rows = tuple(
        (
            net.classes[each.label],
            *two(each.loss),
            *two(each.accuracy),
            number(each.random_mean),
            number(each.random_high),
            number(each.p),
            number(each.p_any),
        )
        for each in found.classes
    )
    header = ("class", "loss", "interval", "accuracy", "interval", "random sets", "their 95 %", "p", "any class")
    shown = "The effect on the loss of each class, beside that of random sets."
    return Section(
        "classes",
        "What breaks, class by class",
        "The effect on the examples of each class: what the units serve, and what else goes with them.",
        "A class hit beyond what random sets do to it: p among the random sets, and among the hardest hit class of "
        "each, which allows for having looked at all classes.",
        (
            Picture("ablate-classes.png", pictures["ablate-classes.png"], shown),
            Table(header, rows, numeric=tuple(range(1, 9))),
        ),
    )


def two(estimate: Estimate | None) -> tuple[Cell, Cell]:
    """Value and interval; nothing where it was not measured."""
    return ("", "") if estimate is None else (number(estimate.mean), interval(estimate.low, estimate.high))
