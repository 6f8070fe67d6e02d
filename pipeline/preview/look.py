"""`derain preview`: what rain a film shows, what becomes of it, how long all of it takes.

A coarse look over the film finds where it rains most; there a few frames go through the same
pipeline as all will. Nothing but the sheet is left behind.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from derain.models import Derainer, load_model
from derain.models.errors import DerainError
from derain.models.log import Log, say_nothing
from derain.pipeline.preview.estimate import estimate_size
from derain.pipeline.preview.rain_kind import (
    HAZY,
    Transients,
    measure_haze,
    measure_transients,
    shows_drops,
)
from derain.pipeline.preview.sampling import sample_frames
from derain.pipeline.preview.spots import Derained, Spot, derain_spots
from derain.pipeline.streaming.compare import contact_sheet, label
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.streaming.temporal_smoothing import load_chosen
from derain.pipeline.video import VideoReader

MOMENTS = 24  # places that the coarse look takes
MOST = 0.8  # of the spots are seen through drops where the film is
NOTHING = Transients(0, 0, 0, 0)
SPOTS = 5  # of them that are derained
SHEET = 1920  # pixels across


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
    derained = derain_spots(source, model, options, times, log)
    found.spots = derained.spots
    found.changed = derained.changed
    found.drops = sum(map(shows_drops, derained.seconds)) >= MOST * len(times)
    haze_model = Derainer(load_model("swift"), engine="torch")
    hazes = [measure_haze(haze_model, second[0]) for second in derained.seconds]
    known = [haze for haze in hazes if haze is not None]
    found.transmission = float(np.median(known)) if known else None
    _estimate(source, derained, loading, found)
    return found


def _look_over(source: str) -> tuple[Findings, list[float]]:
    """The coarse look: what falls, and the times of the spots, in the film's order."""
    seen: list[tuple[float, Transients]] = []
    with VideoReader(source) as reader:
        for sample in sample_frames(reader, MOMENTS, 3):
            whole = len(sample.images) == 3
            seen.append((sample.time, measure_transients(*sample.images) if whole else NOTHING))
    rainy = [transients.rain for _, transients in seen if transients.is_rain]
    found = Findings(looked=len(seen), rainy=len(rainy))
    found.rain = float(np.mean(rainy)) if rainy else 0.0
    # Where nothing falls, spread evenly: the sort keeps the order of equals.
    spread = sorted(range(len(seen)), key=lambda k: (k * SPOTS) % max(1, len(seen)))
    best = sorted(spread, key=lambda k: -round(seen[k][1].rain, 3))[:SPOTS]
    return found, [seen[k][0] for k in sorted(best)]


def _estimate(source: str, derained: Derained, loading: float, found: Findings) -> None:
    """What the whole film takes, in seconds and bytes."""
    with VideoReader(source) as reader:
        found.frames = reader.video.frames
        length = reader.video.duration or 0
        others = [getattr(s, "bit_rate", None) or 0 for s in reader.others]
    found.rate = derained.pace.rate or 0.0
    found.seconds = loading + (found.frames / found.rate if found.rate else 0.0)
    all_bytes = Path(source).stat().st_size
    # The film's own are all but what its other streams say they take.
    video_bytes = max(0, round(all_bytes - sum(others) * length / 8))
    video_made = estimate_size(derained.made, derained.given, video_bytes, found.frames)
    found.size = all_bytes - video_bytes + video_made


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
        # zlib's own level takes a second longer for 6 % fewer bytes of a PNG.
        Image.fromarray(contact_sheet(rows, width=SHEET)).save(path, compress_level=3)
    except (OSError, ValueError, KeyError) as error:
        raise DerainError(f"{path} cannot be written ({error}); write a .png or .jpg.") from error


def clock(seconds: float) -> str:
    """`0:07`, `1:02:03`."""
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    text = f"{rest // 60}:{rest % 60:02d}"
    return text if not hours else f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
