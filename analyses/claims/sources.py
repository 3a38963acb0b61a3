"""What a number depends on: the sources of the modules that an arm's function reaches, as one digest.

Followed are imports of `analyses.claims.experiments`, `toy_models` and `interp`, read from the syntax trees, wherever
they stand. Comments, docstrings, blank lines and the declarations (`CLAIMS = ...`, which a claim's own digest covers)
do not count, so that words can be mended without training anew.
"""

import ast
import hashlib
import io
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLLOWED = (
    "analyses.claims.experiments",
    "analyses.bigram_cases",
    "analyses.tied_embeddings",
    "toy_models",
    "interp",
)
DECLARATIONS = "CLAIMS"


@cache
def sources_digest(*modules: str) -> str:
    """SHA-256 over names and bare sources of these modules and of every followed one that they reach."""
    found = hashlib.sha256()
    for name in sorted(set().union(*map(reached, modules))):
        found.update(f"{name}\n{module_digest(name)}\n".encode())
    return found.hexdigest()


@cache
def module_digest(module: str) -> str:
    """SHA-256 of one module's bare source."""
    return hashlib.sha256(bare(path_of(module).read_text(encoding="utf-8")).encode()).hexdigest()


@cache
def reached(module: str) -> frozenset[str]:
    """The module itself, and every followed module that it imports, directly or through others."""
    found, frontier = {module}, {module}
    while frontier:
        frontier = {target for name in frontier for target in imports_of(name)} - found
        found |= frontier
    return frozenset(found)


@cache
def imports_of(module: str) -> frozenset[str]:
    """Followed modules that a module names in its import statements, those inside functions too.

    A package whose `__init__` imports by name when asked (as `interp` does) holds these names as strings: strings that
    name a sub-module of the package count as imports.
    """
    path = path_of(module)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    targets = set(named(tree, package))
    if path.name == "__init__.py":
        words = {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        targets |= {f"{module}.{word}" for word in words if word.isidentifier()}
    return frozenset(target for target in targets if is_followed(target))


def named(tree: ast.Module, package: str) -> Iterator[str]:
    """Targets of import statements; of `from a import b` the module `a.b` if there is one, else `a`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                deeper = f"{source}.{alias.name}"
                yield deeper if is_followed(deeper) else source


@cache
def is_followed(name: str) -> bool:
    """Whether it is a module of ours on which numbers depend."""
    ours = any(name == start or name.startswith(f"{start}.") for start in FOLLOWED)
    return ours and path_of(name).is_file()


def path_of(module: str) -> Path:
    """Its source file; a module from outside our packages must have been imported."""
    stem = ROOT.joinpath(*module.split("."))
    package = stem / "__init__.py"
    ours = package if package.is_file() else stem.with_suffix(".py")
    loaded = getattr(sys.modules.get(module), "__file__", None)
    return ours if ours.is_file() or loaded is None else Path(loaded)


def bare(source: str) -> str:
    """The lines that do something: no comments, docstrings, blank lines or declarations of claims."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt) and only_says(node):
            for row in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                lines[row - 1] = ""
    return "\n".join(line.rstrip() for line in lines if line.strip())


def only_says(node: ast.stmt) -> bool:
    """Whether a statement is a text alone, or declares claims."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.target, ast.Name) and node.target.id == DECLARATIONS
    return isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [DECLARATIONS]
