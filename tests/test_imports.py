"""The order of the rooms, tests that mirror them, and how large files and functions may grow."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("configs", "models", "pipeline", "stages")

# Each room of pipeline/ imports rooms of lower levels alone.
LEVELS = (
    {"storage"},
    {"video"},
    {"streaming"},
    {"image", "web", "evaluation", "rendered", "background", "preview", "distributed"},
    {"live"},
    {"serve"},
    {"cli"},
)
# The one arrow inside a level: evaluation measures on the scenes that rendered draws.
ASIDE = {("evaluation", "rendered")}

# Without a test file of their names: nothing is decided in them.
UNTESTED = {"models/errors.py", "pipeline/cli/job.py", "pipeline/live/options.py"}

MOST_FILES = 16  # Python files of a folder
MOST_LINES = 350  # of a file
MOST_FUNCTION_LINES = 60  # of a function; of commands the body, for options take a line or two each


@cache
def modules() -> dict[str, Path]:
    """All of ours: the name of each module and its file."""
    found = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            parts = ["derain", *path.relative_to(ROOT).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(module: str) -> frozenset[str]:
    """Which of our modules a module names in its imports, wherever they stand in it."""
    ours = modules()
    found = set()
    for node in ast.walk(ast.parse(ours[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in ours}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found |= {name for name in (inner, node.module) if name in ours}
                if inner in ours:
                    found.discard(node.module)
    return frozenset(found - {module})


def circle_from(module: str) -> list[str]:
    """The shortest way along imports from a module back to itself; empty where there is none."""
    ways = [[module]]
    seen: set[str] = set()
    for way in ways:
        for following in sorted(imports(way[-1])):
            if following == module:
                return [*way, module]
            if following not in seen:
                seen.add(following)
                ways.append([*way, following])
    return []


def room_of(module: str) -> str:
    """`video` of `derain.pipeline.video.reader`, `models` of `derain.models.output`."""
    parts = module.split(".")
    return parts[2] if parts[1] == "pipeline" and len(parts) > 2 else parts[1]


@pytest.mark.parametrize("module", modules())
def test_no_circle(module: str) -> None:
    assert not circle_from(module)


def test_every_room_of_pipeline_has_its_level() -> None:
    there = {path.parent.name for path in (ROOT / "pipeline").glob("*/*.py")}
    assert there <= set().union(*LEVELS)


def test_rooms_of_pipeline_import_lower_ones() -> None:
    level = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}
    wrong = [
        f"{module} imports {other}"
        for module in modules()
        for other in imports(module)
        if (here := room_of(module)) in level
        and (there := room_of(other)) in level
        and here != there
        and level[there] >= level[here]
        and (here, there) not in ASIDE
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("room", "allowed"),
    [
        ("configs", set()),
        ("models", {"configs"}),
        ("stages", {"configs", "models", "video"}),
        ("storage", {"models"}),
        ("video", {"models", "storage"}),
    ],
)
def test_what_a_room_may_import(room: str, allowed: set[str]) -> None:
    wrong = [
        f"{module} imports {other}"
        for module in modules()
        for other in imports(module)
        if room_of(module) == room and room_of(other) not in allowed | {room}
    ]
    assert not wrong


def test_video_needs_of_models_no_networks() -> None:
    """Whoever reads a file waits for no torch."""
    used = {
        other
        for module, other in product(modules(), modules())
        if room_of(module) == "video" and room_of(other) == "models" and other in imports(module)
    }
    assert used <= {"derain.models.errors", "derain.models.log"}


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_functions_are_short() -> None:
    long = []
    for name, path in modules().items():
        for function in functions(path):
            first = function.body[0].lineno if room_of(name) == "cli" else function.lineno
            lines = (function.end_lineno or first) - first + 1
            if lines > MOST_FUNCTION_LINES:
                long.append(f"{name}.{function.name}: {lines} lines")
    assert not long


def test_files_are_short() -> None:
    lengths = {name: len(path.read_text().splitlines()) for name, path in modules().items()}
    assert not {name: lines for name, lines in lengths.items() if lines > MOST_LINES}


def test_modules_have_tests_of_their_names() -> None:
    paths = [path.relative_to(ROOT) for path in modules().values() if path.name != "__init__.py"]
    without = {
        str(path)
        for path in paths
        if not (ROOT / "tests" / path).with_name(f"test_{path.name}").is_file()
    }
    assert without == UNTESTED


def test_folders_are_small() -> None:
    folders = {path.parent for path in modules().values()}
    counts = {str(folder.relative_to(ROOT)): len(list(folder.glob("*.py"))) for folder in folders}
    assert not {folder: count for folder, count in counts.items() if count > MOST_FILES}
