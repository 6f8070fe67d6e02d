"""How fast and how late a live image is: rates, and durations split by where they were spent.

Durations are in seconds of `time.perf_counter`, measured by stamps that travel with the frame.
"""

from __future__ import annotations

import threading
import time
from collections import deque

KEPT = 300  # frames that percentiles are taken over
# Where a frame's time goes. wait: for the network. lookahead: for the frames after
# it that the network wants to see. convert: to RGB, and back to bytes. delivery: waking the viewer,
# and its socket or window.
SPLIT = ("wait", "lookahead", "convert", "network", "jpeg", "delivery")
OWN = ("wait", "convert", "jpeg", "delivery")  # what is ours, not the network's


class Times:
    """The last durations by name, and their percentiles. Any thread may add."""

    def __init__(self) -> None:
        self._rows: deque[dict[str, float]] = deque(maxlen=KEPT)
        self._lock = threading.Lock()

    def add(self, row: dict[str, float]) -> None:
        """Note one frame's durations in seconds; their sums are noted as `own` and `total`."""
        sums = {
            "own": sum(row.get(name, 0.0) for name in OWN),
            "total": sum(row.get(name, 0.0) for name in SPLIT),
        }
        with self._lock:
            self._rows.append(row | sums)

    def __len__(self) -> int:
        return len(self._rows)

    def percentiles(self) -> dict[str, tuple[float, float]]:
        """The median and the 95th percentile of each, in milliseconds."""
        with self._lock:
            rows = list(self._rows)
        return {
            name: (percentile(values, 0.5), percentile(values, 0.95))
            for name in (*SPLIT, "own", "total")
            if (values := sorted(1e3 * row[name] for row in rows if name in row))
        }


def percentile(ordered: list[float], share: float) -> float:
    """The value that `share` of the others do not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Rate:
    """How often something happens: over the last seconds, or since the last but one time."""

    def __init__(self, seconds: float = 3.0) -> None:
        self.seconds = seconds
        self._moments: deque[float] = deque(maxlen=KEPT)
        self._lock = threading.Lock()

    def tick(self) -> None:
        """It happened."""
        with self._lock:
            self._moments.append(time.perf_counter())

    def value(self) -> float:
        """Times a second; falls towards 0 where it stopped."""
        now = time.perf_counter()
        with self._lock:
            moments = list(self._moments)
        if len(moments) < 2:
            return 0.0
        recent = [x for x in moments if x > now - self.seconds]
        if len(recent) < 2:
            return 1 / (now - moments[-2])  # slower than once in a while, but not never
        return len(recent) / max(1e-6, now - recent[0])
