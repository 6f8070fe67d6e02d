"""Leases: heartbeats, stale ones, those of processes that died."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from derain.pipeline.distributed.claiming import Claimer
from derain.pipeline.distributed.leases import Claim, Heartbeat
from derain.pipeline.distributed.plan import Job


@pytest.fixture
def job(tmp_path: Path) -> Job:
    made = Job(tmp_path / "job")
    made.make()
    return made


def age(claim: Claim, seconds: float) -> None:
    """Let a lease be silent for so long."""
    then = time.time() - seconds
    os.utime(claim.lease, (then, then))


def test_a_stale_lease_is_claimed_again_and_its_holder_learns_of_it(job: Job) -> None:
    first = Claimer(job, 1, worker="elsewhere-0-1").next()
    other = Claimer(job, 1, worker="elsewhere-0-2")
    assert first is not None and other.next() is None and not other.is_over()
    age(first, 600)
    second = other.next()
    assert second is not None and second.attempt == 2
    assert first.is_lost() and not second.is_lost()


def test_a_dead_process_of_this_machine_need_not_grow_stale(job: Job) -> None:
    claimer = Claimer(job, 1)
    machine = claimer.worker.rpartition("-")[0]
    assert Claim(job.leases, 0, 1).take(f"{machine}-{2**22 + 1}")  # beyond the largest number
    claim = claimer.next()
    assert claim is not None and claim.attempt == 2


def test_a_heartbeat_keeps_a_lease_and_tells_of_its_loss(job: Job) -> None:
    claim = Claimer(job, 1, worker="elsewhere-0-1").next()
    assert claim is not None
    age(claim, 600)
    lost = threading.Event()
    with Heartbeat(claim, "elsewhere-0-1", lambda: 7, lost, seconds=0.01):
        until(lambda: claim.holder() == ("elsewhere-0-1", 7))
        assert Claimer(job, 1, worker="elsewhere-0-2").next() is None
        assert claim.next().take("elsewhere-0-2")
        assert lost.wait(10)


def until(true: Callable[[], bool]) -> None:
    """Wait for something that will come."""
    for _ in range(1000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")
