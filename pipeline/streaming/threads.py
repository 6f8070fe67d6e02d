"""Threads that work in a line, with short queues between them, and end together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import Empty, Full, Queue
from typing import Any

QUEUE = 4  # frames between two threads: enough to smooth, little enough for 8K


class Stopped(Exception):  # noqa: N818 (not an error)
    """Another thread failed or the user stopped: leave quietly."""


class Channel:
    """A short queue that all threads leave at once when `stop` is set.

    Whoever waits for an item looks up, and gets None, when `alarm` is set.
    """

    def __init__(
        self, stop: threading.Event, alarm: threading.Event | None = None, length: int = QUEUE
    ) -> None:
        self.queue: Queue[Any] = Queue(length)
        self.stop, self.alarm = stop, alarm or threading.Event()

    def put(self, item: Any) -> None:
        """Put, waiting for room; Stopped when all is over."""
        while not self.stop.is_set():
            try:
                return self.queue.put(item, timeout=0.2)
            except Full:
                continue
        raise Stopped

    def __iter__(self) -> Iterator[Any]:
        """Items until None was put; Stopped when all is over."""
        while True:
            try:
                item = self.queue.get(timeout=0.2)
            except Empty:
                if self.stop.is_set():
                    raise Stopped from None
                if self.alarm.is_set():
                    yield None
                continue
            if item is None:
                return
            yield item


class Worker(threading.Thread):
    """A thread that remembers what it failed with, and then stops the others."""

    def __init__(self, name: str, work: Callable[[], None], stop: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self.work, self.stopping = work, stop
        self.error: BaseException | None = None

    def run(self) -> None:
        """Work until done or failed."""
        try:
            self.work()
        except Stopped:
            pass
        except BaseException as error:
            self.error = error
            self.stopping.set()
