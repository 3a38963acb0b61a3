"""The shape of the code base, read from its syntax trees: who imports whom, how long things are, what is banned.

Each rule is a function from a folder to a list of violations, and is tried on small planted trees below.
"""

import ast
import json
import subprocess
import sys
from configparser import ConfigParser
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from setuptools import find_packages

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {"toy_models": (), "interp": (), "analyses": ("toy_models", "interp")}
MODULE_LINES, FUNCTION_LINES, TEST_LINES = 300, 60, 500
PICKLERS = ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal")
HEAVY = ("torch", "transformer_lens", "transformers", "matplotlib", "scipy", "sklearn")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One source file: its dotted name, where it is, and its syntax tree."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]

    def at(self, node: ast.stmt | ast.expr) -> str:
        return f"{self.name}:{node.lineno}"


@dataclass(frozen=True)
class Import:
    """A module that a file imports, spelled absolutely; for `from a import b` both `a` and `a.b`."""

    targets: tuple[str, ...]
    node: ast.stmt | ast.expr
    in_function: bool


def modules_in(root: Path, *folders: str) -> list[Module]:
    found = []
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found.append(Module(name, path, parsed(path, path.stat().st_mtime_ns)))
    return found


@cache
def parsed(path: Path, written: int) -> ast.Module:
    """The syntax tree of a file as it was `written`, kept for the rules that follow."""
    return ast.parse(path.read_text(encoding="utf-8"))


def packages_in(root: Path) -> list[Module]:
    return modules_in(root, *MAY_IMPORT)


def imports_of(module: Module) -> list[Import]:
    """Every import statement, and `import_module("...")` with its name written out."""
    found = []

    def visit(node: ast.AST, in_function: bool) -> None:
        targets: tuple[str, ...] = ()
        if isinstance(node, ast.Import):
            targets = tuple(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = absolute(module, node)
            targets = (source, *(f"{source}.{alias.name}" for alias in node.names))
        elif isinstance(node, ast.Call) and called(node) in ("import_module", "__import__"):
            targets = tuple(str(a.value) for a in node.args[:1] if isinstance(a, ast.Constant))
        if targets and isinstance(node, ast.stmt | ast.expr):
            found.append(Import(targets, node, in_function))
        for child in ast.iter_child_nodes(node):
            visit(child, in_function or isinstance(node, Function))

    visit(module.tree, False)
    return found


def absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parents = module.package.split(".")
    base = parents[: len(parents) - node.level + 1]
    return ".".join(base + ([node.module] if node.module else []))


def called(node: ast.Call) -> str:
    return ast.unparse(node.func).rpartition(".")[2]


def belongs_to(target: str, package: str) -> bool:
    return target == package or target.startswith(package + ".")


def wrong_arrows(root: Path) -> list[str]:
    """Imports between our packages other than those of `MAY_IMPORT`; ours never import the tests."""
    violations = []
    for module in packages_in(root):
        own = module.name.partition(".")[0]
        banned = {*MAY_IMPORT, "tests", "notebooks"} - {own, *MAY_IMPORT[own]}
        violations += [
            f"{module.at(found.node)} imports {package}"
            for found in imports_of(module)
            for package in sorted(banned)
            if any(belongs_to(target, package) for target in found.targets)
        ]
    return violations


def import_cycles(root: Path) -> list[str]:
    """Modules that reach themselves through module-level imports (a package's `__init__` is a module)."""
    modules = packages_in(root)
    names = {module.name for module in modules}
    edges = {module.name: runtime_edges(module, names) for module in modules}
    cycles = []
    for start in sorted(names):
        reached, frontier = set(), set(edges[start])
        while frontier:
            reached |= frontier
            frontier = {target for name in frontier for target in edges[name]} - reached
        if start in reached:
            cycles.append(f"{start} imports itself through {', '.join(sorted(reached - {start})) or start}")
    return cycles


def runtime_edges(module: Module, names: set[str]) -> set[str]:
    edges = set()
    for found in imports_of(module):
        if not found.in_function:
            ours = [target for target in found.targets if target in names]
            deeper = [target for target in ours if any(t.startswith(target + ".") for t in ours)]
            edges |= set(ours) - set(deeper)
    return edges


def eager_transformer_lens(root: Path) -> list[str]:
    """Imports of transformer_lens, which take seconds, outside functions."""
    return [
        f"{module.at(found.node)} imports transformer_lens outside a function"
        for module in [*packages_in(root), *modules_in(root, "tests")]
        for found in imports_of(module)
        if not found.in_function and any(belongs_to(target, "transformer_lens") for target in found.targets)
    ]


def too_long(root: Path) -> list[str]:
    """Modules, functions and test files over their number of lines."""
    violations = []
    for module in packages_in(root):
        violations += over(module, MODULE_LINES)
        for node in ast.walk(module.tree):
            if isinstance(node, Function) and (lines := length(node)) > FUNCTION_LINES:
                violations.append(f"{module.at(node)} {node.name} has {lines} lines, more than {FUNCTION_LINES}")
    for module in modules_in(root, "tests"):
        violations += over(module, TEST_LINES)
    return violations


def length(function: Function) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def over(module: Module, limit: int) -> list[str]:
    lines = len(module.path.read_text(encoding="utf-8").splitlines())
    return [f"{module.name} has {lines} lines, more than {limit}"] if lines > limit else []


def unsafe_files(root: Path) -> list[str]:
    """Ways to load or save that can run code from a file: pickle, its relatives, and what rests on it."""
    violations = []
    for module in packages_in(root):
        for found in imports_of(module):
            names = [t for t in found.targets if t.partition(".")[0] in PICKLERS]
            names += [t for t in found.targets if t in ("torch.load", "torch.save")]
            violations += [f"{module.at(found.node)} imports {name}" for name in names[:1]]
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("torch.load", "torch.save"):
                violations.append(f"{module.at(node)} uses {ast.unparse(node)}")
            elif isinstance(node, ast.keyword) and node.arg == "allow_pickle" and may_be_true(node.value):
                violations.append(f"{module.at(node.value)} allows pickle")
    return violations


def may_be_true(value: ast.expr) -> bool:
    """Whether a value is anything but a plain `False`."""
    return not (isinstance(value, ast.Constant) and value.value is False)


def without_docstring(root: Path) -> list[str]:
    return [f"{module.name} has no docstring" for module in packages_in(root) if not ast.get_docstring(module.tree)]


def heavy_modules_for_help(root: Path) -> list[str]:
    """Which slow modules `python -m analyses.cli --help` loads, run in `root`."""
    probe = (
        "import atexit, json, runpy, sys\n"
        f"heavy = {HEAVY!r}\n"
        "show = lambda: print('\\n' + json.dumps([name for name in heavy if name in sys.modules]))\n"
        "atexit.register(show)\n"
        "sys.argv = ['interp', '--help']\n"
        "runpy.run_module('analyses.cli', run_name='__main__', alter_sys=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "audit" in done.stdout
    return json.loads(done.stdout.splitlines()[-1])


def discovered(root: Path) -> set[str]:
    """The packages that an installation would hold, by the patterns of our setup.cfg."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    include = config["options.packages.find"]["include"].split()
    return set(find_packages(str(root), include=include))


@pytest.fixture(scope="module", autouse=True)
def trees_are_forgotten():
    """The trees of the whole code base are large, and no other tests need them."""
    yield
    parsed.cache_clear()


@pytest.fixture
def plant(tmp_path):
    """Writes files (path -> text) into a tree that holds the three packages, each with a docstring."""

    def write(files: dict[str, str]) -> Path:
        for package in MAY_IMPORT:
            files = {f"{package}/__init__.py": '"""A package."""\n'} | files
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path

    return write


# The code base obeys -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule", [wrong_arrows, import_cycles, eager_transformer_lens, too_long, unsafe_files, without_docstring]
)
def test_the_code_base_obeys(rule):
    assert len(packages_in(ROOT)) > 4, "no modules were found, so the rule was not tried"
    assert rule(ROOT) == []


def test_help_loads_neither_torch_nor_transformer_lens():
    assert heavy_modules_for_help(ROOT) == []


def test_importing_the_packages_and_the_configuration_loads_no_torch():
    program = f"import sys, interp, toy_models.config, analyses\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_installing_takes_exactly_the_three_packages_with_every_folder():
    packages = discovered(ROOT)
    assert {name.partition(".")[0] for name in packages} == {"interp", "toy_models", "analyses"}
    assert {module.package for module in packages_in(ROOT)} == packages


def test_every_public_name_of_interp_can_be_imported():
    import interp

    assert {"record", "intervene", "weights_of", "InputError"} <= set(interp.__all__) <= set(dir(interp))
    for name in interp.__all__:
        assert getattr(interp, name).__module__.startswith("interp."), name
    with pytest.raises(AttributeError, match="no attribute 'recrod'"):
        _ = interp.recrod


# The rules can fail --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "violations"),
    [
        ({"toy_models/a.py": "import interp"}, ["toy_models.a:1 imports interp"]),
        (
            {"toy_models/a.py": "def f():\n    from analyses.audit import audit"},
            ["toy_models.a:2 imports analyses"],
        ),
        ({"interp/a.py": "from toy_models import config"}, ["interp.a:1 imports toy_models"]),
        ({"interp/sub/a.py": "from ...analyses import audit"}, ["interp.sub.a:1 imports analyses"]),
        (
            {"interp/a.py": "import importlib\nimportlib.import_module('analyses.cli')"},
            ["interp.a:2 imports analyses"],
        ),
        ({"analyses/a.py": "from tests.helpers import x"}, ["analyses.a:1 imports tests"]),
        (
            {"analyses/a.py": "import interp, toy_models.config", "interp/b.py": "import toy_models_of_mine"},
            [],
        ),
    ],
)
def test_an_import_against_the_direction_is_found(plant, files, violations):
    assert wrong_arrows(plant(files)) == violations


def test_an_import_cycle_is_found_with_the_modules_on_it(plant):
    root = plant(
        {
            "interp/a.py": "from interp.b import f",
            "interp/b.py": "from . import c",
            "interp/c.py": "import interp.a",
            "interp/outside.py": "import interp.a",
        }
    )
    assert import_cycles(root) == [
        "interp.a imports itself through interp.b, interp.c",
        "interp.b imports itself through interp.a, interp.c",
        "interp.c imports itself through interp.a, interp.b",
    ]


def test_a_package_that_imports_a_module_which_imports_the_package_is_a_cycle(plant):
    root = plant({"interp/__init__.py": "from interp.a import f", "interp/a.py": "from interp import g"})
    assert import_cycles(root) == [
        "interp imports itself through interp.a",
        "interp.a imports itself through interp",
    ]


def test_an_import_inside_a_function_closes_no_cycle(plant):
    root = plant(
        {
            "interp/a.py": "from interp.b import f",
            "interp/b.py": "def f():\n    import interp.a",
        }
    )
    assert import_cycles(root) == []


@pytest.mark.parametrize("folder", ["interp", "analyses/claims", "tests/interp"])
def test_transformer_lens_at_module_level_is_found_and_inside_a_function_is_not(plant, folder):
    root = plant(
        {
            f"{folder}/a.py": "def f():\n    import transformer_lens",
            f"{folder}/b.py": "class A:\n    from transformer_lens.model_bridge import TransformerBridge",
        }
    )
    name = folder.replace("/", ".")
    assert eager_transformer_lens(root) == [f"{name}.b:2 imports transformer_lens outside a function"]


def test_lengths_are_allowed_up_to_the_limit_and_found_one_line_above_it(plant):
    body = "\n    pass"
    root = plant(
        {
            "interp/fits.py": "x = 1\n" * MODULE_LINES,
            "interp/long.py": "x = 1\n" * (MODULE_LINES + 1),
            "interp/functions.py": f"def fits():{body * (FUNCTION_LINES - 1)}\n"
            f"class A:\n  async def long(self):{body * FUNCTION_LINES}\n",
            "tests/test_fits.py": "x = 1\n" * TEST_LINES,
            "tests/interp/test_long.py": "x = 1\n" * (TEST_LINES + 1),
        }
    )
    assert too_long(root) == [
        "interp.functions:62 long has 61 lines, more than 60",
        "interp.long has 301 lines, more than 300",
        "tests.interp.test_long has 501 lines, more than 500",
    ]


@pytest.mark.parametrize(
    ("source", "violation"),
    [
        ("import torch\ntorch.load('x')", "interp.a:2 uses torch.load"),
        ("import torch\nsave = torch.save", "interp.a:2 uses torch.save"),
        ("from torch import load", "interp.a:1 imports torch.load"),
        ("def f():\n    import pickle", "interp.a:2 imports pickle"),
        ("from joblib import dump", "interp.a:1 imports joblib"),
        ("import numpy as np\nnp.load('x', allow_pickle=True)", "interp.a:2 allows pickle"),
    ],
)
def test_a_way_to_unpickle_is_found(plant, source, violation):
    assert unsafe_files(plant({"interp/a.py": source})) == [violation]


def test_safe_loading_is_no_violation(plant):
    source = '"""Never torch.load, never pickle."""\nnp.load("x", allow_pickle=False)\nload_file("x")'
    assert unsafe_files(plant({"interp/a.py": source})) == []


def test_a_module_without_docstring_is_found(plant):
    assert without_docstring(plant({"analyses/a.py": "# said in a comment"})) == ["analyses.a has no docstring"]


def test_a_command_line_that_loads_torch_for_its_help_is_found(plant):
    cli = '"""Command line."""\nimport torch\nprint("usage: interp audit")\nraise SystemExit(0)\n'
    root = plant({"analyses/cli.py": cli, "torch.py": ""})
    assert heavy_modules_for_help(root) == ["torch"]


def test_installing_leaves_tests_and_notebooks_out_and_sub_packages_in(plant):
    init = {f"{name}/__init__.py": "" for name in ("tests", "tests/interp", "notebooks", "toy_models/vision")}
    assert discovered(plant(init)) == {"interp", "toy_models", "toy_models.vision", "analyses"}
