"""`derain serve` as a process of its own, and a client of it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import numpy as np
import pytest

from derain.pipeline.serve.queue import QueueOptions
from derain.pipeline.serve.server import JobServer, ServeOptions
from derain.pipeline.video import Encoding, write_rgb

PATIENCE = 120.0
MAIN = "from derain.pipeline.cli.main import main; main()"


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Asks a server at a port of this machine."""

    port: int

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        if query:
            path += "?" + urlencode(query)
        if isinstance(body, dict):
            body, headers = json.dumps(body), {"Content-Type": "application/json"} | (headers or {})
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        names = {name.lower(): value for name, value in answer.getheaders()}
        reply = Reply(answer.status, names, answer.read())
        connection.close()
        return reply

    def wait(self, job_id: str, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Ask for a job until it is so."""
        end = time.monotonic() + PATIENCE
        while not until(job := self.ask("GET", f"/api/jobs/{job_id}").json):
            assert time.monotonic() < end and not job["error"], job
            time.sleep(0.05)
        return dict(job)


class Served(Client):
    """A running server."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.options, self.log = folder, options, folder.parent / "serve.log"
        self.start()

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        command = [sys.executable, "-c", MAIN, "serve", "--http", "127.0.0.1:0"]
        command += ["--folder", str(self.folder), *self.options]
        with self.log.open("ab") as log:
            before = log.tell()
            environment = os.environ | {"DERAIN_DEBUG": "1"}  # tracebacks would be in the log
            self.process = subprocess.Popen(command, stderr=log, env=environment)
        until = time.monotonic() + PATIENCE
        while "/\n" not in (said := self.log.read_text()[before:]) and "?token=" not in said:
            assert time.monotonic() < until and self.process.poll() is None, said
            time.sleep(0.02)
        self.url = said.split("open ")[1].split()[0]
        self.port = int(self.url.split(":")[2].split("/")[0])

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE)


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Served]]:
    """`serve(*options)`: a server of a new folder, ended at the end."""
    running: list[Served] = []

    def start(*options: str) -> Served:
        running.append(Served(tmp_path_factory.mktemp("films") / "folder", *options))
        return running[-1]

    yield start
    for each in running:
        if each.process.poll() is None:
            each.close()


# A process that does as a job's does, without a network: 40 frames, 10 before each word on the way.
WORKER = """
import json, os, sys, threading, time
order = json.loads(sys.stdin.readline())
name = os.path.basename(order["source"])
ended = threading.Event()
def wait():
    while os.read(0, 100): pass
    ended.set()
threading.Thread(target=wait, daemon=True).start()
def tell(event, **values):
    sys.stderr.write(json.dumps({"event": event} | values) + chr(10))
    sys.stderr.flush()
if order["kind"] == "preview":
    open(order["target"], "wb").write(b"sheet")
    tell("preview", rain=["falling streaks"], nothing=None, fps=2.0, seconds=20.0, size=1000)
    sys.exit(0)
if name.startswith("crash"):
    os.kill(os.getpid(), 11)
if name.startswith("wrong"):
    tell("error", text=f"{order['source']} is wrong; mend it.")
    sys.exit(1)
part = order["target"] + ".count"
done = int(open(part).read()) if os.path.exists(part) else 0
while done < 40:
    done += 1
    open(part, "w").write(str(done))
    tell("progress", frames=done, total=40, fps=20.0)
    if ended.wait(0.2 if name.startswith("slow") and done > 10 else 0.005):
        tell("interrupted", frames_out=done, total=40, notices=[])
        sys.exit(130)
open(order["target"], "wb").write(b"film" * 100)
tell("done", frames_out=40, total=40, notices=["A notice."], skipped=False)
"""


class Within(Client):
    """A server in this process, whose jobs are done by `WORKER`."""

    def __init__(self, folder: Path, token: str | None = None, **options: Any) -> None:
        worker = QueueOptions([sys.executable, "-c", WORKER])
        self.folder = folder
        self.server = JobServer(
            ServeOptions(folder=folder, queue=worker, **options), ("127.0.0.1", 0), token
        )
        self.server.start()
        self.port = self.server.port

    def close(self) -> None:
        self.server.shutdown()


@pytest.fixture
def within(tmp_path: Path) -> Iterator[Callable[..., Within]]:
    """`within(token=None, **options)`: a server of `tmp_path`, ended at the end."""
    running: list[Within] = []

    def start(token: str | None = None, **options: Any) -> Within:
        running.append(Within(tmp_path, token, **options))
        return running[-1]

    yield start
    for each in running:
        each.close()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`film(frames, size)`: a small film with bright specks that last a frame."""

    def make(frames: int = 12, size: tuple[int, int] = (64, 48)) -> Path:
        path = tmp_path_factory.mktemp("film") / "rain.mp4"
        rng = np.random.default_rng(0)
        width, height = size
        ground = np.add.outer(np.arange(height), np.arange(width))

        def frame(index: int) -> np.ndarray:
            grey = ((ground + 2 * index) % 200).astype(np.uint8)
            grey[rng.random(grey.shape) < 0.01] = 255
            return np.repeat(grey[..., None], 3, 2)

        write_rgb(path, map(frame, range(frames)), 25, Encoding(crf=12))
        return path

    return make
