"""Leases: nobody has what another has, and what a lost worker had is done by others."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import pytest

from derain.pipeline.distributed.claiming import Claimer, failed, forget_failures
from derain.pipeline.distributed.leases import ATTEMPTS
from derain.pipeline.distributed.plan import Job


@pytest.fixture
def job(tmp_path: Path) -> Job:
    made = Job(tmp_path / "job")
    made.make()
    return made


def test_many_at_once_claim_each_segment_once(job: Job) -> None:
    claimed: Counter[int] = Counter()
    lock = threading.Lock()

    def work(index: int) -> None:
        claimer = Claimer(job, 200, start=index * 25, worker=f"other-0-{index}")
        while (claim := claimer.next()) is not None:
            with lock:
                claimed[claim.segment] += 1

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert claimed == dict.fromkeys(range(200), 1)


def test_what_is_given_back_is_as_though_it_had_never_been_taken(job: Job) -> None:
    claimer = Claimer(job, 1)
    for _ in range(ATTEMPTS + 1):
        claim = claimer.next()
        assert claim is not None and claim.attempt == 1
        claim.release()


def test_three_failures_end_a_segment_and_the_rest_goes_on(job: Job) -> None:
    claimer = Claimer(job, 2)
    done = []
    while (claim := claimer.next()) is not None:
        if claim.segment == 0:
            claim.fail("It is broken.")
        else:
            done.append(claim)
            (job.parts / f"{claim.name}.nut").touch()
    assert len(done) == 1 and claimer.is_over()
    assert failed(job) == {0: "It is broken."}
    assert forget_failures(job) == 1
    again = Claimer(job, 2).next()
    assert again is not None and (again.segment, again.attempt) == (0, 1)
