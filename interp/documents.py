"""A whole HTML document of parts that asks nothing of the network, and the same as a notebook cell's output."""

import base64
import gzip
import hashlib
import html
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from interp.errors import InputError
from interp.labels import legible

STYLE = """\
body { max-width: 1000px; margin: 2em auto; padding: 0 20px; background: white; color: #222;
  font: 15px/1.5 "Helvetica Neue", Helvetica, Arial, "DejaVu Sans", sans-serif; }
h1, h2, h3, h4 { line-height: 1.25; }
figure.part { margin: 1.5em 0; }
figure.part img { max-width: 100%; }
figure.part > figcaption { margin-bottom: .5em; color: #555; }
.interactive { --columns: 8; max-width: 860px; overflow-wrap: anywhere; }
.interactive h3 { font-size: 15px; }
.interactive h4 { font-size: 12px; font-weight: 600; line-height: 1.2; }
.AttentionPatterns h4 { font-size: 15px; margin: .6em 0; }
.AttentionHeads > div > div { padding: 0 !important; max-width: none !important; }
.AttentionHeads > div > div > h3 + div { margin: 0 0 15px !important; max-width: calc(104px * var(--columns)); }
.AttentionHeads > div > div > h3 + div > div { flex: 0 0 104px !important; max-width: 104px !important; }
.AttentionHeads h2 { font-size: 16px; }
.AttentionHeads h2 + div > div > div { width: 100% !important; }
.AttentionHeads h4 { padding: 1px 3px !important; }
.AttentionPatterns > div > div > div:first-child > div:first-child canvas { width: 360px !important; }
.AttentionPatterns h4 + div { max-width: calc(97px * var(--columns)); }
.AttentionPatterns figcaption { font-size: 12px; text-align: center; }
.AttentionPatterns .tokens button { min-width: 1.6em; padding: 3px 4px !important; font: inherit; }
.ColoredTokens .colored-tokens { line-height: 1.9; }
.ColoredTokens .colored-tokens > span > span { min-width: .6em; padding: 3px 2px !important; text-align: center; }
"""

_DRAW = """\
"use strict";
{
  // TensorFlow.js, which CircuitsVis brings along, would open WebGL contexts to multiply a few small matrices.
  if (globalThis._tfengine) globalThis._tfengine.setBackend("cpu");
  document.querySelectorAll(".interactive").forEach((part, index) => {
    const place = part.querySelector("div"), plot = JSON.parse(part.querySelector("script").textContent);
    place.id = `plot-${index}`;
    CircuitsVis.render(place.id, CircuitsVis[part.classList[1]], plot);
  });
}
"""

_UNPACK = """\
"use strict";
new ResizeObserver(() => {
  if (frameElement) frameElement.style.height = `${document.body.offsetHeight}px`;
}).observe(document.body);
(async () => {
  const packed = atob(document.getElementById("library").textContent);
  const bytes = Uint8Array.from(packed, (character) => character.charCodeAt(0));
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  for (const text of [await new Response(unpacked).text(), document.getElementById("draw").textContent]) {
    const script = document.createElement("script");
    script.textContent = text;
    document.head.append(script);
  }
})();
"""


@dataclass(frozen=True)
class Part:
    """A piece of a page.

    Attributes:
        html: what stands in the body; inert, it holds no running script.
        needs_library: whether the page must bring CircuitsVis along (`page` and `notebook_html` do).
    """

    html: str
    needs_library: bool = False


def page(title: str, parts: Sequence[Part], *, style: str = STYLE) -> str:
    """A whole HTML document that asks nothing of the network, 1.3 MB plus its parts where one is interactive.

    Its content security policy forbids every request, and every script except the two that it names by hash:
    also where a part's own HTML were wrong, no text in it could run.

    Args:
        title: plain text, the document's title and first heading; characters without a shape are escaped.
        parts: what stands below, in this order.
        style: CSS for the whole page.
    """
    scripts = (_library(), _DRAW) if any(part.needs_library for part in parts) else ()
    title = legible(title)
    heading = f"<h1>{html.escape(title)}</h1>"
    body = "\n".join([heading, *(part.html for part in parts), *(f"<script>{script}</script>" for script in scripts)])
    return _document(title, style, body, scripts)


def notebook_html(*parts: Part) -> str:
    """Parts as the output of one notebook cell: `IPython.display.HTML(notebook_html(part))`.

    They stand in a frame of their own, so that neither the notebook's style nor another cell's reaches them, and
    need neither a network nor any other cell. The library is packed: 0.5 MB a call, plus the parts themselves.
    Notebook viewers that run no scripts (GitHub's) show nothing; put a static figure beside it.
    """
    body = "\n".join(part.html for part in parts)
    scripts: tuple[str, ...] = ()
    if any(part.needs_library for part in parts):
        scripts = (_UNPACK, _library(), _DRAW)
        packed = base64.b64encode(gzip.compress(_library().encode(), mtime=0)).decode("ascii")
        body += f'\n<script type="text/plain" id="library">{packed}</script>'
        body += f'\n<script type="text/plain" id="draw">{_DRAW}</script>\n<script>{_UNPACK}</script>'
    style = STYLE + "body { margin: 0 auto; padding: 1px 10px 70px; }\n"
    document = html.escape(_document("", style, body, scripts))
    frame = "width: 100%; height: 700px; border: 0; background: white"
    return f'<div><iframe style="{frame}" srcdoc="{document}"></iframe></div>'


def _document(title: str, style: str, body: str, scripts: Sequence[str]) -> str:
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    policy = f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:"
    document = (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}; base-uri 'none'; form-action 'none'\">\n"
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
    return document.encode("utf-8", "backslashreplace").decode()  # an unpaired surrogate cannot be written to a file


def _library() -> str:
    """CircuitsVis' script, made fit to stand in a page; the package itself is slow to import and not needed."""
    found = importlib.util.find_spec("circuitsvis")
    if found is None or not found.submodule_search_locations:
        raise InputError("interactive pages need circuitsvis, which is not installed: pip install circuitsvis")
    path = Path(found.submodule_search_locations[0]) / "dist" / "cdn" / "iife.js"
    if not path.is_file():
        raise InputError(f"circuitsvis is installed without its script {path}: reinstall it")
    code = path.read_text(encoding="utf-8").split("\n//# sourceMappingURL=")[0]
    return code.replace("</script", "<\\/script").replace("<!--", "\\x3c!--")
