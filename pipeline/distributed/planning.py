"""Making a plan: a film is decoded once, without the network, and cut into segments."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from derain.models import VideoModel
from derain.models.errors import DerainError
from derain.models.log import Log, say_nothing
from derain.pipeline.distributed.joinable import joinable
from derain.pipeline.distributed.plan import (
    Job,
    Plan,
    Segment,
    StreamNote,
    product_version,
    weights_hash,
    write_plan,
)
from derain.pipeline.distributed.segments import Context, context_of, cut_segments, still_shots
from derain.pipeline.streaming.checkpoints import fingerprint_of, is_replayable
from derain.pipeline.streaming.derain_video import open_video
from derain.pipeline.streaming.options import Interrupted, VideoOptions
from derain.pipeline.streaming.runner import output_video
from derain.pipeline.streaming.shot_detection import ShotDetector
from derain.pipeline.streaming.temporal_smoothing import load_chosen
from derain.pipeline.video import Encoding, VideoReader, VideoWriter
from derain.pipeline.video.containers import WRITTEN
from derain.pipeline.video.frames import Frame
from derain.pipeline.video.paths import files_of

THUMBNAIL = 8  # pixels a side
SEGMENT = 60.0  # seconds


@dataclass(slots=True)
class Film:
    """What is learned of a film by decoding it; the fields are those of a plan."""

    time_base: Fraction
    width: int
    height: int
    streams: list[StreamNote]
    pts: list[int] = field(default_factory=list)
    shots: list[int] = field(default_factory=list)
    repeats: list[int] = field(default_factory=list)
    thumbnails: list[bytes] = field(default_factory=list)
    first: int = 0
    last_duration: int = 0
    damaged: int = 0
    missing: str = ""


def thumbnail(frame: Frame) -> NDArray[np.uint8]:
    """The brightness of a frame in 8x8 pixels."""
    luma = np.ascontiguousarray(frame.luma())
    small = cv2.resize(luma, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def make_plan(
    source: str | Path,
    job: Job,
    options: VideoOptions,
    *,
    suffix: str | None = None,
    seconds: float = SEGMENT,
    model: VideoModel | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    stop: threading.Event | None = None,
    notice: Log = say_nothing,
) -> Plan:
    """Plan a film and write the plan into its job folder.

    Args:
        source: a file, or a URL that gives the same film each time.
        job: the folder; it must hold no plan.
        options: of the run, as `derain_video` takes them.
        suffix: the ending of the output; None is the source's.
        seconds: how long a segment should be at most; 0 divides no shot.
        model: a model under the contract, instead of the one that `options` name.
        progress: told frames decoded and frames expected (0: unknown).
        stop: set by somebody else to end early.
        notice: told what is done differently.

    Raises:
        DerainError: the source cannot be read twice, the options do not go with parts, or there is
            a plan already.
        Interrupted: `stop` was set.
    """
    name = str(source)
    _check(name, job, options)
    if files_of(name) == [Path(name)]:
        name = os.path.abspath(name)
    suffix = suffix or Path(name).suffix.lower()
    if suffix not in WRITTEN:
        suffix = ".mkv"
    loaded = model if model is not None else load_chosen(options)
    context = context_of(loaded, options.steady)
    job.make()
    with open_video(name, options, notice, threads=os.cpu_count() or 1) as reader:
        options = replace(options, encoding=_encoding(reader, job, options, suffix, notice))
        film = _mark(reader, options, progress, stop or threading.Event())
    segments = _segments_of(film, context, seconds)
    known = {each.name: getattr(film, each.name) for each in fields(film)}
    del known["thumbnails"]
    plan = Plan(
        product=product_version(),
        weights=weights_hash(options) if model is None else "",
        source=name,
        fingerprint=fingerprint_of(name, ""),
        options=options,
        suffix=suffix,
        warm_up=context.warm_up,
        segments=segments,
        **known,
    )
    write_plan(job, plan)
    return plan


def _segments_of(film: Film, context: Context, seconds: float) -> list[Segment]:
    """The segments, each with a thumbnail of the frame that its context begins with."""
    cut = cut_segments(
        film.pts,
        film.time_base,
        film.shots,
        film.repeats,
        context,
        seconds,
        first=film.first,
        still=still_shots(film.thumbnails, film.shots),
    )
    return [
        each.model_copy(update={"thumbnail": film.thumbnails[each.context_from].hex()})
        for each in cut
    ]


def _check(source: str, job: Job, options: VideoOptions) -> None:
    if not is_replayable(source):
        raise DerainError(
            f"{source} never gives the same frames again, so it cannot be shared out; save it to a "
            "file first."
        )
    if options.layers or options.resume:
        raise DerainError("--layers and --resume go with derain video alone; leave them out.")
    if job.plan.exists():
        raise DerainError(
            f"There is a plan in {job.folder} already; derain work {job.folder} goes on with it, "
            "or choose another folder."
        )


def _encoding(
    reader: VideoReader, job: Job, options: VideoOptions, suffix: str, notice: Log
) -> Encoding:
    """The encoder that the output would get, with what joining needs; tried on nothing."""
    video = output_video(reader.video, options)
    trial = VideoWriter(
        job.work / f"trial{suffix}", video, options.encoding, overwrite=True, notice=notice
    )
    try:
        return joinable(trial.choice)
    finally:
        trial.abandon()


def _mark(
    reader: VideoReader,
    options: VideoOptions,
    progress: Callable[[int, int], None],
    stop: threading.Event,
) -> Film:
    """Decode the film: time stamps, shots, repeats, thumbnails."""
    film = Film(
        reader.video.ticks,
        reader.video.width,
        reader.video.height,
        [
            StreamNote(index=s.index, kind=s.type, codec=s.codec_context.name)
            for s in [reader.stream, *reader.others]
            if s.codec_context is not None
        ],
    )
    detector = ShotDetector(scenes=options.scene_reset == "auto")
    last: Frame | None = None
    for frame in reader.frames():
        if stop.is_set():
            raise Interrupted("Stopped before the plan was complete; plan again.")
        detector.mark(frame)
        index = len(film.pts)
        film.pts.append(frame.pts)
        film.thumbnails.append(thumbnail(frame).tobytes())
        if frame.cut or not index:
            film.shots.append(index)
        if frame.repeat:
            film.repeats.append(index)
        if frame.warm_up:
            film.first = index + 1
        last = frame
        progress(index + 1, reader.video.frames)
    if last is None or film.first == len(film.pts):
        raise DerainError(f"There is no frame in that part of {reader.name}; check --start, --end.")
    image = last.image
    seconds = (image.duration or 0) * (image.time_base or Fraction(0))
    film.last_duration = round(seconds / last.time_base)
    film.damaged, film.missing = reader.damaged, reader.missing
    return film
