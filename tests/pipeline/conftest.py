"""What several tests of the pipeline share."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
import time
import urllib.request
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn

from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import Report, VideoOptions
from derain.pipeline.video import Encoding, Video, VideoWriter

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
PATIENCE = 240.0


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


# Modules that processes of `Forked` have from the start: derain first, which sets torch's waiting.
LOADED = [
    "derain.models",
    "torch",
    "derain.pipeline.streaming.derain_video",
    "derain.pipeline.cli.main",
]
COMMAND = "from derain.pipeline.cli.main import main; main()"
# What a script of `Forked` begins with: its standard streams go to the test.
STREAMS = """
import os, sys
for number, pipe in enumerate(PIPES, 1):
    os.dup2(pipe.fileno(), number)
    pipe.close()
"""


class Forked:
    """A script in a process of its own that begins with torch, PyAV and the pipeline loaded.

    It is forked from one that loaded them once, where systems can: loading takes seconds. It has
    what the tests use of `subprocess.Popen`.
    """

    def __init__(self, script: str, *arguments: str) -> None:
        ways = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("forkserver" if "forkserver" in ways else "spawn")
        context.set_forkserver_preload(LOADED)
        readers, writers = zip(*(context.Pipe(duplex=False) for _ in range(2)), strict=True)
        begin = f"{STREAMS}sys.argv = {['derain', *arguments]!r}\n"
        names = {"__name__": "__main__", "PIPES": writers}
        self.process = context.Process(target=exec, args=(begin + script, names))
        self.process.start()
        for writer in writers:
            writer.close()
        out, err = (os.dup(reader.fileno()) for reader in readers)
        self.stdout, self.stderr = open(out, "rb"), open(err)  # noqa: SIM115

    @property
    def pid(self) -> int:
        """The number by which the system knows it."""
        assert self.process.pid is not None
        return self.process.pid

    def communicate(self) -> tuple[bytes, str, int]:
        """What it still says by both streams, and the exit code, once it has ended."""
        said = self.stdout.read(), self.stderr.read()
        return *said, self.wait()

    def wait(self) -> int:
        """The exit code, once it has ended."""
        self.process.join(PATIENCE)
        assert self.process.exitcode is not None, "it does not end"
        return self.process.exitcode

    def close(self) -> None:
        """Kill it if it still runs."""
        self.process.kill()
        self.process.join()
        self.stdout.close()
        self.stderr.close()


@pytest.fixture
def forked() -> Iterator[Callable[..., Forked]]:
    """`forked(*words, script=COMMAND)`: a process; what still runs after the test is killed."""
    started: list[Forked] = []

    def start(*words: str, script: str = COMMAND) -> Forked:
        started.append(Forked(script, *words))
        return started[-1]

    yield start
    for each in started:
        each.close()


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
