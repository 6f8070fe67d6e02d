"""`derain preview` as a user calls it: lines on standard output, a sheet, nothing written over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from derain.pipeline.cli.preview import describe
from derain.pipeline.preview.look import Findings

Command = Callable[..., Any]  # conftest.py


def test_a_film_becomes_a_sheet_and_a_command_to_run(
    derain: Command,
    make_clip: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    make_clip("my film.mp4", frames=12, size=(96, 64))
    words = [
        "--quality",
        "fast",
        "--boldness",
        "0.8",
        "--protect",
        "0,0,8,8",
        "--protect",
        "8,8,8,8",
    ]
    answer = derain("preview", "my film.mp4", *words)
    assert answer.code == 0, answer.err
    lines = dict(line.split(": ", 1) for line in answer.out.splitlines() if ": " in line)
    assert lines["sheet"] == "my film_preview.png"
    assert lines["run"].startswith("derain video 'my film.mp4' -o 'my film_clean.mp4' ")
    assert set(lines["run"].split()) >= set(words)
    assert "12 frames" in lines["whole film"]
    assert Path("my film_preview.png").is_file()
    again = derain("preview", "my film.mp4")
    assert again.code == 2
    assert "add -y to replace it" in again.err


def test_a_sheet_that_cannot_be_written_costs_no_work(derain: Command, tmp_path: Path) -> None:
    for name, why in (("sheet.mp4", "sheet.png instead"), ("nowhere/sheet.png", "no folder")):
        answer = derain("preview", "film.mp4", "-o", str(tmp_path / name))
        assert answer.code == 2
        assert why in " ".join(answer.err.split())


def test_stills_are_for_another_command(derain: Command) -> None:
    answer = derain("preview", "photo.jpg")
    assert answer.code == 2 and "derain image photo.jpg -o OUT" in answer.err


def test_what_is_no_falling_rain_is_said(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"x")

    def said(found: Findings) -> str:
        return " ".join(describe(found, str(film), "swift", Path("s.png")))

    glass = said(Findings(looked=24, drops=True, changed=0.0001))
    assert "drops on glass and no falling rain: derain video changes next to nothing" in glass
    assert "look at the sheet" in said(Findings(looked=24, changed=0.02))
    rain = said(Findings(looked=24, rainy=9, rain=0.03, changed=0.1))
    assert "seen: falling streaks" in rain
    assert "next to nothing" not in rain
    assert "does not take for rain" in said(Findings(looked=24, rainy=9, changed=0.0001))
