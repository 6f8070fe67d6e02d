"""What a wheel holds, without building one."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_folder_with_code_is_a_package_that_is_installed() -> None:
    rooms = ("pipeline", "models", "stages", "configs")
    code = {path.parent for room in rooms for path in (ROOT / room).rglob("*.py")}
    names = {"derain." + ".".join(folder.relative_to(ROOT).parts) for folder in code}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == names


def test_what_code_reads_beside_itself_is_installed() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["*"]
    for room in ("pipeline", "models", "stages", "configs"):
        for path in (ROOT / room).rglob("*"):
            if path.is_file() and path.suffix not in (".py", ".pyc"):
                assert any(path.match(pattern) for pattern in patterns), path


def test_the_changes_tell_of_this_version() -> None:
    text = (ROOT / ".readme" / "CHANGELOG.md").read_text()
    assert re.findall(r"^## (\S+)$", text, re.MULTILINE)[0] == PROJECT["project"]["version"]


def test_every_dependency_has_an_upper_bound_for_the_tests() -> None:
    lines = (ROOT / "tests" / "constraints.txt").read_text().splitlines()
    bound = {re.split("<=", line)[0].lower() for line in lines if "<=" in line}
    project = PROJECT["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[^\w.-]", each)[0].lower() for each in asked}
    assert names - bound == set()
