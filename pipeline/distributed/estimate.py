"""How long a job takes, what it reads and writes, and where more workers no longer help."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from itertools import islice

from derain.models.errors import DerainError, UsageError
from derain.models.log import say_nothing
from derain.pipeline.storage.stores import StorePath, is_stored
from derain.pipeline.streaming.derain_video import open_video
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.video.paths import files_of

TRIAL = 300  # frames that are decoded to see how fast that goes
JOINING = "planning and joining"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is to be done, and by what.

    hours: of film. rate: its frames a second. warm_up: frames that each segment wastes.
    segment: seconds. workers: GPUs, or sets of CPU threads.
    worker_fps: frames a second that one worker derains, decoding and encoding included.
    decode_fps: frames a second that planning decodes, of one film.
    mbit: megabits a second of the source, and about those of the parts.
    storage: megabytes a second that the shared storage gives to all together.
    films: how many; each is planned and joined by itself, side by side with others.
    """

    hours: float
    rate: float = 25.0
    warm_up: int = 104
    segment: float = 60.0
    workers: int = 1
    worker_fps: float
    decode_fps: float
    mbit: float = 8.0
    storage: float = 500.0
    films: int = 1


@dataclass(frozen=True, slots=True)
class Estimate:
    """Hours of wall time and gigabytes; `bound` says what holds the job up."""

    plan_hours: float
    work_hours: float
    join_hours: float
    gigabytes_read: float
    gigabytes_written: float
    useful_workers: int
    bound: str

    @property
    def hours(self) -> float:
        """From the beginning to the end."""
        return self.plan_hours + self.work_hours + self.join_hours


def estimate(load: Load) -> Estimate:
    """Estimate a job.

    Planning decodes every frame once, joining decodes it twice to compare (film and parts) and
    copies bytes; both go a film at a time, on as many workers as there are films. The work is
    divided by the workers, but no finer than by segments, and no faster than the storage reads.

    Args:
        load: what is to be done.

    Raises:
        UsageError: a number that must be above 0 is not.
    """
    for name in ("hours", "rate", "worker_fps", "decode_fps", "workers", "films", "storage"):
        if getattr(load, name) <= 0:
            raise UsageError(f"{name.replace('_', ' ')} must be above 0; check the estimate.")
    frames = load.hours * 3600 * load.rate
    length = min(load.segment or load.hours * 3600 / load.films, load.hours * 3600 / load.films)
    segments = max(1, round(load.hours * 3600 / length))
    waste = 1 + load.warm_up / (length * load.rate)
    size = load.hours * 3600 * load.mbit / 8 / 1000  # gigabytes of all films
    side_by_side = min(load.films, load.workers)
    plan = frames / load.decode_fps / side_by_side
    useful = min(load.workers, segments)
    rounds = -(-segments // useful)
    computing = rounds * length * load.rate * waste / load.worker_fps
    read, written = size * (waste + 2), size * 2  # plan, work, join; parts, films
    moving = size * (waste + 1) * 1000 / load.storage
    joining = max(2 * frames / load.decode_fps / side_by_side, 3 * size * 1000 / load.storage)
    bound = "the network"
    if moving > computing:
        bound = "the storage"
    elif plan + joining > computing:
        bound = JOINING
    elif useful < load.workers:
        bound = "segments"
    return Estimate(
        plan / 3600, max(computing, moving) / 3600, joining / 3600, read, written, useful, bound
    )


def explain(found: Estimate, load: Load) -> str:
    """An estimate in a few lines."""
    pace = "set the pace" if found.bound in ("segments", JOINING) else "sets the pace"
    return (
        f"{load.hours:.4g} h of film on {load.workers} workers: about {found.hours:.2g} h "
        f"(plan {found.plan_hours:.2g}, work {found.work_hours:.2g}, join {found.join_hours:.2g})\n"
        f"{found.gigabytes_read:,.1f} GB read, {found.gigabytes_written:,.1f} GB written; "
        f"{found.useful_workers} workers have something to do; {found.bound} {pace}"
    )


def size_of(source: str) -> int:
    """Bytes of a film, on a disk or in a store; 0 where nobody knows."""
    if is_stored(source):
        return StorePath(source).size()
    return sum(path.stat().st_size for path in files_of(source) if path.is_file())


def measure(source: str, options: VideoOptions, workers: int, worker_fps: float) -> Load:
    """The load that one film is: its length from its header, the decoder's speed from a trial.

    Args:
        source: the film.
        options: for opening it.
        workers: how many there would be.
        worker_fps: frames a second that one of them derains, as `derain preview` tells.

    Raises:
        DerainError: it cannot be opened, or does not say how long it is.
    """
    with open_video(source, options, say_nothing, threads=os.cpu_count() or 1) as reader:
        video = reader.video
        if not video.frames:
            raise DerainError(f"{source} does not say how long it is; plan it to see.")
        began = time.monotonic()
        decoded = sum(1 for _ in islice(reader.frames(), TRIAL))
        seconds = max(1e-6, time.monotonic() - began)
    hours = video.frames / float(video.rate) / 3600
    size = size_of(source)
    return Load(
        hours=hours,
        rate=float(video.rate),
        workers=workers,
        worker_fps=worker_fps,
        decode_fps=decoded / seconds,
        mbit=size * 8 / 1e6 / (hours * 3600),
    )
