"""The pages: their links lead somewhere, their commands exist, the front door stays short."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from derain.pipeline.cli.main import app

ROOT = Path(__file__).parents[1]
ROOMS = ("", "pipeline", "models", "stages", "tests", ".readme")
PAGES = sorted(
    path for room in ROOMS for path in (ROOT / room).glob("*.md" if not room else "**/*.md")
)
BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)")


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_to_files(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    assert not [link for link in links if not (page.parent / link).exists()]


def test_all_options_of_video_are_in_its_page() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    text = (ROOT / "pipeline" / "README.md").read_text()
    names = [name for option in group.commands["video"].params for name in option.opts]
    names = [name for name in names if name.startswith("--")]
    assert len(names) > 30
    assert [name for name in names if name not in text] == []


@pytest.mark.parametrize("room", ROOMS[1:4])
def test_a_room_names_its_folders(room: str) -> None:
    text = (ROOT / room / "README.md").read_text()
    folders = [path for path in (ROOT / room).iterdir() if list(path.glob("*.*"))]
    names = [path.name for path in folders if path.is_dir() and path.name != "__pycache__"]
    assert len(names) > 2
    assert [name for name in names if f"`{name}/`" not in text] == []


def commands(page: Path) -> list[list[str]]:
    """The arguments of every `derain …` line in the code blocks of a page."""
    lines = [line for block in BLOCK.findall(page.read_text()) for line in block.splitlines()]
    # A variable of the shell stands for a number, such as that of a task of an array.
    lines = [re.sub(r"\$\{?[A-Z_]+\}?", "1", line) for line in lines]
    words = [shlex.split(line, comments=True) for line in lines if "derain " in line]
    ours = [line[line.index("derain") + 1 :] for line in words if "derain" in line]
    return [line[: line.index("|")] if "|" in line else line for line in ours]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_are_understood(page: Path) -> None:
    """By their parsers alone; nothing is run, and files need not be there."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    for name, *rest in commands(page):
        command = group.commands[name]
        with command.make_context(name, rest) as context:
            assert context.params


def test_readme_is_a_front_door() -> None:
    assert 800 <= len((ROOT / "README.md").read_text().split()) <= 1000


def test_python_in_readme_imports_what_there_is() -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    imports = [line for line in block.splitlines() if line.startswith("from ")]
    assert len(imports) == 3
    exec("\n".join(imports), {})


def test_files_named_in_the_code_are_there() -> None:
    """Docstrings send readers to other files by their names."""
    code = [path for room in ROOMS[1:4] for path in (ROOT / room).rglob("*.py")]
    there = {path.name for path in [*code, *(ROOT / "configs").glob("*.py")]}
    there |= {path.name for path in (ROOT / "tests").rglob("*.py")}
    stale = {
        f"{named(path)}: {name}"
        for path in code
        for name in re.findall(r"\b[a-z_0-9]+\.py\b", path.read_text())
        if name not in there
    }
    assert not stale
