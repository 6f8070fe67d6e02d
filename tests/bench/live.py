"""Measure live: derained frames a second and latency with one viewer, beside `derain video`.

    python tests/bench/live.py [--model swift] [--seconds 30] [--size 640x360] [--rate 25]

The viewer is a process of its own that reads the stream as the page does. `derain video` runs first
on frames of the same source, so both numbers are of the same machine at the same load.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from derain.models import create_model, load_model
from derain.models.registry import ENTRIES, weights_file
from derain.pipeline.allocator import keep_memory
from derain.pipeline.live import Live, LiveOptions
from derain.pipeline.live_http import LiveServer
from derain.pipeline.stream import VideoOptions, derain_video

VIEWER = """
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1]) as stream:
    print(stream.headers["X-Viewer"], flush=True)
    while stream.read1(1 << 16):
        pass
"""


def network(name: str) -> Any:
    """The network with its weights, or with random ones: they cost the same."""
    if name in ENTRIES and ENTRIES[name].weights and weights_file(name) is None:
        sys.stderr.write("no trained weights; random ones cost the same\n")
        return create_model(name)
    return load_model(name)


def measure_video(model: Any, graph: str, frames: int) -> float:
    """Frames a second of `derain video`, after a short run that warms up."""
    options = VideoOptions(overwrite=True)
    with tempfile.TemporaryDirectory() as folder:
        for count in (8, frames):
            source = f"lavfi:{graph},trim=end_frame={count}"
            report = derain_video(source, Path(folder) / "out.mp4", options, model=model)
    return report.frames_out / report.seconds


def measure_live(model: Any, name: str, graph: str, seconds: float) -> dict[str, Any]:
    """What the page shows after so long, with one viewer."""
    options = LiveOptions(f"lavfi:{graph}", model=name, resolution="source")
    with Live(options, model) as live:
        server = LiveServer(live, ("127.0.0.1", 0)).start()
        stream = f"{server.url}stream?view=derained&pair=1"
        viewer = subprocess.Popen([sys.executable, "-c", VIEWER, stream], stdout=subprocess.PIPE)
        assert viewer.stdout is not None
        number = int(viewer.stdout.readline())
        time.sleep(3)
        frames, began = live.frames, time.perf_counter()
        time.sleep(seconds)
        rate = (live.frames - frames) / (time.perf_counter() - began)
        with urllib.request.urlopen(f"{server.url}stats?viewer={number}") as answer:
            status: dict[str, Any] = json.load(answer)
        viewer.kill()
        viewer.wait()
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
    asked = parser.parse_args()
    keep_memory()
    graph = f"testsrc2=size={asked.size}:rate={asked.rate}"
    model = network(asked.model)
    video = measure_video(model, graph, asked.frames)
    status = measure_live(model, asked.model, graph, asked.seconds)
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
