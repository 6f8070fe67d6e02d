"""A job's own process as the server sees it: started, asked to stop, its events read.

Events come through a file, which does not break when the server is gone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from derain.pipeline.serve.jobs import Process
from derain.pipeline.serve.work import Order

TAIL = 4  # last lines of what is no event, for the sentence about a crash
LINE = 1 << 20  # bytes of an event, at most

Event = dict[str, Any]  # what a job's process tells, by name


class JobProcess:
    """One order being carried out.

    Args:
        command: starts `work()`.
        log: file for events; what was in it goes.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.stopping = False
        self.tail: list[str] = []
        self._rest = b""
        with log.open("wb") as output:
            # In a session of its own: Ctrl-C in the server's terminal is the server's to handle.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=output,
                start_new_session=sys.platform != "win32",
            )
        self._log = log.open("rb")

    @property
    def known_as(self) -> Process:
        """How it is found again after a restart of the server."""
        created = psutil.Process(self._process.pid).create_time()
        return Process(pid=self._process.pid, created=created)

    def begin(self, order: Order) -> None:
        """Give it its order; before that it does nothing."""
        assert self._process.stdin is not None
        with suppress(OSError):  # it has died; its exit code tells
            self._process.stdin.write(order.model_dump_json().encode() + b"\n")
            self._process.stdin.flush()

    def stop(self) -> None:
        """Ask it to end; it keeps what is needed to go on."""
        self.stopping = True
        self._close_input()

    def wait(self, seconds: float) -> None:
        """Give it time to end, then end it."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ended(self) -> int | None:
        """Its exit code, negative for a signal; None while it works."""
        return self._process.poll()

    def events(self) -> Iterator[Event]:
        """The events since the last call."""
        *lines, self._rest = (self._rest + self._log.read(LINE)).split(b"\n")
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            if isinstance(event, dict) and "event" in event:
                yield event
            elif line.strip():
                self.tail = [*self.tail, line.decode(errors="replace")][-TAIL:]

    def close(self) -> None:
        """Let go of it, after its end."""
        self._close_input()
        self._log.close()

    def _close_input(self) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()


def lives(process: Process | None) -> psutil.Process | None:
    """A process of an earlier server that has not ended yet."""
    if process is None:
        return None
    try:
        found = psutil.Process(process.pid)
        same = abs(found.create_time() - process.created) < 1
        return found if same and found.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None
