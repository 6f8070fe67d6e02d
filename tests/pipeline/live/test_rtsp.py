"""RTSP: a server of one H.264 stream over TCP (RFC 2326), and what derain makes of it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

import av
import pytest
from torch import nn

from derain.models.errors import DerainError
from derain.pipeline.live import capture
from derain.pipeline.live.session import Live, LiveOptions
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import Interrupted, Report, VideoOptions
from derain.pipeline.streaming.shot_runner import Shots
from derain.pipeline.video import Encoding, VideoReader

LOSSLESS = VideoOptions(precision="fp32", encoding=Encoding("ffv1"))
SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=rain\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n"
    "a=control:track\r\n"
)
ANSWERS = {
    "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n",
    "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n",
    "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
}


class Interleaved:
    """A file for FFmpeg's RTP muxer: each packet goes into the connection in its frame."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def write(self, data: bytes) -> int:
        channel = int(192 <= data[1] < 224)  # 1: RTCP
        self.connection.write(b"$" + bytes([channel]) + len(data).to_bytes(2, "big") + data)
        return len(data)


class Session(StreamRequestHandler):
    """One client."""

    server: Server

    def handle(self) -> None:
        self.server.connections.append(self.connection)
        with suppress(OSError):
            while line := self.rfile.readline():
                self._answer(line.split()[0].decode())

    def _answer(self, method: str) -> None:
        words = {}
        while line := self.rfile.readline().strip().decode():
            name, _, words[name.lower()] = line.partition(": ")
        udp = method == "SETUP" and "TCP" not in words["transport"]
        status = "461 Unsupported transport" if udp else "200 OK"
        head = f"RTSP/1.0 {status}\r\nCSeq: {words['cseq']}\r\n"
        body = SDP if method == "DESCRIBE" else ""
        self.wfile.write(f"{head}{ANSWERS.get(method, '')}\r\n{body}".encode())
        if method == "PLAY":
            self._play()

    def _play(self) -> None:
        options = {"packetsize": "1400"} | ({"rtpflags": "send_bye"} if self.server.bye else {})
        connection: Any = Interleaved(self.wfile)
        with (
            av.open(str(self.server.clip)) as clip,
            av.open(connection, "w", format="rtp", container_options=options) as out,
        ):
            stream = out.add_stream_from_template(clip.streams.video[0])
            for packet in clip.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    out.mux(packet)


class Server(ThreadingTCPServer):
    """Give everybody who asks the whole clip; then say goodbye, or nothing more."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, clip: Path, bye: bool, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Session)
        self.clip, self.bye = clip, bye
        self.connections: list[socket.socket] = []
        self.url = f"rtsp://127.0.0.1:{self.server_address[1]}/rain"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients come and go as they like; that is no error."""

    def kill(self) -> None:
        """End without a word."""
        self.shutdown()
        self.server_close()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


Serve = Callable[..., Server]


@pytest.fixture
def serve(make_clip: Callable[..., Path]) -> Any:
    """`serve(bye=True, port=0)`: serve fifty frames."""
    servers = []
    clip = make_clip("in.ts", frames=50)  # a transport stream repeats the codec's parameters

    def start(bye: bool = True, port: int = 0) -> Server:
        servers.append(Server(clip, bye, port))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


def test_every_frame_of_a_stream_is_kept_until_goodbye(
    serve: Serve, identity: nn.Module, contents: Callable[[Path], Any], tmp_path: Path
) -> None:
    server, target = serve(), tmp_path / "out.mkv"
    report = derain_video(server.url, target, LOSSLESS, model=identity)
    sent, kept = contents(server.clip), contents(target)
    told = [line for line in report.notices if not line.startswith("Next to nothing was changed")]
    assert report.damaged == 0 and told == []
    assert len(kept.planes) == 50
    assert kept.same_frames(sent)
    steps = [b - a for a, b in pairwise(kept.times)]
    assert steps == pytest.approx([0.04] * 49, abs=0.0011)


def test_a_stream_that_falls_silent_ends(serve: Serve) -> None:
    server = serve(bye=False)
    notices: list[str] = []
    with VideoReader(server.url, options={"timeout": "1000000"}, notice=notices.append) as reader:
        assert sum(1 for _ in reader.frames()) == 50
    assert reader.damaged == 0
    assert notices == [f"{server.url} sends nothing more; it ends there."]


def test_a_stream_whose_server_dies_ends(serve: Serve) -> None:
    server = serve(bye=False)
    with VideoReader(server.url) as reader:
        frames = reader.frames()
        first = [next(frames) for _ in range(10)]
        server.kill()
        assert 10 <= len(first) + sum(1 for _ in frames) <= 50


def test_a_silent_stream_can_be_interrupted(
    serve: Serve, recurrent: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, stop = serve(bye=False), threading.Event()
    snapshot = Shots.snapshot

    def last(shots: Shots, final: bool = False) -> Any:
        server.kill()  # the reader waits for more until now
        return snapshot(shots, final)

    monkeypatch.setattr(Shots, "snapshot", last)

    def progress(report: Report) -> None:
        if report.frames_out == 40:  # the last ones wait for others after them
            stop.set()

    with pytest.raises(Interrupted, match=r"after 4. frames.*out\.part\.mkv plays up to there\.$"):
        derain_video(
            server.url,
            tmp_path / "out.mkv",
            LOSSLESS,
            model=recurrent,
            progress=progress,
            stop=stop,
        )
    assert [path.name for path in tmp_path.glob("out*")] == ["out.part.mkv"]
    with pytest.raises(DerainError, match="leave --resume out"):
        derain_video(server.url, tmp_path / "out.mkv", replace(LOSSLESS, resume=True))
    with pytest.raises(DerainError, match="rename it to keep it"):
        derain_video(server.url, tmp_path / "out.mkv", LOSSLESS)


def test_live_shows_a_stream_and_finds_it_again(
    serve: Serve, identity: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "BACK_OFF", (0.05, 0.1))
    server = serve(bye=False)
    lost = threading.Event()
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if "is lost" in text:
            lost.set()

    with Live(LiveOptions(server.url, resolution="source"), identity, say) as live:
        while not live.frames:
            assert not live.ended
            time.sleep(0.01)
        server.kill()
        assert lost.wait(60)
        serve(port=server.server_address[1])
        while live.shots < 2:
            assert not live.ended
            time.sleep(0.01)
    assert live.capture.reconnects >= 1
    assert said[1] == f"{server.url} is back"
