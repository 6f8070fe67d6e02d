"""Which segment a worker takes next, and when all are done."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from derain.pipeline.distributed.leases import (
    ATTEMPTS,
    EXPIRY,
    Claim,
    attempts_in,
    file_clock,
    worker_name,
)
from derain.pipeline.distributed.plan import Job
from derain.pipeline.storage.stores import SharedPath


@dataclass(slots=True)
class Claimer:
    """What one worker knows of the others' work.

    Args:
        job: the folder.
        count: segments of the plan.
        start: the segment to look at first: workers that begin at different places meet late.
        expiry: seconds of silence after which a worker is taken for dead.
    """

    job: Job
    count: int
    start: int = 0
    expiry: float = EXPIRY
    worker: str = field(default_factory=worker_name)
    _fresh: deque[int] = field(init=False)  # segments that nobody had when last seen
    _left: set[int] = field(init=False)  # segments whose part was not there when last seen

    def __post_init__(self) -> None:
        order = deque(range(self.count))
        order.rotate(-self.start % max(1, self.count))
        self._fresh, self._left = order, set(range(self.count))
        self._forget_taken()

    def next(self) -> Claim | None:
        """Claim a segment; None where there is none to be had now."""
        while self._fresh:
            claim = Claim(self.job.leases, self._fresh.popleft(), 1)
            if claim.take(self.worker):
                return claim
            self._forget_taken()
        return self._take_over()

    def is_over(self) -> bool:
        """Whether nothing is left that anybody works on or could."""
        self._left -= finished(self.job.parts)
        if not self._left:
            return True
        return self._left <= set(failed(self.job, self.expiry, self._left))

    def _forget_taken(self) -> None:
        """One look at the folder instead of one at each segment that others have."""
        taken = set(attempts_in(self.job.leases))
        self._fresh = deque(number for number in self._fresh if number not in taken)

    def _take_over(self) -> Claim | None:
        """Claim what a lost worker had, or what was given back."""
        self._left -= finished(self.job.parts)
        if not self._left:
            return None
        latest, now = attempts_in(self.job.leases), file_clock(self.job.leases)
        for number in sorted(self._left):
            last = latest.get(number)
            claim = Claim(self.job.leases, number, 1)
            if last is not None:
                if last.attempt >= ATTEMPTS or not last.is_dead(now, self.expiry):
                    continue
                claim = last.next()
            if claim.take(self.worker):
                if number not in finished(self.job.parts):
                    return claim
                claim.release()  # it was finished while we looked
        return None


def finished(parts: SharedPath) -> set[int]:
    """The segments whose parts are complete."""
    return {int(entry.name.partition(".")[0]) for entry in parts.iterdir()}


def failed(job: Job, expiry: float = EXPIRY, among: set[int] | None = None) -> dict[int, str]:
    """The segments that nobody will try again, and why.

    Args:
        job: whose leases and failures are read.
        expiry: seconds of silence after which a worker is taken for dead.
        among: the segments to look at; None is all without a part.
    """
    latest, now = attempts_in(job.leases), file_clock(job.leases)
    gone = {}
    done = finished(job.parts) if among is None else set()
    for number, claim in latest.items():
        if number in done or (among is not None and number not in among):
            continue
        if claim.attempt >= ATTEMPTS and claim.is_dead(now, expiry):
            gone[number] = claim.reason() or "its worker was lost"
    return gone


def forget_failures(job: Job) -> int:
    """Let the segments that failed be tried again; how many there were."""
    numbers = failed(job)
    for number in numbers:
        for attempt in range(1, ATTEMPTS + 1):
            claim = Claim(job.leases, number, attempt)
            claim.failure.unlink(missing_ok=True)
            claim.lease.unlink(missing_ok=True)
    return len(numbers)
