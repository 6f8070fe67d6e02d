"""How fast a run is, what it waits for, and how much memory it takes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TypeVar

import torch

T = TypeVar("T")


class Timed(Iterator[T]):
    """Batches, and the seconds for which they were waited."""

    def __init__(self, batches: Iterator[T]) -> None:
        self.batches, self.waited = batches, 0.0

    def __next__(self) -> T:
        began = time.monotonic()
        try:
            return next(self.batches)
        finally:
            self.waited += time.monotonic() - began

    def take(self) -> float:
        """The seconds since the last call."""
        waited, self.waited = self.waited, 0.0
        return waited


def peak_memory(device: torch.device) -> float:
    """The most memory held so far, in GiB: of the GPU, else of this process; 0 where unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20
