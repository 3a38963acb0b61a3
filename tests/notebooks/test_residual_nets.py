"""The notebook's script on residual nets, run with fewer training steps, and what it finds."""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
STEPS = "STEPS = 100\n"
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def story() -> SimpleNamespace:
    """Every name that the script leaves behind, after 20 steps of training, and the figures that it displayed."""
    displayed: list[bytes] = []
    module = ModuleType("IPython.display")
    module.__dict__.update(Image=lambda data, **options: displayed.append(data))
    source = (NOTEBOOKS / "residual_nets.py").read_text(encoding="utf-8")
    assert source.count(STEPS) == 1
    names: dict[str, Any] = {"__name__": "residual_nets"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "IPython.display", module)
        exec(compile(source.replace(STEPS, "STEPS = 20\n"), "residual_nets.py", "exec"), names)
    return SimpleNamespace(**names, displayed=displayed)


@pytest.mark.slow
def test_the_residual_net_learns_sooner(story):
    plain, residual = (story.looks[kind].errors[-1] for kind in ("plain", "residual"))
    assert residual < plain / 2


@pytest.mark.slow
def test_early_blocks_get_more_of_the_gradient_and_in_deep_plain_nets_far_more(story):
    ratios = {
        (depth, kind): float(norms.mean[0] / norms.mean[-1])
        for depth, found in ((20, story.gradients), (56, story.deep_gradients))
        for kind, norms in found.items()
    }
    assert min(ratios.values()) > 1
    assert ratios[20, "plain"] > ratios[20, "residual"]
    assert ratios[56, "plain"] > 20 * ratios[56, "residual"]


@pytest.mark.slow
def test_before_training_responses_have_the_std_of_gamma(story):
    assert story.at_first.tolist() == pytest.approx([1.0] * 9, abs=0.05)


@pytest.mark.slow
def test_a_late_block_can_be_bypassed_in_the_residual_net_and_none_in_the_plain_one(story):
    assert float(story.rises["residual"].high[-1]) < 10 < float(story.rises["plain"].low.min())


@pytest.mark.slow
def test_it_says_the_stored_verdict_of_every_claim_about_residual_nets(story):
    rows = {number for claim in story.claims for number in claim.numbers}
    assert rows == {*range(11, 22), 90, 100, 101}
    text = printed(NOTEBOOKS / "residual_nets.ipynb")
    for claim in story.claims:
        verdict = str(story.results[claim.name].verdict)
        assert "".join(verdict.split()) in text, claim.name


def printed(path: Path) -> str:
    """What the cells of the executed notebook print, without any space."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    return "".join("".join("".join(o["text"]).split()) for o in outputs if o["output_type"] == "stream")


@pytest.mark.slow
def test_it_shows_six_figures(story):
    assert len(story.displayed) == 6
    assert all(figure.startswith(PNG) for figure in story.displayed)
