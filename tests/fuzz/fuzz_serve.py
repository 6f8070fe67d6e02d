"""Random requests to `derain serve`: none may be answered with 500, none may leave a traceback.

    python tests/fuzz/fuzz_serve.py --count 1000

A server is started on a new folder; requests are made of known routes, parameters and headers, most
of them changed somewhere, and sent as raw bytes. Seeds are given, so a failure can be had again.
The small slice that runs with the tests is in tests/pipeline/serve/test_fuzz.py.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from urllib.parse import quote

METHODS = ["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS", "TRACE", "BREW"]
KNOWN = {"": METHODS[:4], "/start": ["POST"], "/stop": ["POST"], "/preview": ["POST"]}
ACTIONS = ["", "/start", "/stop", "/preview", "/events", "/frame.jpg", "/preview.png", "/result"]
PATHS = [
    "/",
    "/api",
    "/api/jobs",
    "/api/jobs",
    "/api/jobs",
    "/api/films",
    "/page.js",
    "/openapi.json",
    "/docs",
    "/nothing",
]
NAMES = [
    "quality", "streaks", "haze", "codec", "crf", "name", "film", "hold", "token", "again", "at",
    "x",
]  # fmt: skip
VALUES = [
    "fast", "best", "0", "1", "-1", "0.5", "1e400", "nan", "inf", "true", "film.mp4", "../film.mp4",
    "..%2f..%2fetc%2fpasswd", "%00", "%ff%fe", "%ed%a0%80", "a" * 3000, "libx264", "", "None", "[]",
    "C:\\film.mkv", "film.mp4%0d%0aX-Y: z", "\N{SNOWMAN}.mp4", "1;DROP TABLE jobs", "{}",
]  # fmt: skip
BODIES = [
    b"", b"{}", b"[]", b"null", b"nonsense", b'{"quality": "fast"}', b'{"streaks": 1e999}',
    b'{"crf": NaN}', b'{"codec": "\\ud800"}', b'{"quality": "fast", "x": 1}', b"\xff" * 100,
    b'{"codec": "' + b"a" * 100 + b'"}', b"[" * 5000, b"#EXTM3U\nfile:///etc/passwd\n",
]  # fmt: skip
HEADERS = [
    "Range: bytes=0-1", "Range: bytes=9999-", "Range: bytes=5-1,x", "Range: bytes=0-0,2-3,-1",
    "Content-Type: application/json", "Content-Type: multipart/form-data", "Cookie: derain-serve=x",
    "Authorization: Bearer x", "Authorization: Basic \xff", "Origin: http://evil.example",
    "Sec-Fetch-Site: cross-site", "If-Range: x", "If-Modified-Since: x", "Expect: 100-continue",
    "Accept: */*;q=x", "X-Forwarded-For: 1.2.3.4", "Last-Event-ID: \x01",
    "Transfer-Encoding: chunked",
]  # fmt: skip


def request(random_: random.Random, port: int, ids: list[str]) -> bytes:
    """One request, as it goes over the wire."""
    path, method = random_.choice(PATHS), random_.choice(["GET", "GET", "POST"])
    if random_.random() < 0.6:
        job = random_.choice([*ids, "0" * 16, "..", "%2e%2e", "%00", quote(random_.choice(VALUES))])
        action = random_.choice(ACTIONS)
        path = f"/api/jobs/{job}{action}"
        method = random_.choice(KNOWN.get(action, ["GET"]))
    if random_.random() < 0.1:
        method = random_.choice(METHODS)
    pairs = [
        f"{random_.choice(NAMES)}={quote(random_.choice(VALUES), safe='%')}"
        for _ in range(random_.choice([0, 0, 1, 2, 4]))
    ]
    if pairs:
        path += "?" + "&".join(pairs)
    body = random_.choice(BODIES) if method in ("POST", "PATCH", "PUT") else b""
    lines = [f"Host: 127.0.0.1:{port}"] if random_.random() < 0.95 else ["Host: evil:x"]
    lines += random_.sample(HEADERS, random_.choice([0, 0, 1, 1, 3]))
    if random_.random() < 0.95:
        lines.append(f"Content-Length: {len(body)}")
    head = f"{method} {path} HTTP/1.1\r\n" + "\r\n".join([*lines, "Connection: close"]) + "\r\n\r\n"
    data = bytearray(head.encode("latin-1", "replace") + body)
    if random_.random() < 0.2:
        for _ in range(random_.randint(1, 4)):
            data[random_.randrange(len(data))] = random_.randrange(256)
    return bytes(data)


def answer(port: int, data: bytes, seconds: float = 2.0) -> int:
    """The status that comes back, 0 for none."""
    with socket.create_connection(("127.0.0.1", port), seconds) as client:
        client.settimeout(seconds)
        found = b""
        try:
            client.sendall(data)
            while b"\r\n" not in found and (more := client.recv(1000)):
                found += more
        except OSError:
            pass
    words = found.split(b"\r\n", 1)[0].split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def fuzz(port: int, count: int, seed: int) -> tuple[Counter[int], list[bytes]]:
    """Send `count` requests: how often each status came, and the requests that failed."""
    random_, statuses, failed = random.Random(seed), Counter[int](), []
    ids: list[str] = []
    for number in range(count):
        if number % 50 == 0:
            ids = job_ids(port)[-5:]
        data = request(random_, port, ids)
        status = answer(port, data)
        statuses[status] += 1
        if status >= 500 and status not in (503, 507):
            failed.append(data)
    return statuses, failed


def job_ids(port: int) -> list[str]:
    """The jobs that there are."""
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/jobs") as found:
        return [job["id"] for job in json.load(found)]


def main() -> int:
    """Start a server, send, report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    import numpy as np

    from derain.pipeline.video import write_rgb

    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as log:
        frames = np.random.default_rng(0).integers(0, 255, (5, 48, 64, 3)).astype(np.uint8)
        write_rgb(Path(folder) / "film.mp4", frames)
        program = "from derain.pipeline.cli.main import main; main()"
        command = [sys.executable, "-c", program, "serve", "--http", "127.0.0.1:0"]
        with subprocess.Popen(
            [*command, "--folder", folder], stderr=log, env=os.environ | {"DERAIN_DEBUG": "1"}
        ) as server:
            said = ""
            while "open " not in said:
                log.seek(0)
                said = log.read()
            port = int(said.split("open ")[1].split(":")[2].split("/")[0])
            statuses, failed = fuzz(port, asked.count, asked.seed)
            server.terminate()
        log.seek(0)
        said = log.read()
    for status, times in sorted(statuses.items()):
        sys.stdout.write(f"{status:4} {times}\n")
    for data in failed:
        sys.stdout.write(f"failed: {data!r}\n")
    if "Traceback" in said:
        sys.stdout.write(said)
    return 1 if failed or "Traceback" in said else 0


if __name__ == "__main__":
    sys.exit(main())
