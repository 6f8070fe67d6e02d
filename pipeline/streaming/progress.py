"""How far it is: a bar with rate and time left on a terminal, plain lines or JSON events elsewhere.

All of it goes to standard error; standard output stays clean for pipes.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Protocol

from derain.models.log import printable

if TYPE_CHECKING:
    from rich.progress import TaskID

    from derain.pipeline.streaming.options import Report


class Reporter(Protocol):
    """What the commands tell the user through."""

    def frame(self, report: Report) -> None:
        """One more frame of this file is done."""

    def done(self, report: Report) -> None:
        """A file is done."""

    def failed(self, report: Report, text: str, kind: str) -> None:
        """A file failed (`error`) or was stopped (`interrupted`).

        Args:
            report: of the file.
            text: one sentence.
            kind: "error" or "interrupted".
        """

    def table(self, results: list[tuple[str, str]]) -> None:
        """What became of several files: source and word."""

    def say(self, text: str, kind: str = "notice") -> None:
        """A sentence: a notice or an error."""

    def close(self) -> None:
        """Nothing more comes."""


def choose_reporter(log_json: bool = False) -> Reporter:
    """JSON events when asked, a bar on a terminal, else plain lines."""
    if log_json:
        return JsonEvents()
    return Bar() if sys.stderr.isatty() else PlainLines()


def summary(report: Report) -> str:
    """One line on a finished file."""
    if report.skipped:
        return f"{report.target} is there already; -y makes it again"
    # Those of a run before this one took no time of this one.
    rate = (report.frames_out - report.resumed_at) / report.seconds if report.seconds else 0.0
    text = f"{report.target}: {report.frames_out} frames, {report.seconds:.1f} s, {rate:.1f} fps"
    if report.shots > 1:
        text += f", {report.shots} shots"
    if report.repeats:
        text += f", {report.repeats} repeated frames"
    if report.damaged:
        text += f", {report.damaged} damaged places"
    return text


class PlainLines(Reporter):
    """A line every few seconds, for logs."""

    def __init__(self, interval: float = 5.0) -> None:
        self.interval = interval
        self._last = time.monotonic()
        # When the first frame of each source was done, and how many were by then.
        self._began: dict[str, tuple[float, int]] = {}

    def frame(self, report: Report) -> None:
        now = time.monotonic()
        began, first = self._began.setdefault(report.source, (now, report.frames_out))
        if now - self._last >= self.interval:
            self._last = now
            self._progress(report, (report.frames_out - first) / max(now - began, 1e-3))

    def _progress(self, report: Report, fps: float) -> None:
        done, total = report.frames_out, report.total
        of = f"/{total} ({min(1, done / total):.0%})" if total else ""
        rate = f", {fps:.1f} fps" if fps else ""  # nobody knows it of one frame
        self._write(f"{report.source}: {done}{of} frames{rate}")

    def done(self, report: Report) -> None:
        for notice in report.notices:
            self.say(f"{report.source}: {notice}")
        self._write(summary(report))

    def failed(self, report: Report, text: str, kind: str) -> None:
        for notice in report.notices:
            self.say(f"{report.source}: {notice}")
        self.say(text, kind)

    def table(self, results: list[tuple[str, str]]) -> None:
        for source, word in results:
            self._write(f"{word:14} {source}")

    def say(self, text: str, kind: str = "notice") -> None:
        self._write(f"{kind}: {text}" if kind == "error" else text)

    def close(self) -> None:
        pass

    def _write(self, text: str) -> None:
        sys.stderr.write(printable(text) + "\n")
        sys.stderr.flush()


class JsonEvents(PlainLines):
    """One JSON object a line: event (progress, done, notice, error) and its values."""

    def __init__(self, interval: float = 1.0) -> None:
        super().__init__(interval)

    def _progress(self, report: Report, fps: float) -> None:
        frames, total = report.frames_out, report.total
        self._event("progress", source=report.source, frames=frames, total=total, fps=round(fps, 3))

    def done(self, report: Report) -> None:
        values = {name: getattr(report, name) for name in report.__slots__}
        self._event("done", **values)

    def failed(self, report: Report, text: str, kind: str) -> None:
        values = {name: getattr(report, name) for name in report.__slots__}
        self._event(kind, text=text, **values)

    def table(self, results: list[tuple[str, str]]) -> None:
        self._event("end", results=[{"source": source, "result": word} for source, word in results])

    def say(self, text: str, kind: str = "notice") -> None:
        self._event(kind, text=text)

    def _event(self, event: str, **values: object) -> None:
        line = json.dumps({"event": event, "time": round(time.time(), 3)} | values)
        self._write(line.replace("\x7f", "\\u007f"))  # the one control that JSON lets pass


class Bar(Reporter):
    """A bar for each running file, with frames per second and the time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self.console = Console(stderr=True)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self.console,
            refresh_per_second=4,
        )
        self.progress.start()
        self.tasks: dict[str, TaskID] = {}

    def frame(self, report: Report) -> None:
        if report.source not in self.tasks:
            from rich.markup import escape

            name = report.source.rsplit("/", 1)[-1]
            self.tasks[report.source] = self.progress.add_task(
                escape(printable(name)),
                total=report.total or None,
                completed=report.resumed_at,
                rate="",
            )
        task = self.tasks[report.source]
        speed = self.progress.tasks[self.progress.task_ids.index(task)].speed
        self.progress.update(
            task, completed=report.frames_out, rate=f"{speed:.1f} fps" if speed else ""
        )

    def done(self, report: Report) -> None:
        self._take_down(report)
        self._print(summary(report))

    def failed(self, report: Report, text: str, kind: str) -> None:
        self._take_down(report)
        self.say(text, kind)

    def _take_down(self, report: Report) -> None:
        task = self.tasks.pop(report.source, None)
        if task is not None:
            self.progress.remove_task(task)
        for notice in report.notices:
            self.say(notice)

    def table(self, results: list[tuple[str, str]]) -> None:
        from rich.markup import escape
        from rich.table import Table

        table = Table("input", "result")
        for source, word in results:
            table.add_row(escape(printable(source)), word)
        self.console.print(table)

    def say(self, text: str, kind: str = "notice") -> None:
        style = "red" if kind == "error" else "yellow"
        self._print(text, style)

    def _print(self, text: str, style: str | None = None) -> None:
        self.console.print(printable(text), style=style, highlight=False, markup=False)

    def close(self) -> None:
        self.progress.stop()
