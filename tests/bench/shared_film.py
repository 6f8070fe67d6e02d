"""What sharing a film out costs, and what two workers gain over one process with two threads.

    python tests/bench/shared_film.py [FILM] [--pairs 3] [--model swift] [--seconds 8]

In turn, each in a process of its own, the film is derained by one process with two threads, by two
workers with one thread each, and planned, worked on and joined by one process. Printed are the
medians of wall time and CPU seconds (of whole processes, children and loading included), the share
of planning and joining in the time of one process, and how much faster two workers are. Without
FILM, one of 1,200 frames in six shots is made. Other work on the machine slows all alike; CPU
seconds tell less of it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from derain.pipeline.distributed.join import join
from derain.pipeline.distributed.plan import Job
from derain.pipeline.distributed.planning import make_plan
from derain.pipeline.distributed.pool import PoolOptions, derain_with_workers
from derain.pipeline.distributed.work import Worker, WorkerOptions, set_threads
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import VideoOptions

Times = dict[str, list[float]]  # of a part: wall time and CPU seconds
RUNS = ("one", "two", "steps")


def make_film(path: Path, shots: int = 6, frames: int = 200) -> Path:
    """A texture that the camera pans over, another one in each shot, and thin bright streaks."""
    width, height = 320, 180
    rng = np.random.default_rng(0)
    wide = width + 2 * frames
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25, options={"crf": "18"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        for index in range(shots * frames):
            at = 2 * (index % frames)
            if not at:
                noise = rng.random((height, wide), np.float32)
                texture = cv2.GaussianBlur(noise, (0, 0), 7)
                texture = cv2.normalize(texture, None, 20, 180, cv2.NORM_MINMAX)
            image = texture[:, at : at + width].copy()
            for left, top in rng.integers(0, (width, height), (90, 2)):
                image[top : top + 14, left] += 70
            grey = np.repeat(image.clip(0, 255).astype(np.uint8)[..., None], 3, -1)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return path


def seconds() -> list[float]:
    """Wall time and CPU seconds, of this process and of its children that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return [time.monotonic(), sum(each.ru_utime + each.ru_stime for each in used)]


def child(run: str, film: str, target: Path, model: str, length: float) -> Times:
    """One run in this process."""
    options = VideoOptions(model=model, overwrite=True)
    told: Times = {}

    def timed(name: str, work: Callable[[], object]) -> None:
        before = seconds()
        work()
        told[name] = [after - b for after, b in zip(seconds(), before, strict=True)]

    if run == "one":
        set_threads(2)
        derain_video(film, target, options)
    elif run == "two":
        derain_with_workers(film, str(target), options, PoolOptions(2, segment=length, threads=1))
    else:
        job = Job(target.with_name("job"))
        timed("plan", lambda: make_plan(film, job, options, seconds=length))
        own = WorkerOptions(threads=2)
        timed("work", lambda: Worker(job, own).run(threading.Event()))
        timed("join", lambda: join(job, target, overwrite=True))
    return told


def main() -> None:
    """Read the command line, run all in turn, print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("film", nargs="?")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--model", default="swift")
    parser.add_argument("--seconds", type=float, default=8.0, help="of a segment")
    parser.add_argument("--run", choices=RUNS, help=argparse.SUPPRESS)
    parser.add_argument("--target", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        told = child(given.run, given.film, given.target, given.model, given.seconds)
        sys.stdout.write(json.dumps(told))
        return
    found: dict[str, list[list[float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        film = given.film or str(make_film(Path(name, "film.mp4")))
        for pair in range(given.pairs):
            for run in RUNS if pair % 2 == 0 else RUNS[::-1]:
                folder = Path(name, f"{pair}-{run}")
                folder.mkdir()
                command = [sys.executable, __file__, film, "--run", run, "--model", given.model]
                command += ["--target", str(folder / "out.mp4"), "--seconds", str(given.seconds)]
                threads = "1" if run == "two" else "2"
                before = seconds()
                done = subprocess.run(
                    command,
                    env=os.environ | {"OMP_NUM_THREADS": threads},
                    stdout=subprocess.PIPE,
                    check=True,
                    text=True,
                )
                whole = [after - b for after, b in zip(seconds(), before, strict=True)]
                for part, times in {run: whole, **json.loads(done.stdout)}.items():
                    found.setdefault(part, []).append(times)
                    sys.stderr.write(f"{part}: wall {times[0]:.2f} s, CPU {times[1]:.2f} s\n")
    wall, cpu = (
        {part: statistics.median(each[kind] for each in times) for part, times in found.items()}
        for kind in (0, 1)
    )
    for part in found:
        sys.stdout.write(f"{part}: wall {wall[part]:.2f} s, CPU {cpu[part]:.2f} s\n")
    for kind, of in (("wall", wall), ("CPU", cpu)):
        share = 100 * (of["plan"] + of["join"]) / of["one"]
        sys.stdout.write(f"plan and join of one process, {kind}: {share:.1f} %\n")
        sys.stdout.write(f"two workers, {kind}: {of['one'] / of['two']:.2f} times as fast\n")


if __name__ == "__main__":
    main()
