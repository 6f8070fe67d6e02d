"""Measure live: derained frames a second and latency with one viewer, beside `derain video`.

    python tests/bench/live.py [--model swift] [--seconds 30] [--size 640x360] [--browser]

The viewer is a process of its own that reads the stream as the page does, or with --browser a
headless Chromium that draws the page without a GPU. `derain video` runs first on frames of the same
source, so both numbers are of the same machine at the same load; in a process of its own, since
OpenMP's threads wait differently, and the network takes a fifth longer, where two threads of a
process have computed. To wait as the command does, set GOMP_SPINCOUNT=20000 and
OMP_WAIT_POLICY=PASSIVE before.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from derain.models import create_model, load_model
from derain.models.registry import ENTRIES, is_ready
from derain.pipeline.cli.allocator import keep_memory
from derain.pipeline.live.http import LiveServer
from derain.pipeline.live.session import Live, LiveOptions
from derain.pipeline.streaming.derain_video import VideoOptions, derain_video

VIEWER = """
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1]) as stream:
    while stream.read1(1 << 16):
        pass
"""


def network(name: str) -> Any:
    """The network with its weights, or with random ones: they cost the same."""
    if name in ENTRIES and not is_ready(name):
        sys.stderr.write("no trained weights; random ones cost the same\n")
        return create_model(name)
    return load_model(name)


def measure_video(name: str, graph: str, frames: int) -> float:
    """Frames a second of `derain video`, after a short run that warms up."""
    keep_memory()
    model, options = network(name), VideoOptions(overwrite=True)
    with tempfile.TemporaryDirectory() as folder:
        for count in (8, frames):
            source = f"lavfi:{graph},trim=end_frame={count}"
            report = derain_video(source, Path(folder) / "out.mp4", options, model=model)
    return report.frames_out / report.seconds


@contextmanager
def viewer(page: str, browser: bool) -> Iterator[None]:
    """Somebody who looks at the page."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [sys.executable, "-c", VIEWER, f"{page}stream?view=derained&pair=1"]
        if browser:
            flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
            flags += ["--window-size=1280,900", "--remote-debugging-port=0"]
            command = [shutil.which("chromium") or "chromium", *flags]
            command += [f"--user-data-dir={profile}", page]
        looking = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            looking.kill()
            looking.wait()


def measure_live(
    model: Any, name: str, graph: str, seconds: float, browser: bool
) -> dict[str, Any]:
    """What the page shows after so long, with one viewer."""
    options = LiveOptions(f"lavfi:{graph}", model=name, resolution="source")
    with Live(options, model) as live:
        server = LiveServer(live, ("127.0.0.1", 0))
        server.start()
        with viewer(server.url, browser):
            until = time.perf_counter() + 30
            while not server.viewers and time.perf_counter() < until:
                time.sleep(0.1)
            time.sleep(5)
            frames, began = live.frames, time.perf_counter()
            time.sleep(seconds)
            rate = (live.frames - frames) / (time.perf_counter() - began)
            number = next(iter(server.viewers))  # an error here: nobody came
            with urllib.request.urlopen(f"{server.url}stats?viewer={number}") as answer:
                status: dict[str, Any] = json.load(answer)
        server.shutdown()
    return status | {"fps": rate}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="swift")
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--rate", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--frames", type=int, default=120, help="for derain video")
    parser.add_argument("--browser", action="store_true", help="Chromium looks")
    asked = parser.parse_args()
    graph = f"testsrc2=size={asked.size}:rate={asked.rate}"
    with ProcessPoolExecutor(1, get_context("spawn")) as alone:
        video = alone.submit(measure_video, asked.model, graph, asked.frames).result()
    keep_memory()
    model = network(asked.model)
    status = measure_live(model, asked.model, graph, asked.seconds, asked.browser)
    lines = [
        f"derain video: {video:.1f} frames a second",
        f"live, one viewer: {status['fps']:.1f} frames a second, "
        f"{status['dropped']} of {status['captured']} dropped",
    ]
    for part, (middle, high) in status["latency"].items():
        lines.append(f"{part:>10}: p50 {middle:6.1f} ms, p95 {high:6.1f} ms")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
