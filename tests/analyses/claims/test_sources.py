"""What a number depends on: modules reached through imports, without their words."""

import ast

import pytest

from analyses.claims import all_claims, sources

FILES = {
    "analyses/claims/experiments/one.py": (
        '"""Words."""\nfrom analyses.report import x\nfrom toy_models.a import f\nfrom interp import record\n'
        "from analyses.claims.experiments import helper\nCLAIMS = (\n    1,\n)\n"
    ),
    "analyses/claims/experiments/helper.py": "def g():\n    import interp.late\n",
    "analyses/report.py": "x = 1\n",
    "toy_models/__init__.py": "",
    "toy_models/a.py": "from .sub import b as c\n\ndef f(x):  # a remark\n    '''Says.'''\n    return x + 1\n",
    "toy_models/sub/__init__.py": "",
    "toy_models/sub/b.py": "from torch import nn\nimport interp.deep\n",
    "interp/__init__.py": "_MODULE_OF = {'record': 'hooks', 'Other': 'nothing here'}\n",
    "interp/hooks.py": "y = 1\n",
    "interp/late.py": "y = 1\n",
    "interp/deep.py": "import interp.deep\n",
    "interp/alone.py": "y = 1\n",
}
ONE = "analyses.claims.experiments.one"


def forget() -> None:
    for each in (
        sources.sources_digest,
        sources.module_digest,
        sources.reached,
        sources.imports_of,
        sources.is_followed,
    ):
        each.cache_clear()


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Writes changed files into a planted tree; gives the digest of module `one` there."""
    monkeypatch.setattr(sources, "ROOT", tmp_path)

    def digest(**changes: str) -> str:
        for name, text in (FILES | {key.replace("__", "/") + ".py": text for key, text in changes.items()}).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        forget()
        return sources.sources_digest(ONE)

    yield digest
    forget()


def test_reached_are_models_measures_and_helpers_also_inside_functions_and_through_packages(tree):
    tree()
    assert sources.reached(ONE) == {
        ONE,
        "analyses.claims.experiments.helper",
        "toy_models.a",
        "toy_models.sub.b",
        "interp",
        "interp.hooks",
        "interp.late",
        "interp.deep",
    }


@pytest.mark.parametrize("name", ["toy_models__a", "toy_models__sub__b", "interp__hooks", "interp__late"])
def test_a_line_that_does_something_changes_the_digest(tree, name):
    before = tree()
    path = name.replace("__", "/") + ".py"
    assert tree(**{name: FILES[path] + "more = 2\n"}) != before


def test_words_declarations_and_modules_that_are_not_reached_do_not(tree):
    before = tree()
    one = "analyses__claims__experiments__one"
    said = (
        FILES["analyses/claims/experiments/one.py"].replace("Words.", "Other\nwords.").replace("    1,\n", "    2,\n")
    )
    a = FILES["toy_models/a.py"].replace("  # a remark", "").replace("'''Says.'''", "'''Says\n    more.'''")
    assert tree(**{one: said}) == before
    assert tree(toy_models__a=a) == before
    assert tree(interp__alone="y = 3\n", analyses__report="x = 3\n") == before


def test_a_hash_inside_a_text_is_no_remark():
    assert sources.bare('x = "# kept"  # gone\n') == 'x = "# kept"'


def test_whatever_of_ours_an_experiment_imports_beside_the_declarations_is_followed():
    trainers = {arm.train.__module__ for claim in all_claims() for arm in claim.arms.values()}
    left_out = set()
    for module in filter(lambda name: ".experiments." in name, set().union(*map(sources.reached, trainers))):
        tree, package = ast.parse(sources.path_of(module).read_text(encoding="utf-8")), module.rpartition(".")[0]
        ours = {name for name in sources.named(tree, package) if name.startswith("analyses.")}
        left_out |= {name for name in ours if not sources.is_followed(name)}
    assert all(name.startswith("analyses.claims.") for name in left_out)
