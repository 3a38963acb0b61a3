"""The notebook's script, run with fewer training steps, and what it finds; the notebook that was built from it."""

import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from interp.names import Head

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
BUILT = sorted(path.stem for path in NOTEBOOKS.glob("*.py"))
STEPS = "STEPS = 500\n"
PNG = b"\x89PNG\r\n\x1a\n"


class Shown:
    """Stands in for a class of IPython.display: keeps what it is given."""

    def __init__(self, data: str | bytes, **options: Any):
        self.data, self.options = data, options


@pytest.fixture(scope="module")
def story() -> SimpleNamespace:
    """Every name that the script leaves behind, after 400 steps of training, and what its cells displayed."""
    displayed: list[Shown] = []

    class Displayed(Shown):
        def __init__(self, data: str | bytes, **options: Any):
            super().__init__(data, **options)
            displayed.append(self)

    module = ModuleType("IPython.display")
    module.__dict__.update(HTML=Displayed, Image=Displayed)
    source = (NOTEBOOKS / "induction.py").read_text(encoding="utf-8")
    assert source.count(STEPS) == 1
    names: dict[str, Any] = {"__name__": "induction"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "IPython.display", module)
        exec(compile(source.replace(STEPS, "STEPS = 400\n"), "induction.py", "exec"), names)
    return SimpleNamespace(**names, displayed=displayed)


@pytest.mark.slow
def test_the_training_it_shows_closes_nine_tenths_of_the_gap_by_order_and_not_by_counting(story):
    loss = story.result.losses.predictable
    assert story.result.step == 400
    assert story.target.gap_closed(loss) > 0.9
    assert story.target.optimum.mean < loss < story.target.order_free.upper.mean / 2


@pytest.mark.slow
def test_the_head_it_follows_is_an_induction_head_to_each_kind_of_evidence(story):
    head = story.induction
    assert float(story.matching.score[head]) > 0.6 > 0.1 > float(story.matching.nulls["fresh tokens"][head])
    copying = story.copying.eigenvalue
    assert float(copying.value[head]) > 0.9 > float(copying.null_quantile(0.975)[head])
    effect = story.effects["mean"].interval[head]
    assert effect.low > 0.1
    assert effect.mean > float(story.elsewhere[head]) + 0.1


@pytest.mark.slow
def test_previous_token_heads_feed_it_through_the_key_alone(story):
    drops = {channel: effects.drop.score[story.before] for channel, effects in story.edges.channels.items()}
    assert float(drops["K"]) > 0.2
    assert abs(float(drops["Q"])) < 0.05
    assert float(drops["V"]) == 0
    named = {feeder.head for feeder in story.report[str(story.induction)].claims[0].feeders if feeder.channel == "K"}
    assert str(story.before) in named


@pytest.mark.slow
def test_the_audit_names_the_head_that_it_follows_and_none_of_the_first_layer(story):
    found = story.report.heads("induction", "strong")
    assert str(story.induction) in found
    assert {Head.parse(name).layer for name in found} == {1}


@pytest.mark.slow
def test_where_the_answer_is_known_the_audit_gives_it(story):
    names = {"induction_k", "induction_q", "positional", "no_copy", "anti_copying", "untrained"}
    assert set(story.known) == names
    assert [truth for _, truth in story.known.values()] == [["L1H0"], ["L1H0"], [], [], [], []]
    for name, (found, truth) in story.known.items():
        assert found.heads("induction", "contested") == truth, name


@pytest.mark.slow
def test_it_shows_one_interactive_page_and_the_same_as_a_figure(story):
    pages = [shown.data for shown in story.displayed if isinstance(shown.data, str)]
    figures = [shown.data for shown in story.displayed if isinstance(shown.data, bytes)]
    assert [page.count("srcdoc=") for page in pages] == [1]
    assert len(figures) == 6
    assert all(figure.startswith(PNG) for figure in figures)


def cells_of_script(name: str) -> list[tuple[str, str]]:
    """Kind and text of each cell of a percent script, as jupytext reads it."""
    text = (NOTEBOOKS / f"{name}.py").read_text(encoding="utf-8")
    parts = re.split(r"^# %%(.*)\n", text, flags=re.MULTILINE)[1:]
    cells = []
    for kind, body in zip(parts[::2], parts[1::2], strict=True):
        if kind.strip() == "[markdown]":
            cells.append(("markdown", re.sub(r"^# ?", "", body, flags=re.MULTILINE).strip()))
        else:
            cells.append(("code", body.strip()))
    return cells


def notebook(name: str) -> Any:
    return json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))


def joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


@pytest.mark.parametrize("name", BUILT)
def test_the_executed_notebook_has_the_cells_of_its_script(name):
    built = [(cell["cell_type"], joined(cell["source"]).strip()) for cell in notebook(name)["cells"]]
    assert built == cells_of_script(name)


@pytest.mark.parametrize("name", BUILT)
def test_every_cell_of_the_executed_notebook_ran_once_in_order_without_warning_or_error(name):
    cells = [cell for cell in notebook(name)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "execute_result", "display_data"}
    assert {output["name"] for output in outputs if output["output_type"] == "stream"} == {"stdout"}


@pytest.mark.parametrize("name", BUILT)
def test_the_executed_notebook_is_small_and_says_nothing_of_the_machine_it_ran_on(name):
    path = NOTEBOOKS / f"{name}.ipynb"
    assert path.stat().st_size < 3_000_000
    outputs = [output for cell in notebook(name)["cells"] for output in cell.get("outputs", ())]
    said = [joined(output.get("text", "")) + joined(output.get("data", {}).get("text/plain", "")) for output in outputs]
    assert not [text for text in said if re.search(r"/(home|root|tmp|work|usr|Users|var)/|site-packages", text)]
    assert str(NOTEBOOKS.parent) not in path.read_text(encoding="utf-8")
