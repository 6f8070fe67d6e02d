"""`derain preview`: what rain a film shows, what becomes of it, how long all of it takes.

A coarse look over the film finds where it rains most; there a few frames go through the same
pipeline as all will. Nothing but the sheet is left behind.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from derain.models import Derainer, VideoModel, load_model
from derain.models.errors import DerainError
from derain.models.log import Log, say_nothing
from derain.pipeline.preview.estimate import Pace, Packets, estimate_size, video_packets
from derain.pipeline.preview.rain_kind import (
    HAZY,
    Transients,
    measure_haze,
    measure_transients,
    shows_drops,
    small,
    without_repeats,
)
from derain.pipeline.preview.sampling import sample_frames
from derain.pipeline.streaming.compare import contact_sheet, label
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import Report, VideoOptions
from derain.pipeline.streaming.temporal_smoothing import load_chosen
from derain.pipeline.video import Video, VideoReader, upright_rgb
from derain.pipeline.video.color import to_bytes

MOMENTS = 24  # places that the coarse look takes
SPOTS = 5  # of them that are derained
BUDGET = 24.0  # seconds for all spots together
WARM_UP, FIRST, LEAST = 3, 8, 6  # frames: before a spot, of the first spot, of any other
SHEET = 1920  # pixels across


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
class Findings:
    """What was seen and measured.

    Args:
        rainy: places of the coarse look where streaks fall, of `looked`.
        rain: mean share of pixels that streaks cover there.
        transmission: mean of the air; None where nothing estimates it.
        drops: the film is seen through drops on glass.
        changed: share of pixels that the network changed visibly, in the spot with most of them.
        rate: frames a second of the whole pipeline.
        seconds: that the whole film takes.
        size: bytes of the whole result, its other streams copied.
    """

    looked: int = 0
    rainy: int = 0
    rain: float = 0.0
    transmission: float | None = None
    drops: bool = False
    changed: float = 0.0
    rate: float = 0.0
    seconds: float = 0.0
    size: int = 0
    frames: int = 0
    spots: list[Spot] = field(default_factory=list)

    @property
    def kinds(self) -> list[str]:
        """What is seen, in words; empty where there is no rain."""
        hazy = self.transmission is not None and self.transmission < HAZY
        found = {
            "falling streaks": self.rainy >= max(1, round(0.1 * self.looked)),
            "haze": hazy,
            "drops on glass": self.drops,
        }
        return [kind for kind, seen in found.items() if seen]


def preview(source: str, options: VideoOptions, log: Log = say_nothing) -> Findings:
    """Look at a film and derain a few spots of it.

    Args:
        source: a file; a stream or a pipe cannot be wound.
        options: as for the whole film; start and end are not looked at.
        log: told what is being done.

    Raises:
        DerainError: no such film or network, or one that cannot be wound.
    """
    if not Path(source).is_file():
        raise DerainError(f"There is no file {source}; a preview winds to and fro in a file.")
    began = time.monotonic()
    model = load_chosen(options)
    loading = time.monotonic() - began
    log("looking where it rains most …")
    found, times = _look_over(source)
    log(f"deraining {len(times)} spots …")
    with VideoReader(source) as reader:
        video = reader.video
    found.frames = video.frames
    _derain_spots(source, model, options, times, video, found)
    found.seconds = loading + (found.frames / found.rate if found.rate else 0.0)
    return found


def _look_over(source: str) -> tuple[Findings, list[float]]:
    """The coarse look: what falls, and the times of the spots, in the film's order."""
    seen: list[tuple[float, Transients]] = []
    with VideoReader(source) as reader:
        for sample in sample_frames(reader, MOMENTS, 2 * 3):
            frames = without_repeats([small(image) for image in sample.images])[:3]
            if len(frames) == 3:
                seen.append((sample.time, measure_transients(*frames)))
            else:
                seen.append((sample.time, Transients(0, 0, 0, 0)))
    rainy = [transients.rain for _, transients in seen if transients.is_rain]
    found = Findings(looked=len(seen), rainy=len(rainy))
    found.rain = float(np.mean(rainy)) if rainy else 0.0
    # Where nothing falls, spread evenly: the sort keeps the order of equals.
    spread = sorted(range(len(seen)), key=lambda k: (k * SPOTS) % max(1, len(seen)))
    best = sorted(spread, key=lambda k: -round(seen[k][1].rain, 3))[:SPOTS]
    return found, [seen[k][0] for k in sorted(best)]


def _derain_spots(
    source: str,
    model: VideoModel,
    options: VideoOptions,
    times: list[float],
    video: Video,
    found: Findings,
) -> None:
    pace, made, given = Pace(), Packets(), Packets()
    haze_model = Derainer(load_model("swift"), engine="torch")
    drops, transmissions = 0, []
    until = time.monotonic() + BUDGET
    with TemporaryDirectory(prefix="derain-preview-") as folder:
        for number, begin in enumerate(times):
            frames = FIRST
            if pace.rate:
                share = (until - time.monotonic()) / (len(times) - number)
                frames = max(LEAST, min(round(video.rate), int(share * pace.rate) - WARM_UP))
            end = begin + frames / float(video.rate)
            target = Path(folder) / f"{number}.mkv"
            chosen = replace(options, start=begin, end=end, warm_up=WARM_UP)
            written: list[float] = []

            def note(report: Report, written: list[float] = written) -> None:
                written.append(time.monotonic())

            report = derain_video(source, target, chosen, model=model, progress=note)
            found.changed = max(found.changed, report.changed)
            pace.add(written, time.monotonic())
            made += video_packets(target)
            given += video_packets(source, begin, end)
            found.spots.append(_middle(source, target, begin, end))
            second = _second(source, begin)
            drops += shows_drops(second)
            haze = measure_haze(haze_model, second[0])
            transmissions += [haze] if haze is not None else []
    found.rate = pace.rate or 0.0
    found.drops = drops > len(times) / 2
    found.transmission = float(np.median(transmissions)) if transmissions else None
    all_bytes = Path(source).stat().st_size
    video_bytes = _video_bytes(source, all_bytes)
    found.size = all_bytes - video_bytes + estimate_size(made, given, video_bytes, found.frames)


def _video_bytes(source: str, all_bytes: int) -> int:
    """Bytes of the film's video: all but what its other streams say they take."""
    with VideoReader(source) as reader:
        length = reader.video.duration or 0
        others = [getattr(s, "bit_rate", None) or 0 for s in reader.others]
    return max(0, round(all_bytes - sum(others) * length / 8))


def _middle(source: str, target: Path, begin: float, end: float) -> Spot:
    """The frame in the middle of a spot; players may turn it, a sheet does not."""
    with (
        VideoReader(source, start=begin, end=end, warm_up=0) as before,
        VideoReader(target) as after,
    ):
        pairs = list(zip(before.frames(), after.frames(), strict=False))
        shown, clean = pairs[len(pairs) // 2]  # the only ones that are converted, which takes long
        return Spot(
            begin, to_bytes(upright_rgb(before, shown)), to_bytes(upright_rgb(after, clean))
        )


def _second(source: str, begin: float, count: int = 12) -> list[NDArray[np.float32]]:
    """Frames of a second and a half, thinned out."""
    frames = []
    with VideoReader(source, start=begin, end=begin + 1.5, warm_up=0) as reader:
        step = max(1, round(1.5 * float(reader.video.rate) / count))
        for frame in reader.frames():
            if frame.index % step == 0:
                frames.append(small(upright_rgb(reader, frame)))
    return frames


def write_sheet(path: Path, spots: list[Spot]) -> None:
    """One row a spot: before on the left, after on the right.

    Raises:
        DerainError: it cannot be written there.
    """
    # By the hundredth: each row needs a caption of its own.
    rows = {
        f"before, {clock(spot.time)}.{round(100 * spot.time) % 100:02d}": [
            spot.before,
            label(spot.after, "after"),
        ]
        for spot in spots
    }
    try:
        Image.fromarray(contact_sheet(rows, width=SHEET)).save(path)
    except (OSError, ValueError, KeyError) as error:
        raise DerainError(f"{path} cannot be written ({error}); write a .png or .jpg.") from error


def clock(seconds: float) -> str:
    """`0:07`, `1:02:03`."""
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    text = f"{rest // 60}:{rest % 60:02d}"
    return text if not hours else f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
