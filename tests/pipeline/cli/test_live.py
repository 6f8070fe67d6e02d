"""`derain live` as it is called; what a session does is in tests/pipeline/live."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from derain.models.errors import DerainError
from derain.pipeline.cli import live
from derain.pipeline.live import window

Command = Callable[..., Any]  # conftest.py
PLAIN = ("-m", "median", "--resolution", "source")


def test_a_file_is_recorded_and_a_page_is_opened(
    derain: Command, make_clip: Callable[..., Path], tmp_path: Path
) -> None:
    target = tmp_path / "out.mkv"
    words = [make_clip(frames=6), *PLAIN, "--record", target, "--http", "127.0.0.1:0"]
    answer = derain("live", *words)
    assert answer.code == 0, answer.err
    assert "open http://127.0.0.1:" in answer.err
    assert f"6 frames derained, 0 dropped, at 64x48; recorded to {target}" in answer.err
    assert answer.out == "" and target.is_file()
    again = derain("live", *words)
    assert again.code == 1 and "-y" in again.err


def test_a_session_ends_by_the_clock(derain: Command) -> None:
    source = "lavfi:testsrc2=size=64x48:rate=25"
    answer = derain("live", source, *PLAIN, "--http", "127.0.0.1:0", "--seconds", "0.3")
    assert answer.code == 0 and "frames derained" in answer.err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--http", "nowhere"], "--http takes an address"),
        (["--http", "0.0.0.0:0", "--token", "a b"], "--token takes"),
        (["--to", "out.mp4"], "--to sends to"),
        (["--fps", "0"], "--fps"),
        (["--every", "0"], "--every"),
        (["--input-opt", "fast"], "key=value"),
    ],
)
def test_wrong_use_ends_with_two(derain: Command, words: list[str], text: str) -> None:
    address = [] if "--http" in words else ["--http", "127.0.0.1:0"]
    answer = derain("live", "lavfi:testsrc2=size=64x48:rate=25", *PLAIN, *address, *words)
    assert answer.code == 2
    assert text in answer.err


@pytest.mark.parametrize(
    ("asked", "can", "chosen"),
    [
        ((False, "8000", False), True, (False, "8000")),
        ((True, "8000", False), True, (True, "8000")),
        ((False, None, True), True, (False, None)),  # frames go to receivers: nobody looks here
        ((False, None, False), True, (True, None)),
        ((False, None, False), False, (False, live.HTTP)),
    ],
)
def test_where_it_is_shown(
    monkeypatch: pytest.MonkeyPatch,
    asked: tuple[bool, str | None, bool],
    can: bool,
    chosen: tuple[bool, str | None],
) -> None:
    monkeypatch.setattr(window, "can_open_window", lambda: can)
    assert live._choose_preview(*asked) == chosen


def test_a_window_that_cannot_be_opened_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "can_open_window", lambda: False)
    with pytest.raises(DerainError, match="leave --window out and look with a browser: --http 80"):
        live._choose_preview(True, "80", sends=False)
