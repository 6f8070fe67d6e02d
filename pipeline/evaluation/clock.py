"""Wall and CPU time of pieces of work, measured again and again."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median


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


class Clocks:
    """Measurements of parts by name, each repeated; their medians count."""

    def __init__(self) -> None:
        self._taken: dict[str, list[Clock]] = defaultdict(list)

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        """Measure a part once more."""
        with Clock() as clock:
            yield
        self._taken[name].append(clock)

    def per_frame(self, frames: int) -> dict[str, dict[str, float]]:
        """`wall` and `cpu` seconds a frame of every part; each measurement was of `frames`."""
        return {
            name: {
                "wall": median(clock.wall for clock in clocks) / frames,
                "cpu": median(clock.cpu for clock in clocks) / frames,
            }
            for name, clocks in self._taken.items()
        }


def _cpu_seconds() -> float:
    # The system's own count of this process is finer than the ticks of `os.times`.
    return time.process_time() + sum(os.times()[2:4])
