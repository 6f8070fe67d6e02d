"""A few spots of a film, derained as all of it will be: what they look like, pace and size.

All but the last spot are as short as their image allows; the last has the time that is left, and
tells the pace: a run of a few frames begins and ends more than it works.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from derain.models import VideoModel
from derain.models.log import Log, say_nothing
from derain.pipeline.preview.estimate import Pace, Packets, video_packets
from derain.pipeline.preview.sampling import SmallFrames
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.model_loading import open_derainer
from derain.pipeline.streaming.options import Report, VideoOptions
from derain.pipeline.video import VideoReader, upright_rgb
from derain.pipeline.video.color import to_bytes

BUDGET = 24.0  # seconds for all spots together
WARM_UP, LEAST, LAST_LEAST = 1, 5, 9  # frames: before a spot, of a spot, of the last spot
WEIGHT = 4  # times as much time for the last spot as for any other
SECOND, THINNED = 1.5, 12  # seconds that drops on glass are looked for in, frames of these


@dataclass(frozen=True, slots=True)
class Spot:
    """One place of the film, before and after.

    Args:
        time: seconds from the beginning.
        before, after: (H, W, 3) uint8, the same frame.
    """

    time: float
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]


@dataclass(slots=True)
class Derained:
    """What became of the spots.

    Args:
        spots: in the order of the film.
        seconds: a list of small frames of each, thinned out, as of `SmallFrames`.
        changed: share of pixels that changed visibly, in the spot with most of them.
        pace: of the whole pipeline.
        made, given: packets of the results, and of the same times of the source.
    """

    spots: list[Spot] = field(default_factory=list)
    seconds: list[list[NDArray[np.float32]]] = field(default_factory=list)
    changed: float = 0.0
    pace: Pace = field(default_factory=Pace)
    made: Packets = Packets()  # noqa: RUF009 (frozen)
    given: Packets = Packets()  # noqa: RUF009 (frozen)


def derain_spots(
    source: str,
    model: VideoModel,
    options: VideoOptions,
    times: list[float],
    log: Log = say_nothing,
) -> Derained:
    """Derain a second or less of a film at each of some times.

    Args:
        source: a file.
        model: under the contract.
        options: as for the whole film; start and end are not looked at.
        times: seconds from the beginning.
        log: told of each spot before it is derained.

    Raises:
        DerainError: it cannot be decoded or derained.
    """
    done = Derained()
    # The engine is compiled once, not for each spot; what it is asked for it has by then.
    engine = open_derainer(options, model, say_nothing, layers=False).model
    precision = "auto" if options.precision == "int8" else options.precision
    options = replace(options, engine="auto", precision=precision)
    with VideoReader(source) as reader:
        rate = reader.video.rate
    until = time.monotonic() + BUDGET
    with TemporaryDirectory(prefix="derain-preview-") as folder:
        for number, begin in enumerate(times):
            log(f"deraining spot {number + 1} of {len(times)} …")
            last = number == len(times) - 1
            least = frames = LAST_LEAST if last else LEAST
            if done.pace.rate:
                shares = WEIGHT + len(times) - 1 - number
                share = (until - time.monotonic()) * (WEIGHT if last else 1) / shares
                frames = max(least, min(round(rate), int(share * done.pace.rate) - WARM_UP))
            end = begin + frames / float(rate)
            target = Path(folder) / f"{number}.mkv"
            chosen = replace(options, start=begin, end=end, warm_up=WARM_UP)
            report = _derain(source, target, chosen, engine, done.pace)
            done.changed = max(done.changed, report.changed)
            done.made += video_packets(target)
            done.given += video_packets(source, begin, end)
            before, second = _before(source, begin, report.frames_out // 2)
            done.spots.append(Spot(begin, before, _frame(target, report.frames_out // 2)))
            done.seconds.append(second)
    return done


def _derain(
    source: str, target: Path, options: VideoOptions, model: VideoModel, pace: Pace
) -> Report:
    written: list[float] = []
    report = derain_video(
        source,
        target,
        options,
        model=model,
        progress=lambda report: written.append(time.monotonic()),
    )
    pace.add(written, time.monotonic())
    return report


def _before(
    source: str, begin: float, shown: int
) -> tuple[NDArray[np.uint8], list[NDArray[np.float32]]]:
    """The frame of a spot that is shown, and small ones of a second and a half, thinned out.

    Args:
        source: a file.
        begin: seconds.
        shown: number of the frame, from `begin` on.
    """
    small_ones: list[NDArray[np.float32]] = []
    with VideoReader(source, start=begin, end=begin + SECOND, warm_up=0) as reader:
        step = max(1, round(SECOND * float(reader.video.rate) / THINNED))
        small = SmallFrames(reader)
        for frame in reader.frames():
            if frame.index % step == 0:
                small_ones.append(small(frame.image))
            if frame.index <= shown:
                chosen = frame
        return to_bytes(upright_rgb(reader, chosen)), small_ones


def _frame(path: Path, number: int) -> NDArray[np.uint8]:
    """A frame of a file, as players show it."""
    with VideoReader(path) as reader:
        frame = next(frame for frame in reader.frames() if frame.index == number)
        return to_bytes(upright_rgb(reader, frame))
