"""Wall and CPU time of a piece of work."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass


@dataclass(slots=True)
class Clock:
    """Wall and CPU seconds of a piece of work; all threads of this process and its children."""

    wall: float = 0.0
    cpu: float = 0.0

    def __enter__(self) -> Clock:
        self._start = time.perf_counter(), _cpu_seconds()
        return self

    def __exit__(self, *_: object) -> None:
        wall, cpu = self._start
        self.wall += time.perf_counter() - wall
        self.cpu += _cpu_seconds() - cpu

    _start: tuple[float, float] = (0.0, 0.0)


def _cpu_seconds() -> float:
    # The system's own count of this process is finer than the ticks of `os.times`.
    return time.process_time() + sum(os.times()[2:4])
