"""How near the time that `derain preview` promises is to what a whole film takes.

    python tests/bench/preview.py FILM... --rounds 3

Each round previews a film and derains all of it. Beside other work the clock says little; CPU
seconds say whether what was left out or counted twice is small.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import SimpleNamespace

from derain.pipeline.preview import look, spots
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import VideoOptions

OPTIONS = VideoOptions(engine="auto")
CLOCKS: dict[str, Callable[[], float]] = {"CPU": time.process_time, "clock": time.monotonic}


def measure(film: str, clock: Callable[[], float], folder: Path) -> tuple[float, float]:
    """Seconds that are promised, and seconds that the whole film takes, by one clock."""
    look.time = spots.time = SimpleNamespace(monotonic=clock)
    promised = look.preview(film, OPTIONS).seconds
    began = clock()
    derain_video(film, folder / "clean.mp4", OPTIONS)
    (folder / "clean.mp4").unlink()
    return promised, clock() - began


def main() -> None:
    """Measure each film by each clock."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("films", nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        derain_video(chosen.films[0], folder / "warm.mkv", OPTIONS)  # imports, caches
        for film in chosen.films:
            for word, clock in CLOCKS.items():
                pairs = [measure(film, clock, folder) for _ in range(chosen.rounds)]
                ratio = median(promised / whole for promised, whole in pairs)
                whole = median(whole for _, whole in pairs)
                name = Path(film).name
                sys.stdout.write(f"{name}: {ratio:.2f} of {whole:.1f} s by {word}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
