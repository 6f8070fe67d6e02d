"""Mutated video files through the reader and through `derain_video`, in bounded time.

    python tests/fuzz/fuzz_video.py --count 2000

Small files of several containers and codecs are flipped, cut and spliced; each goes through both in
a process that may die, under a limit of processor time: a busy machine is no hang. What counts as a
failure: a crash, a hang, an error that is no `DerainError` (a user would see a traceback), or a
finished output with fewer frames than were decoded. Seeds are given, so a failure can be had again.
Not collected by pytest.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import queue
import random
import sys
import tempfile
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import psutil

from derain.models.errors import DerainError, VideoError

KINDS = [
    ("a.mp4", "libx264", "yuv420p", "aac"),
    ("b.mkv", "libx264", "yuv420p", "aac"),
    ("c.webm", "libvpx-vp9", "yuv420p", "libopus"),
    ("d.ts", "mpeg2video", "yuv420p", "mp2"),
    ("e.avi", "mpeg4", "yuv420p", "mp2"),
    ("f.mkv", "ffv1", "yuv420p10le", None),
    ("g.mov", "mjpeg", "yuvj420p", "pcm_s16le"),
    ("h.mkv", "libx264", "yuv420p10le", None),
    ("i.gif", "gif", "rgb8", None),
    ("j.y4m", "wrapped_avframe", "yuv420p", None),
]
TARGETS = [".mkv", ".mkv", ".mp4", ".mov", ".ts", ".avi"]


def make_seeds(folder: Path) -> list[Path]:
    """A small file of every kind, 20 frames of 48x32."""
    import av
    import numpy as np

    paths = []
    for name, codec, pixel_format, audio in KINDS:
        path = folder / name
        options = {"preset": "ultrafast"}
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25, options=options)
            stream.width, stream.height, stream.pix_fmt = 48, 32, pixel_format
            sound = container.add_stream(audio, rate=48000) if audio else None
            y, x = np.mgrid[:32, :48]
            for index in range(20):
                rgb = np.stack(
                    [(3 * x + 7 * index) % 256, (5 * y) % 256, (x * y + index) % 256], -1
                )
                frame = av.VideoFrame.from_ndarray(rgb.astype(np.uint8), format="rgb24")
                frame = frame.reformat(format=pixel_format)
                frame.pts, frame.time_base = index, Fraction(1, 25)
                container.mux(stream.encode(frame))
            if sound is not None:
                layout = sound.codec_context.layout.name
                resampler = av.AudioResampler(sound.codec_context.format.name, layout, 48000)
                tone = np.sin(np.arange(38400) * 0.05).astype(np.float32)[None] * 0.3
                frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 48000, 0
                fifo = av.AudioFifo()
                for ready in resampler.resample(frame):
                    fifo.write(ready)
                while (ready := fifo.read(sound.codec_context.frame_size or 1024)) is not None:
                    container.mux(sound.encode(ready))
                container.mux(sound.encode(None))
            container.mux(stream.encode(None))
        paths.append(path)
    return paths


def films(folder: Path) -> list[Path]:
    """The films of matrix.py, one of every kind of stream."""
    sys.path.insert(0, str(Path(__file__).parent))
    from sources import FILMS

    made = []
    for name, make in FILMS.items():
        (folder / name).mkdir()
        made.append(make(folder / name))
    return made


def mutate(data: bytes, other: bytes, rng: random.Random) -> tuple[str, bytes]:
    """One of five kinds of damage."""
    kind = rng.choice(["flip", "burst", "cut", "splice", "hole"])
    spoiled = bytearray(data)
    size = len(spoiled)
    if kind == "flip":
        for _ in range(rng.choice([1, 3, 10, 50])):
            spoiled[rng.randrange(size)] ^= 1 << rng.randrange(8)
    elif kind == "burst":
        start = rng.randrange(size)
        for place in range(start, min(size, start + rng.randrange(1, 400))):
            spoiled[place] = rng.randrange(256)
    elif kind == "cut":
        del spoiled[rng.randrange(size) :]
    elif kind == "splice":
        start = rng.randrange(size)
        piece = rng.randrange(len(other))
        spoiled[start:] = other[piece : piece + rng.randrange(1, len(other))]
    else:
        start = rng.randrange(size)
        del spoiled[start : start + rng.randrange(1, max(2, size // 4))]
    return kind, bytes(spoiled)


def work(inbox: Any, outbox: Any) -> None:
    """Take (path, target), run both, answer with a word and a detail."""
    import os

    import av
    import torch
    from torch import nn

    from derain.models.networks.per_frame import PerFrame
    from derain.pipeline.streaming.derain_video import derain_video
    from derain.pipeline.streaming.options import Report, VideoOptions
    from derain.pipeline.video import Encoding, VideoReader

    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # encoders talk
    model = PerFrame(nn.Identity())
    options = VideoOptions(precision="fp32", encoding=Encoding("mpeg4"), overwrite=True)
    while True:
        source, target = inbox.get()
        word, detail = "done", ""
        decoded = 0
        try:
            try:
                with VideoReader(source, threads=1) as reader:
                    for frame in reader.frames():
                        reader.to_rgb(frame)
                        decoded += 1
            except VideoError:
                word = "refused"
            report = Report(source, target)
            try:
                derain_video(source, target, options, model=model, report=report)
                # A stream of a frame or two is too short to be known by itself.
                known = "mpegts" if target.endswith(".ts") else None
                with av.open(target, format=known) as container:
                    written = sum(1 for _ in container.decode(video=0))
                if written < report.frames_in:
                    word, detail = "LOST", f"{written} of {report.frames_in} frames"
            except DerainError as error:
                word = "refused"
                if "\n" in str(error):
                    word, detail = "TRACEBACK", str(error)
                if Path(target).exists():
                    word, detail = "BROKEN FILE", str(error)
        except BaseException as error:
            word, detail = "TRACEBACK", f"{type(error).__name__}: {error}"
        for left in Path(target).parent.glob("out*"):
            left.unlink()
        outbox.put((word, detail, decoded))


class Victim:
    """The process that does the work; a new one when it dies or hangs."""

    def __init__(self) -> None:
        self.context = multiprocessing.get_context("spawn")
        self.start()

    def start(self) -> None:
        """A fresh process."""
        self.inbox, self.outbox = self.context.Queue(), self.context.Queue()
        self.process = self.context.Process(
            target=work, args=(self.inbox, self.outbox), daemon=True
        )
        self.process.start()

    def seconds(self) -> float:
        """Processor time that it has used."""
        used = psutil.Process(self.process.pid).cpu_times()
        return float(used.user + used.system)

    def run(self, source: Path, target: Path, limit: float) -> tuple[str, str, int]:
        """One file; CRASH or HANG where no answer comes.

        Args:
            source: the file.
            target: the output to make.
            limit: seconds of processor time; 20 times that by the clock, for those that wait.
        """
        began, until = self.seconds(), time.monotonic() + 20 * limit
        self.inbox.put((str(source), str(target)))
        while True:
            try:
                return self.outbox.get(timeout=0.2)
            except queue.Empty:
                if not self.process.is_alive():
                    code = self.process.exitcode
                    self.start()
                    return "CRASH", f"exit code {code}", 0
                used = self.seconds() - began
                if used > limit or time.monotonic() > until:
                    break
        self.process.kill()
        self.start()
        return "HANG", f"{used:.1f} s of processor time", 0


def main() -> int:
    """Run; the exit code is 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="number to go on from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=30.0, help="CPU seconds for one file")
    parser.add_argument("--minutes", type=float, default=60.0, help="for all")
    parser.add_argument("--films", action="store_true", help="damage those of sources.py")
    parser.add_argument("--keep", type=Path, help="folder for files that failed")
    parser.add_argument("--json", type=Path, help="write the counts there")
    arguments = parser.parse_args()
    counts: Counter[str] = Counter()
    by_kind: Counter[str] = Counter()
    failures = []
    began = time.monotonic()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seeds = films(folder) if arguments.films else make_seeds(folder)
        victim = Victim()
        victim.run(seeds[0], folder / "out.mkv", 120)  # loads the packages
        for number in range(arguments.first, arguments.first + arguments.count):
            if time.monotonic() - began > 60 * arguments.minutes:
                break
            rng = random.Random(f"{arguments.seed}/{number}")
            seed, other = rng.choice(seeds), rng.choice(seeds)
            kind, data = mutate(seed.read_bytes(), other.read_bytes(), rng)
            path = folder / f"mutant{seed.suffix}"
            target = folder / f"out{rng.choice(TARGETS)}"
            path.write_bytes(data)
            start = victim.seconds()
            word, detail, _ = victim.run(path, target, arguments.limit)
            slowest = max(slowest, victim.seconds() - start)
            counts[word] += 1
            by_kind[kind] += 1
            if word.isupper():
                failures.append(
                    {
                        "number": number,
                        "file": f"{seed.parent.name}/{seed.name}",
                        "target": target.suffix,
                        "kind": kind,
                        "what": word,
                        "detail": detail[:300],
                    }
                )
                sys.stdout.write(f"{json.dumps(failures[-1])}\n")
                sys.stdout.flush()
                if arguments.keep:
                    arguments.keep.mkdir(parents=True, exist_ok=True)
                    (arguments.keep / f"{number}{seed.suffix}").write_bytes(data)
            path.unlink()
        victim.process.kill()
    result = {
        "files": sum(counts.values()),
        "results": counts,
        "mutations": by_kind,
        "slowest_cpu_seconds": round(slowest, 2),
        "failures": failures,
    }
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
