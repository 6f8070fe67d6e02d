"""What several tests of the pipeline share."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from derain.models.output import Output
from derain.models.runtime.tiles import Tiles
from derain.models.video_model import VideoModel
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import Report, VideoOptions
from derain.pipeline.video import Encoding, Video, VideoWriter

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
PATIENCE = 240.0  # seconds until a test gives up on a busy machine


class Layered(VideoModel[tuple[()]]):
    """Takes a tenth off, and says that it was rain."""

    latency, multiple, halo = 0, 1, 0

    def initial_state(self, batch: int, height: int, width: int, **_: Any) -> tuple[()]:
        return ()

    def step(
        self, frame: Tensor, state: tuple[()], tiles: Tiles | None = None
    ) -> tuple[Output, tuple[()]]:
        return Output((frame - 0.1).clamp_min(0), streaks=torch.full_like(frame, 0.1)), state

    def flush(self, state: tuple[()], tiles: Tiles | None = None) -> list[Output]:
        return []


@pytest.fixture
def layered() -> nn.Module:
    return Layered()


class Contents(NamedTuple):
    """What is in a file, for comparing two."""

    times: list[float]  # of the frames, in seconds
    planes: list[list[np.ndarray]]
    packets: dict[int, list[tuple[float, bytes]]]  # time and payload, by stream index
    stream: dict[str, Any]

    def same_frames(self, other: Contents) -> bool:
        """Whether both have some frames, and these are equal to the last bit."""
        return len(self.planes) == len(other.planes) > 0 and all(
            np.array_equal(x, y)
            for one, two in zip(self.planes, other.planes, strict=True)
            for x, y in zip(one, two, strict=True)
        )


@pytest.fixture
def contents() -> Callable[[Path], Contents]:
    """`contents(path)`: decode the frames, read all other packets."""

    def read(path: Path) -> Contents:
        times, planes = [], []
        packets: dict[int, list[tuple[float, bytes]]] = {}
        with av.open(str(path)) as container:
            main = next(s for s in container.streams.video)
            main.codec_context.thread_type = "NONE"
            for packet in container.demux():
                if packet.stream.index != main.index:
                    if packet.size and packet.stream.type in ("audio", "subtitle"):
                        time = float(packet.pts * packet.time_base)
                        packets.setdefault(packet.stream_index, []).append((time, bytes(packet)))
                    continue
                for frame in packet.decode():
                    times.append(float(frame.pts * frame.time_base))
                    own = []
                    for plane in frame.planes:
                        wide = frame.format.components[0].bits > 8
                        rows = np.frombuffer(plane, np.uint16 if wide else np.uint8)
                        rows = rows.reshape(-1, plane.line_size // rows.itemsize)
                        own.append(rows[: plane.height, : plane.width].copy())
                    planes.append(own)
            context = main.codec_context
            stream = {
                "size": (context.width, context.height),
                "format": context.pix_fmt,
                "color": (
                    int(context.colorspace),
                    int(context.color_primaries),
                    int(context.color_trc),
                    int(context.color_range),
                ),
                "aspect": main.sample_aspect_ratio,
                "codec": context.name,
            }
        return Contents(times, planes, packets, stream)

    return read


@pytest.fixture
def run() -> Callable[..., tuple[Path, Report]]:
    """`run(source, name, model)`: derain a file into one of that name beside it."""

    def derain(
        source: Path, name: str, model: nn.Module, options: VideoOptions | None = None
    ) -> tuple[Path, Report]:
        target = source.parent / name
        options = options or VideoOptions(precision="fp32")
        return target, derain_video(source, target, options, model=model)

    return derain


@pytest.fixture
def turned_film(tmp_path: Path) -> Callable[..., Path]:
    """`turned_film(image, degrees, flipped)`: three frames of it as a turned camera stores them.

    The file says in its display matrix how a player has to turn them.
    """

    def make(image: NDArray[np.uint8], degrees: int, flipped: bool = False) -> Path:
        path = tmp_path / f"turned_{degrees}_{flipped}.mp4"
        turned = image[:, ::-1] if flipped else image  # a player turns first and flips then
        stored = np.ascontiguousarray(np.rot90(turned, -degrees // 90))
        unit = 1 << 16
        a, b = {0: (1, 0), 90: (0, -1), 180: (-1, 0), 270: (0, 1)}[degrees]
        across = -1 if flipped else 1
        matrix = (a * unit * across, b * unit, 0, -b * unit * across, a * unit, 0, 0, 0, 1 << 30)
        video = Video(stored.shape[1], stored.shape[0], display_matrix=matrix)
        with VideoWriter(path, video, Encoding("libx264", crf=4)) as writer:
            for index in range(3):
                writer.write_rgb(stored, index)
        return path

    return make


class Browser:
    """Debian's chromium, headless: a few words of the WebDriver protocol."""

    def __init__(self, port: int, profile: Path) -> None:
        self.base = f"http://127.0.0.1:{port}"
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        flags += ["--window-size=1280,900", f"--user-data-dir={profile}"]
        options = {"goog:chromeOptions": {"binary": CHROMIUM, "args": flags}}
        found = self._send("POST", "/session", {"capabilities": {"alwaysMatch": options}})
        self.base += f"/session/{found['sessionId']}"

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)["value"]

    def open(self, url: str) -> None:
        """Go to a page."""
        self._send("POST", "/url", {"url": url})

    def run(self, script: str) -> Any:
        """Run JavaScript; what it returns."""
        return self._send("POST", "/execute/sync", {"script": script, "args": []})

    def wait(self, script: str) -> Any:
        """Run it until it returns something true."""
        until = time.perf_counter() + PATIENCE
        while not (found := self.run(f"return {script}")):
            assert time.perf_counter() < until, f"never true: {script}"
            time.sleep(0.05)
        return found

    def drag(self, path: list[tuple[int, int]]) -> None:
        """Press the mouse at the first point, move along the others, let go."""
        moves = [
            {"type": "pointerMove", "x": x, "y": y, "duration": 20, "origin": "viewport"}
            for x, y in path
        ]
        press, let_go = {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}
        mouse = {"type": "pointer", "id": "mouse", "actions": [moves[0], press, *moves[1:], let_go]}
        self._send("POST", "/actions", {"actions": [mouse]})

    def download_to(self, folder: Path) -> None:
        """Where what is downloaded goes."""
        params = {"behavior": "allow", "downloadPath": str(folder)}
        body = {"cmd": "Browser.setDownloadBehavior", "params": params}
        self._send("POST", "/goog/cdp/execute", body)

    def screenshot(self) -> bytes:
        """The page as PNG."""
        return b64decode(self._send("GET", "/screenshot"))

    def close(self) -> None:
        """End the browser."""
        self._send("DELETE", "")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("needs chromium and chromedriver")
    driver = subprocess.Popen(
        [DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert driver.stdout is not None
        # "ChromeDriver was started successfully on port 12345."
        line = next(x for x in driver.stdout if "successfully on port" in x)
        page = Browser(int(line.rsplit(" ", 1)[1].strip(".\n")), tmp_path_factory.mktemp("profile"))
        yield page
        page.close()
    finally:
        driver.terminate()
        driver.wait()
