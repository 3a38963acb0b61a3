"""What a claim's picture needs of its rows: points, or curves thinned so that a file of results stays small."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from analyses.claims.cache import encoded
from analyses.claims.claim import Claim, Picture, Row
from interp.errors import InputError

MOST = 60
"""Points of a stored curve."""
DIGITS = 5


def drawn(claim: Claim, rows: Mapping[str, Sequence[Row]]) -> dict[str, Any] | None:
    """The picture's words, and by arm a curve `{"x": [...], "y": [...]}` or a point `{"y": ...}` for each seed.

    `InputError` where an arm that the picture names lacks an entry, or where lists differ in length.
    """
    picture = claim.picture
    if picture is None:
        return None
    arms = picture.arms or tuple(name for name in claim.arms if all(picture.y in row for row in rows[name]))
    words = {name: getattr(picture, name) for name in ("y", "y_label", "x", "x_label", "log_x", "log_y")}
    return {**words, "arms": {arm: [curve(claim.name, arm, picture, row) for row in rows[arm]] for arm in arms}}


def curve(claim: str, arm: str, picture: Picture, row: Row) -> dict[str, Any]:
    """One seed's numbers."""
    missing = [name for name in (picture.y, picture.x) if name and name not in row]
    if missing:
        raise InputError(f"claim {claim}: arm {arm} gave no {missing[0]!r} to draw, only {', '.join(row)}")
    y = row[picture.y]
    if not isinstance(y, list):
        return ({"x": rounded(row[picture.x])} if picture.x else {}) | {"y": rounded(y)}
    x = row[picture.x] if picture.x else [float(i) for i in range(1, len(y) + 1)]
    if not isinstance(x, list) or len(x) != len(y):
        raise InputError(f"claim {claim}: arm {arm} gave {len(y)} values of {picture.y!r} for other {picture.x!r}")
    kept = thinned(len(x), picture.log_x)
    return {"x": [rounded(x[i]) for i in kept], "y": [rounded(y[i]) for i in kept]}


def thinned(n: int, logarithmic: bool) -> list[int]:
    """Which of `n` points to keep: at most `MOST`, with both ends, evenly spaced (in the logarithm, if asked for)."""
    if n <= MOST:
        return list(range(n))
    if not logarithmic:
        return [round(i * (n - 1) / (MOST - 1)) for i in range(MOST)]
    return sorted({round(math.exp(i / (MOST - 1) * math.log(n))) - 1 for i in range(MOST)})


def rounded(value: Any) -> float | str:
    """To five digits."""
    return encoded(float(f"{value:.{DIGITS}g}"))
