"""One order from standard input, events to standard error."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from derain.pipeline.serve import work as module
from derain.pipeline.serve.jobs import Settings
from derain.pipeline.serve.work import Order, _options, work

Give = Callable[[str], int]


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> Iterator[Give]:
    """`give(line)`: do what it orders, in this process, whose input then stays open."""
    reader, writer = os.pipe()

    def run(line: str) -> int:
        class Input(io.StringIO):
            def fileno(self) -> int:
                return reader

        monkeypatch.setattr("sys.stdin", Input(line))
        # It ends the process when its input does, which is this one here.
        monkeypatch.setattr(module, "_stop_at_the_end", lambda: None)
        return work()

    yield run
    os.close(writer)
    os.close(reader)


def order(source: Path, target: Path, kind: str = "video", **settings: Any) -> str:
    given = {"kind": kind, "source": str(source), "target": str(target), "device": "cpu"}
    return json.dumps(given | {"settings": {"quality": "fast"} | settings}) + "\n"


def events(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_film_is_made_and_told(
    give: Give, make_clip: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_clip(frames=8)
    target = source.with_name("clean.mp4")
    assert give(order(source, target, crf=30)) == 0
    told = events(capsys)
    assert told[-1]["event"] == "done" and told[-1]["frames_out"] == 8
    assert target.is_file()


def test_a_preview_is_a_sheet_and_what_it_found(
    give: Give, make_clip: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_clip(frames=12)
    sheet = source.with_name("sheet.png")
    assert give(order(source, sheet, "preview")) == 0
    (told,) = events(capsys)
    assert told["event"] == "preview" and told["fps"] > 0 and told["size"] > 0
    assert sheet.read_bytes().startswith(b"\x89PNG")


def test_a_failure_is_one_sentence(
    give: Give, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert give(order(tmp_path / "none.mp4", tmp_path / "sheet.png", "preview")) == 1
    (told,) = events(capsys)
    assert told["event"] == "error" and "There is no file" in told["text"]

    def broken(given: Order) -> int:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(module, "_preview", broken)
    assert give(order(tmp_path / "a.mp4", tmp_path / "sheet.png", "preview")) == 1
    (told,) = events(capsys)
    assert told["text"] == "derain itself met a fault (ZeroDivisionError: division by zero)."


def test_without_an_order_nothing_is_done(give: Give) -> None:
    assert give("") == 130


def test_dials_of_a_job_are_those_of_the_command() -> None:
    settings = Settings(
        quality="best", streaks=0.5, boldness=0.1, speed="fast", protect=("0,0,4,4",), crf=20
    )
    options = _options(settings, "cpu")
    assert (options.model, options.device, options.resume) == ("swift-plus", "cpu", True)
    assert (options.streaks, options.boldness, options.speed) == (0.5, 0.1, "fast")
    assert options.protect == ("0,0,4,4",) and options.encoding.crf == 20
