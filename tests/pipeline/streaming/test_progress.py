"""How far a run is: rates count this run's frames alone, lines tell the share that is done."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable

import pytest

from derain.pipeline.streaming.options import Report
from derain.pipeline.streaming.progress import Bar, JsonEvents, PlainLines, Reporter, summary


def test_frames_of_the_run_before_took_no_time_of_this_one() -> None:
    report = Report("in.mp4", "out.mp4", frames_out=1100, resumed_at=1000, seconds=10)
    assert "1100 frames, 10.0 s, 10.0 fps" in summary(report)


def test_a_line_tells_share_and_rate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 1.0, 11.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    lines = PlainLines()
    report = Report("in.mp4", "out.mp4", frames_out=1000, resumed_at=1000, total=2000)
    lines.frame(report)
    report.frames_out = 1100
    lines.frame(report)
    assert capsys.readouterr().err == "in.mp4: 1100/2000 (55%) frames, 10.0 fps\n"


def test_one_frame_has_no_rate(capsys: pytest.CaptureFixture[str]) -> None:
    PlainLines(interval=0).frame(Report("in.mp4", "out.mp4", frames_out=1, total=60))
    assert capsys.readouterr().err == "in.mp4: 1/60 (2%) frames\n"


def test_a_wrong_estimate_is_never_more_than_all(capsys: pytest.CaptureFixture[str]) -> None:
    lines = PlainLines(interval=0)
    lines.frame(Report("in.mp4", "out.mp4", frames_out=30, total=20))
    assert "30/20 (100%)" in capsys.readouterr().err
    lines.frame(Report("in.mp4", "out.mp4", frames_out=30))
    assert "in.mp4: 30 frames" in capsys.readouterr().err


NAME = "/in/\x1b[2J[/red][bold]\udcff.mp4"


@pytest.mark.parametrize("kind", [PlainLines, JsonEvents, Bar])
def test_names_and_tags_are_shown_not_obeyed(
    kind: Callable[[], Reporter], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    reporter = kind()
    report = Report(NAME, NAME, frames_out=3, notices=[f"the tag {NAME} is left out"])
    reporter.frame(report)
    reporter.done(report)
    reporter.failed(report, f"{NAME} fails", "error")
    reporter.table([(NAME, "done")])
    reporter.close()
    text = stream.getvalue()
    assert "[2J[/red][bold]" in text.replace("\n", "")
    assert "\x1b" not in text and "\udcff" not in text


def test_inputs_side_by_side_have_each_their_rate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 1.0, 2.0, 11.0, 22.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    lines = PlainLines()
    one, other = Report("a.mp4", "a"), Report("b.mp4", "b")
    for report in (one, other, one, other):
        report.frames_out += 100
        lines.frame(report)
    assert capsys.readouterr().err == "a.mp4: 200 frames, 10.0 fps\nb.mp4: 200 frames, 5.0 fps\n"
