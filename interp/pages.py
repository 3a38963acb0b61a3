"""Interactive HTML that works offline: CircuitsVis' plots, its library once per page, nothing from the network.

`page` makes a whole document of the parts that these functions return, `notebook_html` a notebook cell's output.
The plots stand in the document as inert JSON, and one short script at the end draws them all.
"""

import base64
import html
import json
from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from interp.documents import Part, notebook_html, page
from interp.errors import InputError
from interp.labels import inert, left_to_right, visible

__all__ = ["Part", "attention_heads", "attention_patterns", "colored_tokens", "notebook_html", "page", "picture"]

POSITIVE, NEGATIVE = "#2166ac", "#b2182b"  # the ends of RdBu, as in the static figures
LONGEST_TOKEN = 24
MOST_ENTRIES = 60_000  # 0.5 MB of JSON; 4 s of processor time to draw, 1 s to change the head shown large


def attention_heads(
    pattern: Float[Tensor, "head dest src"],
    tokens: Sequence[str],
    head_names: Sequence[str],
    *,
    maximum: float | int | None = None,
    columns: int = 8,
    caption: str = "",
) -> Part:
    """A thumbnail per head; the one under the mouse is shown large, and hovering an entry of it gives its value.

    Blue is positive, red negative, white 0, grey where a causal head cannot look (above the diagonal, where
    every entry is 0; a pattern that is not causal has no grey).

    Args:
        pattern: attention [head dest src], or any other value per pair of positions; written with 4 decimals.
        tokens: the text of each position.
        head_names: one per head, such as `L1H3`.
        maximum: the value drawn darkest; by default 1 for an attention pattern, else the largest magnitude.
        columns: thumbnails in a row; the heads of a layer, for one row a layer.
        caption: a line of plain text above the plot.

    Raises:
        InputError: sizes differ, a value is not finite, or there are more than 60,000 entries.
    """
    _check(pattern, tokens, head_names)
    causal = not bool(pattern.triu(1).any())
    if maximum is None:
        maximum = 1.0 if _is_attention(pattern) else float(pattern.abs().max()) or 1.0
    properties = {
        "attention": _rounded(pattern),
        "attentionHeadNames": list(head_names),
        "tokens": [left_to_right(visible(token, LONGEST_TOKEN)) for token in tokens],
        "minValue": -maximum,
        "maxValue": maximum,
        "positiveColor": POSITIVE,
        "negativeColor": NEGATIVE,
        "maskUpperTri": causal,
    }
    return _interactive("AttentionHeads", properties, caption, columns)


def attention_patterns(
    pattern: Float[Tensor, "head dest src"],
    tokens: Sequence[str],
    head_names: Sequence[str],
    *,
    columns: int = 4,
    caption: str = "",
) -> Part:
    """All heads overlaid, a colour each, with the text below: hovering a token shows where it looks.

    Args:
        pattern: attention [head dest src], each value from 0 to 1.
        tokens: the text of each position.
        head_names: one per head, such as `L1H3`.
        columns: thumbnails in a row; the heads of a layer, for one row a layer.
        caption: a line of plain text above the plot.

    Raises:
        InputError: sizes differ, a value is not from 0 to 1, or there are more than 60,000 entries.
    """
    _check(pattern, tokens, head_names)
    if not _is_attention(pattern):
        low, high = float(pattern.min()), float(pattern.max())
        raise InputError(f"attention must lie from 0 to 1, got {low:.4g} to {high:.4g}; try attention_heads")
    properties = {
        "attention": _rounded(pattern),
        "headLabels": list(head_names),
        "tokens": [inert(visible(token, LONGEST_TOKEN)) for token in tokens],
    }
    return _interactive("AttentionPatterns", properties, caption, columns)


def colored_tokens(
    tokens: Sequence[str],
    values: Float[Tensor, " pos"],
    *,
    maximum: float | int | None = None,
    caption: str = "",
) -> Part:
    """Text with a value behind each token: blue positive, red negative, white 0; hovering a token gives its value.

    Args:
        tokens: the text of each position; a line ends after a token that holds a newline.
        values: one per token, in any unit; written with 4 decimals.
        maximum: the magnitude drawn darkest, by default the largest there is.
        caption: a line of plain text above the tokens.

    Raises:
        InputError: lengths differ, there is no token, or a value is not finite.
    """
    if len(tokens) != len(values) or not len(tokens):
        raise InputError(f"colored_tokens needs one value per token, got {len(tokens)} tokens, {len(values)} values")
    _check_finite(values)
    maximum = maximum or float(values.abs().max()) or 1.0
    properties = {
        "tokens": [inert(visible(token, LONGEST_TOKEN)) + "\n" * ("\n" in token) for token in tokens],
        "values": _rounded(values),
        "minValue": -maximum,
        "maxValue": maximum,
        "positiveColor": POSITIVE,
        "negativeColor": NEGATIVE,
    }
    return _interactive("ColoredTokens", properties, caption)


def picture(png: bytes, description: str, *, caption: str = "") -> Part:
    """A PNG held in the page itself; `description` is read out where it cannot be seen."""
    source = "data:image/png;base64," + base64.b64encode(png).decode("ascii")
    image = f'<img alt="{html.escape(description)}" src="{source}">'
    return Part(f'<figure class="part">{_figcaption(caption)}{image}</figure>')


def _interactive(component: str, properties: dict[str, Any], caption: str, columns: int = 8) -> Part:
    inside = f'<div></div><script type="application/json">{_json(properties)}</script>'
    plot = f'<div class="interactive {component}" style="--columns: {columns}">{inside}</div>'
    without = "<noscript><p>This plot needs JavaScript.</p></noscript>"
    return Part(f'<figure class="part">{_figcaption(caption)}{plot}{without}</figure>', needs_library=True)


def _figcaption(caption: str) -> str:
    return f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""


def _json(value: Any) -> str:
    """JSON in ASCII without `<`, `>` and `&`: nothing in it can end a script element or start a comment."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _rounded(values: Tensor) -> Any:
    """Nested lists of numbers with at most 4 decimals, whole ones as integers (`0`, not `0.0` nor `-0.0`)."""
    rounded = values.detach().cpu().double().mul(1e4).round()

    def shorten(node: Any) -> Any:
        if isinstance(node, list):
            return [shorten(child) for child in node]
        return int(node / 1e4) if node % 1e4 == 0 else node / 1e4

    return shorten(rounded.tolist())


def _check(pattern: Tensor, tokens: Sequence[str], head_names: Sequence[str]) -> None:
    heads, dest, src = pattern.shape
    if not dest == src == len(tokens) or not tokens:
        raise InputError(f"one token per position is needed, got {len(tokens)} tokens for {dest} x {src} positions")
    if heads != len(head_names) or not heads:
        raise InputError(f"one name per head is needed, got {len(head_names)} names for {heads} heads")
    if pattern.numel() > MOST_ENTRIES:
        most = int((MOST_ENTRIES / heads) ** 0.5)
        raise InputError(
            f"{heads} heads x {dest} x {src} positions are too many to draw in a browser (limit {MOST_ENTRIES:,} "
            f"entries): choose fewer heads, or at most {most} positions"
        )
    _check_finite(pattern)


def _check_finite(values: Tensor) -> None:
    if not bool(values.isfinite().all()):
        raise InputError(f"every value must be finite, got {int((~values.isfinite()).sum())} that are nan or infinite")


def _is_attention(pattern: Tensor) -> bool:
    return float(pattern.min()) >= 0 and float(pattern.max()) <= 1 + 1e-4
