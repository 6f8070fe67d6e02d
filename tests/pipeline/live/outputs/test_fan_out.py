"""All outputs of a session: each frame to every one of them, with the sound that is due."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest

from derain.models.errors import UsageError
from derain.pipeline.live.options import LiveOptions
from derain.pipeline.live.outputs.fan_out import AHEAD, FanOut
from derain.pipeline.live.outputs.sound import Heard
from derain.pipeline.live.outputs.targets import parse_target
from derain.pipeline.streaming.shot_runner import Finished
from derain.pipeline.video.encoders import Encoding

Make = Callable[..., FanOut]


@pytest.fixture
def make() -> Make:
    """`make(options, *words)`: the outputs of a session with these targets."""

    def outputs(options: LiveOptions, *words: str) -> FanOut:
        said: list[str] = []
        return FanOut(
            options,
            [parse_target(word) for word in words],
            rate=25,
            sound=True,
            block=False,
            broken=threading.Event(),
            notice=said.append,
            say=said.append,
        )

    return outputs


def finished(time: float = 0.0) -> Finished:
    nothing: Any = None
    frame: Any = SimpleNamespace(time=time)
    return Finished(frame, nothing)


class Receiver:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.gone = threading.Event()

    def put(self, item: Any) -> None:
        self.got.append(item)


def test_every_receiver_gets_every_frame_and_the_end(make: Make) -> None:
    outputs = make(LiveOptions("x"))
    receivers: Any = [Receiver(), Receiver()]
    outputs.pushes = receivers
    items = [finished(), finished(0.04)]
    for item in items:
        outputs.put(item)
    outputs.end()
    for each in receivers:
        assert each.got == [*items, None]
    assert not outputs.over
    receivers[1].gone.set()
    assert outputs.over


def test_sound_goes_a_little_before_its_frame(make: Make) -> None:
    """Muxers keep a frame until something later comes, which must not be the next frame."""
    outputs = make(LiveOptions("x"))
    receiver: Any = Receiver()
    outputs.pushes = [receiver]
    for index in range(10):
        outputs.hear(Heard(av.AudioFrame(), index * 0.02))
    item = finished()
    outputs.put(item)
    assert receiver.got[0] is item  # a connection begins with a frame
    assert receiver.got[-1].time == pytest.approx(AHEAD)


def test_there_is_a_thread_for_each_output(make: Make, tmp_path: Path) -> None:
    assert make(LiveOptions("x")).workers == []
    options = LiveOptions("x", record=str(tmp_path / "a.mkv"))
    outputs = make(options, "udp://127.0.0.1:9", "tcp://127.0.0.1:9")
    assert len(outputs.workers) == 3
    assert [push.target.name for push in outputs.pushes] == [
        "udp://127.0.0.1:9",
        "tcp://127.0.0.1:9",
    ]


def test_what_a_receiver_does_not_take_is_refused_before_anything_is_sent(make: Make) -> None:
    with pytest.raises(UsageError, match="takes h264, not 'libx265'"):
        make(LiveOptions("x", encoding=Encoding("libx265")), "rtmp://127.0.0.1/a/b")
