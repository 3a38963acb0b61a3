"""Numbers as a reader takes them in: two or three digits, a true minus sign, "n/a" where there is none."""

import math

from analyses.report.blocks import Interval, Value
from interp.stats import Estimate

MISSING = "n/a"


def shown(value: float | int | None) -> str:
    """Three digits from 0.1 on, two below; thousands with commas, tiny ones as 4.1e−05."""
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if size == 0:
        text = "0"
    elif size < 5e-5:
        text = f"{value:.1e}"
    elif size < 0.1:
        text = f"{value:.{1 - math.floor(math.log10(size))}f}"
    elif size < 999.5:
        text = f"{value:#.3g}".rstrip(".")
    else:
        text = f"{value:,.0f}"
    return text.replace("-", "−")


def number(value: float | int | None) -> Value | str:
    """A number for the page; "n/a" where there is none."""
    text = shown(value)
    return text if value is None or text == MISSING else Value(float(value), text)


def whole(value: int) -> Value:
    """A count."""
    return Value(float(value), f"{value:,}")


def interval(low: float | None, high: float | None) -> Interval | str:
    """Both ends; nothing where there is no interval."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    return Interval(Value(float(low), shown(low)), Value(float(high), shown(high)))


def signed(estimate: Estimate) -> str:
    """A value with its sign, as +0.12 [−0.02, 0.26], in plain text."""
    plus = "+" if estimate.mean > 0 else ""
    return f"{plus}{shown(estimate.mean)} [{shown(estimate.low)}, {shown(estimate.high)}]"
