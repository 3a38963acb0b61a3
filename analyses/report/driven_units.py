"""The page of `interp maximise`: for each point the images made for its units, and what they are worth."""

from collections.abc import Sequence

from analyses.report.blocks import Block, Caution, Cell, Picture, Section, Table, sentence
from analyses.report.numbers import interval, number, signed, whole
from analyses.report.page import page_of
from analyses.units.driven import TOO_FEW, Driven
from analyses.units.net import Net
from interp.stats import Estimate


def driven_page(net: Net, found: Sequence[Driven], pictures: Sequence[tuple[str, bytes]], command: str) -> str:
    """The whole document; `pictures` are the figures' names and contents, one for each point."""
    sections = [point(net, each, *picture) for each, picture in zip(found, pictures, strict=True)]
    facts = {
        "net": net.description,
        "examples": f"{len(net.held_out)} held out",
        "baseline": "the same net before training, from the same noise",
    }
    return page_of(f"What drives units of {net.name}", conclusion(found), facts, sections, command)


def conclusion(found: Sequence[Driven]) -> str:
    """Point by point, what training made of ratio and own images."""
    said = []
    for each in found:
        if each.differences is None:
            said.append(f"At {each.name} there are too few units to compare with those of the untrained net.")
            continue
        log, own = each.differences["log ratio"], each.differences["own image"]
        said.append(
            f"At {each.name} images exceed the best real example {compared(log)} the untrained net's do (median log "
            f"ratio {signed(log)}), and the share of units that own their image is {compared(own, SHARES)} untrained "
            f"({signed(own)})."
        )
    return " ".join(said)


AMOUNTS, SHARES = (
    ("by more than", "by less than", "by about as much as"),
    ("larger than", "smaller than", "about that of the net"),
)
"""What is said of an interval above 0, below it, and around it."""


def compared(estimate: Estimate, words: tuple[str, str, str] = AMOUNTS) -> str:
    return words[0] if estimate.low > 0 else words[1] if estimate.high < 0 else words[2]


def point(net: Net, found: Driven, file: str, png: bytes) -> Section:
    """Pictures first, then the numbers of each named unit."""
    blocks: list[Block] = [Picture(file, png, f"Images made for units of {found.name}, and real ones that drive them.")]
    blocks.append(Table(HEADER, tuple(row(found, i) for i in found.chosen), numeric=tuple(range(9))))
    if found.differences is None:
        blocks.append(Caution(TOO_FEW))
    else:
        rows = tuple(
            (what, number(each.mean), interval(each.low, each.high)) for what, each in found.differences.items()
        )
        blocks.append(
            Table(
                ("trained minus untrained", "difference", "interval"),
                rows,
                numeric=(1, 2),
                caption=f"Of {len(found.trained.units)} units: medians of log(response / best real), shares of units "
                "whose own image drives them most. 95 % intervals over units.",
            )
        )
    blocks.append(
        sentence(
            "p: (1 + units of the untrained net whose ratio is at least as large) / (1 + all of them). alike: "
            "correlation of the image with one begun at other noise; low values say that many images drive the unit.",
            quiet=True,
        )
    )
    return Section(
        found.name.replace(".", "-"),
        f"What drives {found.name}",
        f"For each unit an image made by gradient ascent ({found.trained.steps} steps, pixels within the range of real "
        f"ones), the untrained net's, and the strongest of {len(net.held_out)} held-out examples.",
        "A ratio, or a share of own images, beyond the untrained net's: that one too exceeds its best real example at "
        "almost every unit.",
        tuple(blocks),
    )


HEADER = ("unit", "response", "best real", "ratio", "p", "ratio untrained", "alike", "own", "own untrained")


def row(found: Driven, place: int) -> tuple[Cell, ...]:
    trained, untrained = found.trained, found.untrained
    return (
        whole(trained.units[place]),
        number(float(trained.response[place])),
        number(float(trained.best_real[place])),
        number(float(trained.ratio[place])),
        number(found.p_value(place)),
        number(float(untrained.ratio[place])),
        number(float(found.alike[place])),
        "yes" if bool(trained.own[place]) else "no",
        "yes" if bool(untrained.own[place]) else "no",
    )
