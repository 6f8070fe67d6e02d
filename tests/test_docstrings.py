"""Public functions with three parameters or more say what each of them is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("configs", "models", "pipeline", "stages")
COMMANDS = ROOT / "pipeline" / "cli"  # the options of commands have their help instead

Function = ast.FunctionDef | ast.AsyncFunctionDef


def trees() -> dict[Path, ast.Module]:
    files = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    return {path: ast.parse(path.read_text()) for path in files}


def methods(tree: ast.AST) -> Iterator[tuple[ast.ClassDef, Function]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield from ((node, item) for item in node.body if isinstance(item, Function))


def inherited(parsed: dict[Path, ast.Module]) -> set[tuple[str, str]]:
    """(class, method) where a base class of ours or torch has that method and documents it."""
    bases: dict[str, set[str]] = {}
    own: dict[str, set[str]] = {}
    for tree in parsed.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                names = {ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases}
                bases.setdefault(node.name, set()).update(names)
        for cls, item in methods(tree):
            own.setdefault(cls.name, set()).add(item.name)
    found = set()
    for name, names in bases.items():
        above, todo = set(), set(names)
        while todo:
            base = todo.pop()
            above.add(base)
            todo |= bases.get(base, set()) - above
        found |= {(name, method) for base in above for method in own.get(base, set())}
    return found


def parameters(function: Function) -> list[str]:
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    every += [extra for extra in (given.vararg, given.kwarg) if extra is not None]
    return [each.arg for each in every if each.arg not in ("self", "cls")]


def undescribed(function: Function) -> list[str]:
    """Parameters of which the docstring's `Args:` say nothing."""
    names = parameters(function)
    if function.name.startswith("_") or len(names) < 3:
        return []
    _, _, args = (ast.get_docstring(function) or "").partition("Args:\n")
    described = set()
    for line in args.splitlines():
        if match := re.match(r"    ([a-z_0-9*, ]+)(?: \([^)]*\))?:", line, re.IGNORECASE):
            described |= {word.strip(" *") for word in match[1].split(",")}
    return [name for name in names if name not in described]


def test_args_are_described() -> None:
    parsed = trees()
    overriding = inherited(parsed)
    missing = []
    for path, tree in parsed.items():
        functions = [node for node in tree.body if isinstance(node, Function)]
        if path.parent == COMMANDS:
            functions = []
        functions += [
            item
            for cls, item in methods(tree)
            if not cls.name.startswith("_") and (cls.name, item.name) not in overriding
        ]
        for function in functions:
            if names := undescribed(function):
                place = f"{path.relative_to(ROOT)}:{function.lineno}"
                missing.append(f"{place} {function.name}: {', '.join(names)}")
    assert not missing
