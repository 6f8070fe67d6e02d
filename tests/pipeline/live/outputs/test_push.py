"""Sending to receivers: frames, order, sound in step, and receivers that go away or do not read."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from torch import nn

from derain.models.errors import DerainError, UsageError
from derain.pipeline.live.options import LiveOptions
from derain.pipeline.live.outputs import push
from derain.pipeline.live.outputs.push import Outbox
from derain.pipeline.live.outputs.sound import Heard
from derain.pipeline.live.session import Live
from derain.pipeline.streaming.shot_runner import Finished
from derain.pipeline.streaming.threads import QUEUE
from derain.pipeline.video.encoders import Encoding

PATIENCE = 60.0  # seconds until a test gives up on a busy machine
# A flash and a beep together, each second; the brightness of the lower half rises from frame to
# frame.
SOUND = "aevalsrc='if(lt(mod(t,1),0.2),0.5*sin(2763*t),0)':s=44100[out1]"
FLASH = (
    "color=c=gray:size=64x48:rate=25,format=yuv420p,"
    "geq=lum='if(lt(Y,24),if(lt(mod(T,1),0.2),220,30),40+N)':cb=128:cr=128[out0]"
)
SOURCE = f"lavfi:{FLASH};{SOUND}"


RTSP_SERVER = {"rtsp_flags": "listen", "listen_timeout": "60"}


@dataclass
class Received:
    """What a listener got."""

    times: list[float] = field(default_factory=list)  # of the frames
    flashes: list[float] = field(default_factory=list)  # their upper halves' brightness
    counters: list[float] = field(default_factory=list)  # and their lower ones'
    heard: list[tuple[float, np.ndarray]] = field(default_factory=list)
    opened: threading.Event = field(default_factory=threading.Event)
    failed: str = ""

    def listen(self, url: str, frames: int, options: dict[str, str] | None = None) -> None:
        """Take so many frames, and the sound between them."""
        try:
            with av.open(url, options=options or {}, timeout=PATIENCE) as container:
                self.opened.set()
                for frame in container.decode(*container.streams):
                    if isinstance(frame, av.AudioFrame):
                        self.heard.append((frame.time, frame.to_ndarray().ravel()))
                        continue
                    if frame.time is None:
                        continue  # RTP says the time of day only after a while
                    luma = frame.to_ndarray()[: frame.height]
                    self.times.append(frame.time)
                    self.flashes.append(float(luma[:20].mean()))
                    self.counters.append(float(luma[28:].mean()))
                    if len(self.times) >= frames:
                        return
        except av.FFmpegError as error:
            self.failed = str(error)

    def apart(self) -> float:
        """Seconds between the first whole flash and the first whole beep.

        A flash began at any time after the last dark frame that was not dropped.
        """
        lit = np.array(self.flashes) > 120
        flash = next(i for i in range(1, len(lit)) if lit[i] and not lit[i - 1])
        loud = np.concatenate([np.abs(wave[::2]) > 0.1 for _, wave in self.heard])
        times = np.concatenate([t + np.arange(len(w) // 2) / 48000 for t, w in self.heard])
        spoken = times[loud]
        after = np.flatnonzero(np.diff(spoken) > 0.4)  # half a second of silence before
        beep = spoken[after[0] + 1]
        dark, bright = self.times[flash - 1], self.times[flash]
        return max(0.0, dark - float(beep), float(beep) - bright)


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], Any]) -> None:
    until = time.perf_counter() + PATIENCE
    while not condition():
        assert time.perf_counter() < until, "nothing happened"
        time.sleep(0.01)


def start(target: Callable[..., None], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("target", "listens", "options"),
    [
        ("tcp://127.0.0.1:%d", "tcp://127.0.0.1:%d?listen=1", {}),
        ("udp://127.0.0.1:%d", "udp://127.0.0.1:%d", {}),
        ("rtmp://127.0.0.1:%d/live/key", "rtmp://127.0.0.1:%d/live/key", {"listen": "1"}),
        ("rtsp://127.0.0.1:%d/live", "rtsp://127.0.0.1:%d/live", RTSP_SERVER),
    ],
)
def test_a_receiver_gets_frames_in_order_and_sound_in_step(
    target: str, listens: str, options: dict[str, str], identity: nn.Module
) -> None:
    port, received = free_port(), Received()
    listener = start(received.listen, listens % port, 35, options)
    time.sleep(0.2)  # it listens
    with Live(LiveOptions(SOURCE, resolution="source", to=(target % port,)), identity) as live:
        wait_for(lambda: not listener.is_alive() or live.ended)
        listener.join(PATIENCE)
        (status,) = live.status()["sending"]
    assert len(received.times) == 35, received.failed
    assert status["frames"] >= 35
    assert status["target"] == (target % port).replace("/live/key", "/live/***")
    assert (np.diff(received.times) > 0.02).all()
    # Each frame at its time, none before another: the counter tells which one it was.
    passed = 25 * (np.array(received.times) - received.times[0])
    assert np.abs(np.array(received.counters) - received.counters[0] - passed).max() < 2
    assert received.apart() <= 0.040


def test_a_receiver_that_goes_away_comes_back(
    identity: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "BACK_OFF", (0.05, 0.2))
    monkeypatch.setattr(push, "STABLE", 0.2)
    port, said = free_port(), []
    url = f"tcp://127.0.0.1:{port}"
    with Live(LiveOptions(SOURCE, resolution="source", to=(url,)), identity, said.append) as live:
        (sending,) = live.outputs.pushes
        for _ in range(2):  # nobody is there at first
            wait_for(lambda: sending.state == "lost")
            at = live.frames
            wait_for(lambda at=at: live.frames > at + 3)  # which holds up nothing
            received = Received()
            start(received.listen, f"{url}?listen=1", 10**6)
            wait_for(lambda: sending.state == "sending")
            wait_for(lambda r=received: len(r.times) > 3)
            connection = sending._connection
            assert connection is not None
            connection.kill()  # as it ends when the receiver goes
    assert sending.reconnects >= 2
    words = [line.split(" ", 1)[1] for line in said if line.startswith(url)]
    assert [w.startswith("does not take") for w in words[:3]] == [True, False, True]
    assert words[1] == "is back"


def test_what_nobody_took_is_not_counted_as_sent(identity: nn.Module) -> None:
    url = f"tcp://127.0.0.1:{free_port()}"
    with Live(LiveOptions(SOURCE, resolution="source", to=(url,)), identity) as live:
        (sending,) = live.outputs.pushes
        wait_for(lambda: live.frames > 10)
    assert live.frames > 10 and sending.frames == 0


def test_a_receiver_that_does_not_read_holds_up_nothing_and_is_given_up(
    identity: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "STALL", 0.5)
    monkeypatch.setattr(push, "BACK_OFF", (0.05, 0.2))
    source = "lavfi:testsrc2=size=640x480:rate=25,noise=alls=100:allf=t"  # which fills every buffer
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"tcp://127.0.0.1:{deaf.getsockname()[1]}"
        options = LiveOptions(source, resolution="64x48", to=(url,), encoding=Encoding(crf=1))
        with Live(options, identity) as live:
            (sending,) = live.outputs.pushes
            wait_for(lambda: sending.outbox.dropped > 3)
            wait_for(lambda: sending.state == "lost")
            began = time.perf_counter()
        assert time.perf_counter() - began < 20
    assert live.frames > sending.frames


LIVE = ("--model", "median", "--resolution", "source", "--to")


def test_standard_output_gets_every_frame_of_a_file(
    forked: Callable[..., Any], make_clip: Callable[..., Path]
) -> None:
    clip = make_clip("in.mkv", frames=60, audio="aac")
    output, said, code = forked("live", str(clip), *LIVE, "-").communicate()
    assert code == 0, said
    assert "60 frames derained" in said and "60 sent to -" in said
    with av.open(BytesIO(output), format="mpegts") as container:
        kinds = [stream.type for stream in container.streams]
        frames = [frame.time for frame in container.decode(video=0)]
    assert kinds == ["video", "audio"]
    assert np.diff(frames) == pytest.approx([0.04] * 59, abs=1e-4)


def test_a_session_ends_when_nobody_reads_its_standard_output(forked: Callable[..., Any]) -> None:
    source = "lavfi:testsrc2=size=64x48:rate=25"
    process = forked("live", source, *LIVE, "mjpeg:-")
    assert process.stdout.read(2) == b"\xff\xd8"
    process.stdout.close()
    assert "has ended" in process.stderr.read()
    assert process.wait() == 0


def test_a_folder_gets_a_playlist_that_plays(identity: nn.Module, tmp_path: Path) -> None:
    word = f"hls:{tmp_path / 'live'}"
    options = LiveOptions(SOURCE, resolution="source", to=(word,))
    with Live(options, identity) as live:
        wait_for(lambda: live.frames > 60)
    playlist = tmp_path / "live" / "index.m3u8"
    assert "#EXT-X-ENDLIST" in playlist.read_text()
    with av.open(str(playlist)) as container:
        assert sum(1 for _ in container.decode(video=0)) > 55
    with pytest.raises(DerainError, match="add -y"):
        Live(options, identity)


@pytest.mark.parametrize(
    ("to", "codec", "sentence"),
    [
        ("rtmp://127.0.0.1/a/b", "libx265", "takes h264, not 'libx265'"),
        ("udp://127.0.0.1:9", "nosuch", "no encoder 'nosuch'"),
        ("file.mp4", None, "a file is written by --record"),
    ],
)
def test_what_cannot_be_sent_is_refused_at_once(
    to: str, codec: str | None, sentence: str, identity: nn.Module
) -> None:
    options = LiveOptions(SOURCE, resolution="source", to=(to,), encoding=Encoding(codec))
    with pytest.raises((DerainError, UsageError), match=sentence):
        Live(options, identity)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg program")
def test_srt_is_sent_by_the_ffmpeg_program(identity: nn.Module, tmp_path: Path) -> None:
    protocols = subprocess.run(["ffmpeg", "-protocols"], capture_output=True, text=True).stdout
    if "srt" not in protocols.split():
        pytest.skip("this ffmpeg has no SRT")
    port, target = free_port(socket.SOCK_DGRAM), tmp_path / "got.ts"
    url = f"srt://127.0.0.1:{port}"
    words = ["-v", "error", "-analyzeduration", "500000", "-i", f"{url}?mode=listener"]
    words += ["-c", "copy", "-t", "1", str(target)]
    listener = subprocess.Popen(["ffmpeg", *words], stdin=subprocess.DEVNULL)
    with Live(LiveOptions(SOURCE, resolution="source", to=(url,)), identity) as live:
        wait_for(lambda: listener.poll() is not None or live.ended)
    with av.open(str(target)) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
        assert sum(1 for _ in container.decode(video=0)) >= 15


def item(number: int) -> Finished:
    nothing: Any = SimpleNamespace(number=number)
    return Finished(nothing, nothing)


def test_the_outbox_keeps_the_newest_frames_and_their_order() -> None:
    outbox, sound = Outbox(block=False), Heard(av.AudioFrame(), 0.0)
    for number in range(QUEUE + 3):
        outbox.put(item(number))
        outbox.put(sound)
    outbox.put(None)
    taken = []
    while (found := outbox.take()) is not None:
        taken.append(found)
    frames = [x.frame.number for x in taken if isinstance(x, Finished)]  # type: ignore[attr-defined]
    assert frames == [3, 4, 5, 6] and outbox.dropped == 3
    assert len(taken) == QUEUE + QUEUE + 3


def test_a_patient_outbox_has_no_room_until_one_is_taken() -> None:
    outbox = Outbox(block=True)
    for number in range(QUEUE):
        assert outbox.put(item(number))
    assert not outbox.put(item(9))
    outbox.take()
    assert outbox.put(item(9)) and outbox.dropped == 0
