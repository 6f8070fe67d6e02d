"""What is waited for is counted, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import torch

from derain.stages.training.reports.meter import Timed, peak_memory


def slow(count: int) -> Iterator[int]:
    for number in range(count):
        time.sleep(0.02)
        yield number


def test_waiting_counts_and_work_does_not() -> None:
    batches = Timed(slow(3))
    assert next(batches) == 0
    time.sleep(0.2)  # work
    assert next(batches) == 1
    waited = batches.take()
    assert 0.04 <= waited < 0.2
    assert batches.take() == 0
    assert list(batches) == [2]
    assert batches.take() >= 0.02


def test_what_fails_was_waited_for_too() -> None:
    batches = Timed(iter(()))
    with pytest.raises(StopIteration):
        next(batches)
    assert batches.take() > 0


def test_memory_is_at_most_that_of_the_machine() -> None:
    assert 0.05 < peak_memory(torch.device("cpu")) < 4096
