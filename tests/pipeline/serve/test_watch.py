"""The watch folder: films that come, once each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from derain.models.errors import UsageError
from derain.pipeline.serve.store import Store
from derain.pipeline.serve.watch import Watched, Watcher


def test_films_are_taken_once_when_they_are_whole(tmp_path: Path) -> None:
    folders = Watched(tmp_path / "in", tmp_path / "out")
    with pytest.raises(UsageError, match="make it first"):
        folders.check()
    folders.source.mkdir()
    folders.into.mkdir()
    folders.check()
    with pytest.raises(UsageError, match="same folder"):
        Watched(folders.source, folders.source).check()
    taken: list[str] = []
    store = Store(tmp_path / "jobs.sqlite")

    def add(path: Path, into: Path) -> None:
        assert into == folders.into
        taken.append(path.name)

    watcher = Watcher(folders, store, add, taken.append)
    film = folders.source / "a.mp4"
    film.write_bytes(b"be")
    (folders.source / "a.txt").write_bytes(b"no film")
    watcher.look(0)
    watcher.look(1)
    film.write_bytes(b"beginning")  # it grows
    os.utime(film, (5, 5))
    for now in (2, 3, 4):
        watcher.look(now)
    assert taken == []
    watcher.look(5)
    watcher.look(9)
    assert taken == ["a.mp4"]

    # Known after a restart, too; new when it is another film.
    store.close()
    store = Store(tmp_path / "jobs.sqlite")
    watcher = Watcher(folders, store, add, taken.append)
    for now in (10, 14, 18):
        watcher.look(now)
    assert taken == ["a.mp4"]
    film.write_bytes(b"another")
    for now in (20, 24):
        watcher.look(now)
    assert taken == ["a.mp4"] * 2

    # One whose result is there is left alone.
    (folders.source / "b.mp4").write_bytes(b"film")
    (folders.into / "b.mp4").write_bytes(b"result")
    for now in (30, 34):
        watcher.look(now)
    assert taken == ["a.mp4"] * 2
    store.close()
