"""Decoded clips in the cache: decoded once, whole, for their owner alone."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import numpy as np
import pytest

from derain.models.cache import list_files
from derain.stages.data.clip_cache import store_clip


def decode(path: Path) -> np.ndarray:
    return np.full((2, 8, 8, 3), len(path.name), np.uint8)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Three clips, `c` used last and `b` the longest ago."""
    folder = tmp_path / "derain" / "clips"
    for days, name in ((2, "a"), (9, "b"), (1, "c")):
        (tmp_path / name).write_bytes(name.encode())
        path = store_clip(tmp_path / name, folder, decode)
        before = time.time() - 86_400 * days
        os.utime(path, (before, before))
    return folder


def test_a_clip_is_decoded_once_and_for_its_owner_alone(tmp_path: Path, cache: Path) -> None:
    def refuse(path: Path) -> np.ndarray:
        raise AssertionError("decoded again")

    path = store_clip(tmp_path / "a", cache, refuse)
    assert np.load(path).shape == (2, 8, 8, 3)
    for folder in (cache, cache.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(clip.path.suffix == ".npy" for clip in list_files(cache))
    assert len(list(cache.iterdir())) == 3


def test_use_counts(tmp_path: Path, cache: Path) -> None:
    assert [clip.path.name[0] for clip in list_files(cache)] == ["b", "a", "c"]
    store_clip(tmp_path / "b", cache, decode)
    assert [clip.path.name[0] for clip in list_files(cache)] == ["a", "c", "b"]


def test_a_clip_that_cannot_be_decoded_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    def fail(path: Path) -> np.ndarray:
        raise ValueError("damaged")

    (tmp_path / "d").touch()
    with pytest.raises(ValueError, match="damaged"):
        store_clip(tmp_path / "d", cache, fail)
    assert len(list(cache.iterdir())) == 3


def test_a_frame_written_over_is_noticed(tmp_path: Path) -> None:
    folder, times = tmp_path / "walk", []
    folder.mkdir()
    for number in (1, 2):
        (folder / f"{number}.png").write_bytes(b"old")

    def read(path: Path) -> np.ndarray:
        times.append(path)
        return np.zeros((1, 2, 2, 3), np.uint8)

    first = store_clip(folder, tmp_path / "cache", read)
    assert store_clip(folder, tmp_path / "cache", read) == first
    stat = folder.stat()
    (folder / "2.png").write_bytes(b"new one")
    os.utime(folder, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert store_clip(folder, tmp_path / "cache", read) != first
    assert len(times) == 2
