"""Parts of outputs: words for targets, the outbox, sound that drifts, the virtual camera."""

from __future__ import annotations

import sys
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from torch import nn

from derain.models.errors import DerainError, UsageError
from derain.pipeline.live.options import LiveOptions
from derain.pipeline.live.outputs.push import Outbox
from derain.pipeline.live.outputs.sound import HELD, Heard, SoundEncoder, WaitingSound
from derain.pipeline.live.outputs.targets import parse_target
from derain.pipeline.live.session import Live
from derain.pipeline.streaming.shot_runner import Finished
from derain.pipeline.streaming.threads import QUEUE

PATIENCE = 60.0


@pytest.mark.parametrize(
    ("word", "address", "muxer"),
    [
        ("-", "pipe:1", "mpegts"),
        ("mjpeg:-", "pipe:1", "mjpeg"),
        ("rtsp://host/a", "rtsp://host/a", "rtsp"),
        ("rtmp://host/a/key", "rtmp://host/a/key", "flv"),
        ("udp://239.0.0.1:5000", "udp://239.0.0.1:5000?pkt_size=1316", "mpegts"),
        ("srt://h:1?passphrase=x", "srt://h:1?passphrase=x&pkt_size=1316", "mpegts"),
        ("srt://h:1?pkt_size=188", "srt://h:1?pkt_size=188", "mpegts"),
        ("camera:/dev/video9", "/dev/video9", ""),
    ],
)
def test_words_for_targets(word: str, address: str, muxer: str) -> None:
    target = parse_target(word)
    assert (target.address, target.receiver.muxer) == (address, muxer)


def test_other_words_are_refused(tmp_path: Path) -> None:
    for wrong in ("", "out.mp4", "ftp://host/a", "rtsp:", "udp://", "hls:"):
        with pytest.raises(UsageError, match="--to sends to"):
            parse_target(wrong)
    with pytest.raises(DerainError, match="no folder"):
        parse_target(f"hls:{tmp_path / 'a' / 'b'}")
    (tmp_path / "file").touch()
    with pytest.raises(DerainError, match="is a file"):
        parse_target(f"hls:{tmp_path / 'file'}")


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


def test_sound_waits_for_its_frame_but_not_for_ever() -> None:
    waiting = WaitingSound()
    for index in range(4):
        waiting.put(Heard(av.AudioFrame(), index / 4))
    assert [heard.time for heard in waiting.until(0.5)] == [0, 0.25, 0.5]
    waiting.put(Heard(av.AudioFrame(), 1 + HELD))
    assert [heard.time for heard in waiting.until(1e9)] == [1 + HELD]


def clicks(rate: int, seconds: int) -> np.ndarray:
    """A click at each whole second."""
    wave = np.zeros(rate * seconds, np.float32)
    for second in range(seconds):
        wave[second * rate : second * rate + rate // 50] = 0.8
    return wave


@pytest.mark.parametrize("skew", [0.995, 1.0, 1.005])
def test_sound_of_a_clock_that_drifts_stays_at_its_time(skew: float) -> None:
    """A device says 44.1 kHz and is half a percent off: 75 ms in a quarter of a minute."""
    rate, seconds = 44100, 15
    wave, file = clicks(rate, seconds), BytesIO()
    container = av.open(file, "w", format="matroska")
    encoder = SoundEncoder(container)
    for start in range(0, len(wave), 441):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + 441], "fltp", "mono")
        frame.sample_rate = rate
        for packet in encoder.encode(frame, Fraction(start, rate) * Fraction(skew)):
            container.mux_one(packet)
    for packet in encoder.flush():
        container.mux_one(packet)
    container.close()
    file.seek(0)
    with av.open(file) as written:
        at, last = [], -1.0
        for frame in written.decode(audio=0):
            loud = np.abs(frame.to_ndarray()[0]) > 0.3
            if loud.any():
                time = frame.time + int(np.argmax(loud)) / frame.sample_rate
                if time > last + 0.5:
                    at.append(time)
                last = time
    truth = [second * skew for second in range(seconds)]
    assert len(at) == seconds
    assert np.abs(np.array(at) - truth).max() < 0.040


def test_a_virtual_camera_shows_the_derained_frames(
    make_clip: Any, invert: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[np.ndarray] = []

    class Camera:
        def __init__(self, width: int, height: int, fps: float, device: str | None) -> None:
            assert (width, height, round(fps), device) == (64, 48, 25, "/dev/video9")

        def send(self, rgb: np.ndarray) -> None:
            shown.append(rgb.copy())

        def close(self) -> None:
            shown.append(np.zeros(0))

    package = ModuleType("pyvirtualcam")
    package.Camera = Camera  # type: ignore[attr-defined]
    package.__spec__ = SimpleNamespace()  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "pyvirtualcam", package)
    clip = str(make_clip(frames=5))
    options = LiveOptions(clip, resolution="source", to=("camera:/dev/video9",))
    with Live(options, invert) as live:
        while not live.ended:
            live.broadcaster.wait(10**6, 0.05)
        newest = live.broadcaster.newest
    assert newest is not None
    (sending,) = live.outputs.pushes
    assert len(shown) == sending.frames + 1 > 1 and shown[-1].size == 0
    assert np.abs(shown[-2].astype(int) - newest.image()).max() <= 1


def test_a_camera_without_package_or_driver_is_a_sentence(
    make_clip: Any, identity: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = LiveOptions(str(make_clip(frames=5)), resolution="source", to=("camera:",))
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(DerainError, match=r"pip install 'derain\[camera\]'"):
        Live(options, identity)

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no device\nmore")

    package = ModuleType("pyvirtualcam")
    package.Camera = refuse  # type: ignore[attr-defined]
    package.__spec__ = SimpleNamespace()  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "pyvirtualcam", package)
    live = Live(options, identity)
    with pytest.raises(DerainError, match=r"\(no device\).*v4l2loopback"), live:
        live._broken.wait(PATIENCE)
