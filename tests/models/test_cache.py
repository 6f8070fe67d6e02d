"""The user's cache folder: private, bounded, the least recently used go first."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from derain.models.cache import cache_folder, list_files, make_private, trim


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files of 100 bytes and a folder; `c` was used last and `b` the longest ago."""
    folder = tmp_path / "derain" / "things"
    make_private(folder)
    for days, name in ((2, "a"), (9, "b"), (1, "c")):
        (folder / name).write_bytes(bytes(100))
        before = time.time() - 86_400 * days
        os.utime(folder / name, (before, before))
    (folder / "inner").mkdir()
    return folder


def names(folder: Path) -> list[str]:
    return [file.path.name for file in list_files(folder)]


def test_the_folder_is_where_the_standard_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("clips") == tmp_path / "derain" / "clips"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder("clips") == Path.home() / ".cache" / "derain" / "clips"


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_nobody_else_may_look_into_it(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    for folder in (tmp_path / "derain" / "things", shared / "things"):
        make_private(folder)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "derain").stat().st_mode) == 0o700
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755  # a folder that is not ours


def test_use_counts(folder: Path) -> None:
    assert names(folder) == ["b", "a", "c"]
    os.utime(folder / "b")
    assert names(folder) == ["a", "c", "b"]
    assert names(folder / "nowhere") == []


def test_the_least_recently_used_go_until_the_rest_fits(folder: Path) -> None:
    assert [file.path.name for file in trim(folder, 200)] == ["b"]
    assert trim(folder, 200) == []
    assert [file.size for file in trim(folder, 0)] == [100, 100]
    assert names(folder) == []
    assert trim(folder / "nowhere", 0) == []


def test_what_another_process_may_use_stays(folder: Path) -> None:
    assert [file.path.name for file in trim(folder, 0, recent=3 * 86_400)] == ["b"]
