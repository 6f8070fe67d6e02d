"""Files are there whole, or as they were before."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import pytest

from derain.models.whole_file import write_whole


def test_the_new_contents_take_the_place_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    for content in (b"one", b"another"):
        write_whole(path, lambda file, content=content: file.write(content))
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError("full"), RuntimeError("torch says so"), KeyError("x")])
def test_what_fails_leaves_what_was_there_and_no_part(tmp_path: Path, error: Exception) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fail(file: BinaryIO) -> None:
        file.write(b"half of")
        raise error

    with pytest.raises(KeyError if isinstance(error, KeyError) else OSError):
        write_whole(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_the_mode_is_that_of_any_new_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    before = os.umask(0o027)
    try:
        write_whole(path, lambda file: file.write(b"x"))
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640
