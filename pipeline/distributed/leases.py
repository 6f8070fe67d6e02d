"""Who works on what: files that only one worker can make, in a folder that all share.

The n-th attempt at segment 12 is the file `00012.n.lease`, made exclusively, so that two workers
cannot both have it; nobody ever takes a file over. Its holder writes to it every few seconds. When
a lease is silent for too long, or says that it failed, the next attempt is free for whoever makes
its file first. Ages are told by the clock of the file system, or of the store, alone, so the
machines' may differ.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil

from derain.pipeline.storage.shared import create, modified, rewrite
from derain.pipeline.storage.stores import SharedPath

ATTEMPTS = 3
EXPIRY = 120.0  # seconds of silence after which a worker is taken for dead
BEAT = 5.0  # seconds between two signs of life


def worker_name() -> str:
    """This process among all workers: machine (a container is one) and process."""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid").strip("pid:[]")
        return f"{socket.gethostname()}-{space}-{os.getpid()}"
    return f"{socket.gethostname()}-0-{os.getpid()}"


@dataclass(frozen=True, slots=True)
class Claim:
    """One attempt at one segment."""

    folder: SharedPath
    segment: int
    attempt: int

    @property
    def name(self) -> str:
        """Of its lease and of the part that it makes, without an ending."""
        return f"{self.segment:05d}.{self.attempt}"

    @property
    def lease(self) -> SharedPath:
        """Its file."""
        return self.folder / f"{self.name}.lease"

    @property
    def failure(self) -> SharedPath:
        """Where it says why it failed."""
        return self.folder / f"{self.name}.failed"

    def next(self) -> Claim:
        """The attempt after this one."""
        return Claim(self.folder, self.segment, self.attempt + 1)

    def take(self, worker: str) -> bool:
        """Make the lease; False where somebody has it."""
        return create(self.lease, json.dumps({"worker": worker, "frames": 0}))

    def beat(self, worker: str, frames: int) -> None:
        """Give a sign of life, with the number of frames done."""
        rewrite(self.lease, json.dumps({"worker": worker, "frames": frames}))

    def is_lost(self) -> bool:
        """Whether somebody else took this attempt for dead."""
        return self.next().lease.exists() or not self.lease.exists()

    def fail(self, reason: str) -> None:
        """Say why this attempt failed; the next one is free at once."""
        self.failure.write_text(reason, encoding="utf-8")

    def release(self) -> None:
        """Give this attempt back, as though it had never been."""
        self.lease.unlink(missing_ok=True)

    def holder(self) -> tuple[str, int]:
        """Who has it, and how many frames are done; empty while it is being written."""
        try:
            told = json.loads(self.lease.read_text(encoding="utf-8"))
            return str(told["worker"]), int(told["frames"])
        except (OSError, ValueError, KeyError, TypeError):
            return "", 0

    def reason(self) -> str | None:
        """Why it failed, where it did."""
        try:
            return self.failure.read_text(encoding="utf-8")
        except OSError:
            return None

    def is_dead(self, now: float, expiry: float) -> bool:
        """Whether its holder will not end it.

        Args:
            now: the time by the file system's clock.
            expiry: seconds of silence after which it is dead.
        """
        if self.failure.exists():
            return True
        try:
            silent = now - modified(self.lease)
        except OSError:
            return False  # released just now
        machine, _, process = self.holder()[0].rpartition("-")
        here = machine == worker_name().rpartition("-")[0]
        return silent > expiry or (here and not psutil.pid_exists(int(process)))


class Heartbeat(threading.Thread):
    """Signs of life while a segment is worked on.

    Args:
        claim: the attempt.
        worker: this worker's name.
        frames: tells how many frames are done.
        lost: set when somebody else has taken the attempt for dead.
        seconds: between two signs.
    """

    def __init__(
        self,
        claim: Claim,
        worker: str,
        frames: Callable[[], int],
        lost: threading.Event,
        seconds: float = BEAT,
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self.claim, self.worker, self.frames = claim, worker, frames
        self.lost, self.seconds, self.done = lost, seconds, threading.Event()

    def run(self) -> None:
        """Beat until the end."""
        while not self.done.wait(self.seconds):
            try:
                if not self.claim.is_lost():
                    self.claim.beat(self.worker, self.frames())
                    continue
            except FileNotFoundError:
                pass
            except OSError:
                continue  # a full disk, a network that hangs: others will see the silence
            self.lost.set()
            return

    def __enter__(self) -> Heartbeat:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.join()


def attempts_in(folder: SharedPath) -> dict[int, Claim]:
    """The latest attempt at each segment that was ever claimed."""
    latest: dict[int, Claim] = {}
    for entry in folder.iterdir():
        stem, ending = os.path.splitext(entry.name)
        if ending != ".lease":
            continue
        segment, _, attempt = stem.partition(".")
        claim = Claim(folder, int(segment), int(attempt))
        if claim.attempt > latest.get(claim.segment, claim).attempt or claim.segment not in latest:
            latest[claim.segment] = claim
    return latest


def file_clock(folder: SharedPath) -> float:
    """The time by the clock of a file system."""
    path = folder / f"{worker_name()}-{threading.get_ident()}.clock"
    path.write_text("")
    now = modified(path)
    path.unlink(missing_ok=True)
    return now
