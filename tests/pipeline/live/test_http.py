"""The live server, without a browser: who may ask, the stream, the numbers, slow viewers."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import pytest
from torch import nn

from derain.pipeline.live.http import LiveServer
from derain.pipeline.live.session import Live, LiveOptions

SOURCE = "lavfi:testsrc2=size=64x48:rate=25,noise=alls=30:allf=t"  # no frame repeats
PATIENCE = 60.0


@contextmanager
def serving(model: nn.Module, token: str | None = None, source: str = SOURCE) -> Iterator[Any]:
    with Live(LiveOptions(source, resolution="source"), model) as live:
        server = LiveServer(live, ("127.0.0.1", 0), token)
        server.start()
        until = time.perf_counter() + PATIENCE
        while live.broadcaster.newest is None:
            assert time.perf_counter() < until, "no frame came"
            time.sleep(0.01)
        yield server
        server.shutdown()


def ask(
    server: LiveServer,
    path: str,
    headers: dict[str, str] | None = None,
    body: Any = None,
    raw: bytes | None = None,
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    data = raw if raw is not None or body is None else json.dumps(body)
    kind = {} if data is None else {"Content-Type": "application/json"}
    connection.request("GET" if data is None else "POST", path, data, kind | (headers or {}))
    answer = connection.getresponse()
    names = {name.title(): value for name, value in answer.getheaders()}
    found = answer.status, names, answer.read()
    connection.close()
    return found


class Viewer:
    """A viewer that reads part after part."""

    def __init__(self, server: LiveServer, path: str = "/stream?view=derained&pair=1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
        host = f"127.0.0.1:{server.port}"
        self.socket.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        self.file = self.socket.makefile("rb")
        self.headers = self._head()

    def _head(self) -> dict[str, str]:
        lines = []
        while (line := self.file.readline().decode().strip()) or not lines:
            if line:
                lines.append(line)
        pairs = (x.split(": ", 1) for x in lines[1:])
        return {name.title(): value for name, value in pairs}

    def part(self) -> tuple[dict[str, str], np.ndarray]:
        head = self._head()
        data = self.file.read(int(head["Content-Length"]))
        return head, cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)

    def close(self) -> None:
        self.file.close()
        self.socket.close()


def test_the_stream_moves_and_holds_both_frames(invert: nn.Module) -> None:
    with serving(invert) as server:
        viewer = Viewer(server)
        parts = [viewer.part() for _ in range(3)]
        numbers = [int(head["X-Frame"]) for head, _ in parts]
        assert numbers == sorted(set(numbers))
        assert all(float(head["X-Age"]) > 0 for head, _ in parts)
        both = parts[-1][1].astype(int)
        assert both.shape == (96, 64, 3)
        assert np.abs(both[:48] + both[48:] - 255).mean() < 12
        assert (parts[0][1] != parts[-1][1]).any()
        _, _, body = ask(server, f"/stats?viewer={viewer.headers['X-Viewer']}")
        status = json.loads(body)
        assert status["viewers"] == 1
        split = ("wait", "lookahead", "convert", "network", "jpeg", "delivery")
        median = {name: status["latency"][name][0] for name in (*split, "total", "own")}
        assert all(value >= 0 for value in median.values())
        viewer.close()
        plain = Viewer(server, "/stream?view=derained")
        assert plain.part()[1].shape == (48, 64, 3)
        plain.close()


def test_a_viewer_that_stops_reading_slows_nobody(identity: nn.Module) -> None:
    # Large and noisy, so that the sockets' buffers are full after a few frames.
    source = "lavfi:testsrc2=size=640x480:rate=25,noise=alls=60:allf=t"
    with serving(identity, source=source) as server:
        stalled, reading = Viewer(server), Viewer(server)
        stalled.part()
        for _ in range(15):
            reading.part()
        behind = server.viewers[int(stalled.headers["X-Viewer"])]
        ahead = server.viewers[int(reading.headers["X-Viewer"])]
        assert len(ahead) >= 14 and len(behind) < len(ahead)
        frames = server.live.frames
        reading.part()
        reading.part()
        assert server.live.frames > frames
        stalled.close()
        reading.close()


def test_only_this_machine_is_answered_without_a_token(identity: nn.Module) -> None:
    with serving(identity) as server:
        status, headers, page = ask(server, "/")
        assert status == 200 and b"derain live" in page
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert ask(server, "/", {"Host": "evil.example:8000"})[0] == 403
        assert ask(server, "/stats", {"Origin": "http://evil.example"})[0] == 403
        assert (
            ask(server, "/control", {"Origin": "http://evil.example"}, {"paused": True})[0] == 403
        )
        assert server.live.running.is_set()
        assert ask(server, "/elsewhere")[0] == 404
        assert ask(server, "/stream?view=nothing")[0] == 404


def test_a_wrong_token_is_refused_and_the_right_one_kept(identity: nn.Module) -> None:
    with serving(identity, token="secret") as server:
        assert server.url.endswith("/?token=secret")
        for path in ("/", "/?token=wrong", "/stats", "/stream", "/snapshot.png"):
            assert ask(server, path)[0] == 403
        assert ask(server, "/control", body={"paused": True})[0] == 403
        status, headers, _ = ask(server, "/?token=secret", {"Host": "camera.example"})
        assert status == 200 and "HttpOnly" in headers["Set-Cookie"]
        cookie = {"Cookie": "other=1; " + headers["Set-Cookie"].split(";")[0]}
        assert ask(server, "/stats", cookie)[0] == 200
        assert ask(server, "/control", cookie, {"new_shot": True})[0] == 200


def test_controls_and_snapshots(invert: nn.Module) -> None:
    with serving(invert) as server:
        status, _, body = ask(server, "/control", body={"streaks": 0, "haze": 0.5, "boldness": 1})
        assert status == 200
        shown = json.loads(body)
        assert (shown["streaks"], shown["haze"], shown["boldness"]) == (0, 0.5, 1)
        assert ask(server, "/control", body={"paused": True})[0] == 200
        assert not server.live.running.is_set()
        for wrong in ({"streaks": 2}, {"streaks": "all"}, {"paused": 1}, {"other": 1}, [], 3):
            status, _, body = ask(server, "/control", body=wrong)
            assert status == 400 and json.loads(body)["error"]
        status, headers, png = ask(server, "/snapshot.png?view=derained")
        assert status == 200 and "attachment" in headers["Content-Disposition"]
        image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
        assert image.shape == (48, 64, 3)


def test_an_offer_needs_aiortc_and_must_be_one(identity: nn.Module) -> None:
    with serving(identity) as server:
        if server.webrtc is not None:
            status, _, body = ask(server, "/offer", body="nonsense")
            assert status == 400 and "no WebRTC offer" in json.loads(body)["error"]
        server.webrtc = None
        status, _, body = ask(server, "/offer", body="nonsense")
        assert status == 400 and "derain[webrtc]" in json.loads(body)["error"]
        assert not server.viewers


COOKIE = {"Cookie": "derain=secret"}


def raw(server: LiveServer, data: bytes) -> bytes:
    """What comes back for these bytes until the server closes."""
    found = b""
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as connection:
        connection.sendall(data)
        while part := connection.recv(65536):
            found += part
    return found


def test_only_the_own_token_is_ever_set(identity: nn.Module) -> None:
    with serving(identity, token="secret") as server:
        for token in ("wrong", "x%0d%0aX-Evil:%201%0d%0a%0d%0a<script>", "%E2%98%83", "%ff", ""):
            for path in ("/", "/stats"):
                status, headers, body = ask(server, f"{path}?token={token}", COOKIE)
                assert status == 403 and "Set-Cookie" not in headers
                assert b"script" not in body
        _, headers, _ = ask(server, "/?token=secret")
        assert headers["Set-Cookie"].startswith("derain=secret; HttpOnly;")
        assert "Set-Cookie" not in ask(server, "/", COOKIE)[1]
        assert ask(server, "/", {"Cookie": "derain=wrong"})[0] == 403


def test_only_the_pages_own_script_runs(identity: nn.Module) -> None:
    with serving(identity) as server:
        nonces = set()
        for _ in range(2):
            _, headers, page = ask(server, "/")
            policy = headers["Content-Security-Policy"]
            nonce = policy.split("script-src 'nonce-")[1].split("'")[0]
            assert "unsafe" not in policy and "default-src 'none'" in policy
            assert page.count(f'nonce="{nonce}"'.encode()) == 2 and b"NONCE" not in page
            nonces.add(nonce)
        assert len(nonces) == 2


def test_pages_of_other_sites_are_refused(identity: nn.Module) -> None:
    with serving(identity) as server:
        embedded = {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
        link = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        for site in ("cross-site", "same-site"):
            where = {"Sec-Fetch-Site": site}
            assert ask(server, "/snapshot.png", where | embedded)[0] == 403
            assert ask(server, "/snapshot.png", where | link)[0] == 403
            assert ask(server, "/control", where | link, {"paused": True})[0] == 403
            assert ask(server, "/", where | link)[0] == 200
        status, headers, _ = ask(server, "/snapshot.png", {"Sec-Fetch-Site": "same-origin"})
        assert status == 200 and headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize("host", ["[", "[::1", "a:b", "evil.example", "127.0.0.1.evil.example", ""])
def test_hosts_that_are_not_this_machine(identity: nn.Module, host: str) -> None:
    with serving(identity) as server:
        head = f"GET /stats HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        status = raw(server, head.encode()).split()[1]
        assert status == (b"400" if host in ("[", "[::1", "a:b") else b"403")


@pytest.mark.parametrize(
    "body",
    [
        b'{"streaks": 1%s}' % (b"0" * 400),
        b'{"streaks": 1%s}' % (b"0" * 9000),
        b'{"streaks": 1e400}',
        b'{"streaks": NaN}',
        b'{"streaks": true}',
        b'{"new_shot": %s}' % (b"[" * 30000),
        b"{" * 30000,
        b"\xff\xfe",
        b"",
    ],
)
def test_nonsense_in_controls_changes_nothing(identity: nn.Module, body: bytes) -> None:
    with serving(identity) as server:
        status, _, answer = ask(server, "/control", raw=body)
        assert status == 400 and json.loads(answer)["error"]
        assert server.live.derainer.streaks == 1.0
        assert ask(server, "/control", raw=b" " * 100_000)[0] == 413


def test_only_networks_that_are_offered_can_be_chosen(identity: nn.Module) -> None:
    with serving(identity) as server:
        said = []
        for name in ("/etc/passwd", "/etc/not-there", "remaen"):
            status, _, answer = ask(server, "/control", body={"model": name})
            assert status == 400
            said.append(answer.decode().replace(name, ""))
        assert len(set(said)) == 1


def test_a_snapshot_is_encoded_once_a_frame(identity: nn.Module) -> None:
    with serving(identity) as server:
        shown = server.live.broadcaster.newest
        assert shown.png() is shown.png()


def test_the_session_ends_for_those_who_watch(
    make_clip: Callable[..., Any], identity: nn.Module
) -> None:
    with serving(identity, source=str(make_clip(frames=5))) as server:
        viewer = Viewer(server)
        viewer.part()
        server.live.__exit__(None)
        while viewer.file.readline():
            pass
        viewer.close()
