"""How much memory `derain serve` takes for an upload of 20 MB and for one of 2 GB.

    python tests/bench/upload.py

Each goes to a new server, whose resident memory is looked at all the while.
The bodies are no films, so that both are refused once they are there. Not collected by pytest.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

PROGRAM = "from derain.pipeline.cli.main import main; main()"
PIECE = bytes(1 << 20)


@contextmanager
def serving(folder: str) -> Iterator[tuple[psutil.Process, int]]:
    """A server: its process and its port."""
    command = [sys.executable, "-c", PROGRAM, "serve", "--http", "127.0.0.1:0", "--folder", folder]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = next(line for line in process.stderr if line.startswith("open "))
        yield psutil.Process(process.pid), int(said.split(":")[2].split("/")[0])
        process.terminate()


def upload(size: int) -> dict[str, float]:
    """Send a body of `size` bytes: memory before, at most while it came, seconds."""
    with tempfile.TemporaryDirectory() as folder, serving(folder) as (process, port):
        time.sleep(1)
        before, most, over = process.memory_info().rss, 0, threading.Event()

        def look() -> None:
            nonlocal most
            while not over.wait(0.02):
                most = max(most, process.memory_info().rss)

        thread = threading.Thread(target=look)
        thread.start()
        began = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        headers = {"Content-Length": str(size)}
        pieces = (PIECE[: min(len(PIECE), size - at)] for at in range(0, size, len(PIECE)))
        connection.request("POST", "/api/jobs?name=film.mp4", pieces, headers)
        status = connection.getresponse().status
        seconds = time.perf_counter() - began
        over.set()
        thread.join()
        left = list(Path(folder).rglob("film.mp4"))
    assert status == 400 and not left
    return {
        "MB sent": size / 1e6,
        "MB before": round(before / 1e6, 1),
        "MB at most": round(most / 1e6, 1),
        "seconds": round(seconds, 1),
    }


def main() -> None:
    """Both uploads, a line of JSON each."""
    for size in (20 * 10**6, 2 * 10**9):
        sys.stdout.write(json.dumps(upload(size)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
