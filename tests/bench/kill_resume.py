"""Kill -9 at random moments of one film, go on each time, and compare every frame.

    python tests/bench/kill_resume.py [FILM] [--kills 10] [--seed 0] [--model swift]

Each kill comes when the run has written a random number of frames, or before the first of them;
`--resume` goes on, is killed again, and at last ends. Frames and time stamps must then be those of
a run that nobody disturbed. Without FILM, one of 300 frames with rain and sound is made.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import Report, VideoOptions
from derain.pipeline.video import Encoding

SECONDS = 0.5  # between two checkpoints, at least


def make_film(path: Path, frames: int = 300, size: tuple[int, int] = (256, 144)) -> Path:
    """A moving pattern with thin bright streaks, and a tone."""
    width, height = size
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as out:
        video = out.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = out.add_stream("aac", rate=48000, layout="mono")
        y, x = np.mgrid[:height, :width]
        for index in range(frames):
            image = 110 + 60 * np.sin((x + 2 * index) / 17) * np.cos(y / 11 + index / 40)
            for left, top in zip(
                rng.integers(0, width, 60), rng.integers(0, height, 60), strict=True
            ):
                image[top : top + 12, left] += 70
            grey = np.repeat(image.clip(0, 255).astype(np.uint8)[..., None], 3, -1)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(video.encode(frame))
            tone = np.sin(np.arange(1920 * index, 1920 * (index + 1)) / 20).astype(np.float32)
            sound = av.AudioFrame.from_ndarray(tone[None] / 4, "fltp", "mono")
            sound.sample_rate, sound.pts = 48000, 1920 * index
            out.mux(audio.encode(sound))
        out.mux(video.encode(None))
        out.mux(audio.encode(None))
    return path


def work(source: str, target: str, model: str, resume: bool) -> None:
    """One run, in a process of its own; it tells how far it is."""

    def progress(report: Report) -> None:
        sys.stdout.write(f"{report.frames_out}\n")
        sys.stdout.flush()

    options = VideoOptions(
        model=model, encoding=Encoding("ffv1"), checkpoint_seconds=SECONDS, resume=resume
    )
    report = derain_video(source, target, options, progress=progress)
    sys.stderr.write(f"resumed at {report.resumed_at}\n")


def run(source: Path, target: Path, model: str, resume: bool, kill_at: int | None) -> int:
    """Run until it ends, or until that many frames are written; how many were."""
    command = [sys.executable, __file__, str(source), "--work", str(target), "--model", model]
    command += ["--resume"] if resume else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    frames = 0
    if kill_at == 0:
        time.sleep(random.uniform(0, 3))  # while it starts
        os.kill(process.pid, signal.SIGKILL)
    for line in process.stdout:
        frames = int(line)
        if kill_at is not None and frames >= kill_at:
            os.kill(process.pid, signal.SIGKILL)
            break
    if process.wait() and kill_at is None:
        raise SystemExit(f"the run failed with exit code {process.returncode}")
    return frames


def hashes(path: Path) -> list[tuple[Fraction, str]]:
    """Time and contents of every frame."""
    with av.open(str(path)) as film:
        return [
            (frame.pts * frame.time_base, hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest())
            for frame in film.decode(video=0)
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("film", nargs="?", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="swift")
    parser.add_argument("--work", metavar="TARGET")
    parser.add_argument("--resume", action="store_true")
    asked = parser.parse_args()
    if asked.work:
        return work(str(asked.film), asked.work, asked.model, asked.resume)
    random.seed(asked.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = asked.film or make_film(folder / "film.mkv")
        count = run(source, folder / "whole.mkv", asked.model, False, None)
        killed = folder / "killed.mkv"
        moments = sorted(random.randrange(count) for _ in range(asked.kills - 1))
        for number, moment in enumerate([0, *moments]):
            frames = run(source, killed, asked.model, number > 0, moment)
            sys.stderr.write(f"killed at frame {frames} of {count}\n")
        run(source, killed, asked.model, True, None)
        before, after = hashes(folder / "whole.mkv"), hashes(killed)
        same = sum(one == other for one, other in zip(before, after, strict=False))
        left = sorted(path.name for path in folder.iterdir() if "killed." in path.name)
        sys.stdout.write(
            f"{same} of {len(before)} frames equal, {len(after)} written; left: {left}\n"
        )
        if before != after or left != ["killed.mkv"]:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
