"""From the words of a command line to units: NAME:K, NAME:K,K, NAME:K-K, and NAME for all of a point."""

import re

from analyses.units.net import Net
from toy_models.errors import InputError

SPEC = re.compile(r"(?P<name>[^:]+)(?::(?P<units>\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*))?")


def units_named(net: Net, words: tuple[str, ...], whole_points: bool) -> dict[str, list[int]]:
    """By hook point the indices that the words name, each once and in order.

    Raises `InputError` for a word that cannot be read, a point that is not there (naming the nearest) or has no units,
    a unit that is not there, and a whole point unless `whole_points`.
    """
    found: dict[str, set[int]] = {}
    for word in words:
        match = SPEC.fullmatch(word)
        if match is None or (match["units"] is None and not whole_points):
            raise InputError(f"a unit is named as NAME:K, as in blocks.0.layer.hook_post:3, got {word!r}")
        points = net.points((match["name"],))
        if len(points) != 1:
            raise InputError(f"{match['name']} means {len(points)} points ({points[0]}, {points[1]} ...): name one")
        size = net.size_of(points[0])
        chosen = range(size) if match["units"] is None else indices(match["units"], points[0], size)
        found.setdefault(points[0], set()).update(chosen)
    return {point: sorted(units) for point, units in found.items()}


def indices(text: str, point: str, size: int) -> list[int]:
    """ "3,5-7" -> [3, 5, 6, 7]."""
    found: list[int] = []
    for part in text.split(","):
        start, _, end = part.partition("-")
        first, last = int(start), int(end or start)
        if first > last:
            raise InputError(f"{part} counts down: write the smaller unit first")
        if last >= size:
            raise InputError(f"{point} has units 0 to {size - 1}, there is no unit {last}")
        found += range(first, last + 1)
    return found
