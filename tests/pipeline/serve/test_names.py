"""Names that clients give are shown and never become paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from derain.models.errors import DerainError
from derain.pipeline.serve.names import (
    LONGEST,
    clean_name,
    films_in,
    free_target,
    result_suffix,
)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("rain.mp4", "rain.mp4"),
        ("räin <b>.MKV", "räin <b>.MKV"),
        ("../../etc/rain.mp4", "rain.mp4"),
        ("C:\\films\\rain.mp4", "rain.mp4"),
        ("a\x00b\u202ec.mp4", "abc.mp4"),  # no letters that turn the rest round
        (" . rain.mp4. ", "rain.mp4"),
        ("x" * 400 + ".mp4", "x" * (LONGEST - 4) + ".mp4"),
    ],
)
def test_folders_and_what_cannot_be_shown_go(name: str, shown: str) -> None:
    assert clean_name(name) == shown


@pytest.mark.parametrize("name", ["", "rain", "rain.exe", ".mp4", "rain.mp4/"])
def test_other_endings_are_refused(name: str) -> None:
    with pytest.raises(DerainError, match="must end as a film's does"):
        clean_name(name)


def test_results_of_films_that_nobody_writes_any_more_are_matroska() -> None:
    assert result_suffix("a.MP4") == ".mp4"
    assert result_suffix("a.rmvb") == ".mkv"


def test_films_of_a_folder_are_no_parts_and_not_hidden(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.MKV", ".hidden.mp4", "c.part.mp4", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.mp4").mkdir()
    assert list(films_in(tmp_path)) == ["a.MKV", "b.mp4"]


def test_a_target_is_neither_there_nor_promised(tmp_path: Path) -> None:
    film = Path("/films/rain.mp4")
    assert free_target(tmp_path, film, ()) == tmp_path / "rain.mp4"
    (tmp_path / "rain.mp4").touch()
    promised = [str(tmp_path / "rain-2.mp4")]
    assert free_target(tmp_path, film, promised) == tmp_path / "rain-3.mp4"
