"""One connection: the encoder's settings, the process that sends, and what it says at the end."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import av
import numpy as np
import pytest

from derain.models.errors import DerainError, UsageError, VideoError
from derain.pipeline.live.outputs import connection
from derain.pipeline.live.outputs.connection import (
    CRF,
    Pipe,
    SendingProcess,
    encoding_for,
    require_sender,
)
from derain.pipeline.live.outputs.targets import parse_target
from derain.pipeline.streaming.shot_runner import Finished
from derain.pipeline.video import VideoReader
from derain.pipeline.video.color import Residual
from derain.pipeline.video.encoders import Encoding

TCP = parse_target("tcp://127.0.0.1:9")


def test_encoders_hold_no_frame_back_and_give_key_frames_in_time() -> None:
    found = encoding_for(TCP, Encoding(), 30)
    assert (found.codec, found.crf) == ("libx264", CRF["libx264"])
    assert found.options == {"g": "60", "preset": "superfast", "tune": "zerolatency"}
    assert encoding_for(TCP, Encoding("libx265", 30), 0.1).options["g"] == "1"
    assert encoding_for(TCP, Encoding("libx265", 30), 25).crf == 30
    assert encoding_for(parse_target("mjpeg:-"), Encoding(), 25).codec == "mjpeg"


def test_codecs_that_a_receiver_does_not_take_are_refused() -> None:
    with pytest.raises(UsageError, match="takes h264 or hevc, not 'mpeg4'; leave --codec out"):
        encoding_for(TCP, Encoding("mpeg4"), 25)
    with pytest.raises(VideoError, match="no encoder 'nosuch'"):
        encoding_for(TCP, Encoding("nosuch"), 25)


def test_srt_needs_the_ffmpeg_program(monkeypatch: pytest.MonkeyPatch) -> None:
    srt = parse_target("srt://127.0.0.1:9")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    require_sender(TCP)
    with pytest.raises(DerainError, match="needs the ffmpeg program"):
        require_sender(srt)
    words = connection._with_ffmpeg(srt)
    assert words[0] == "ffmpeg" and words[-3:] == ["-f", "mpegts", srt.address]


def test_a_pipe_takes_all_that_is_written_in_pieces() -> None:
    class Narrow:
        taken = b""

        def write(self, data: bytes) -> int:
            self.taken += bytes(data[:7])
            return min(7, len(data))

    narrow: Any = Narrow()
    stream: IO[bytes] = narrow
    assert Pipe(stream).write(b"a" * 20 + b"b") == 21
    assert narrow.taken == b"a" * 20 + b"b"


@pytest.fixture
def items(make_clip: Callable[..., Path]) -> list[Finished]:
    """Five frames of an odd size, of a clock that began long ago, with nothing changed."""
    clip = make_clip(
        "in.mkv",
        frames=5,
        size=(65, 49),
        codec="ffv1",
        pixel_format="yuv444p",
        pts=list(range(90, 95)),
    )
    with VideoReader(clip) as reader:
        frames = list(reader.frames())
    black = np.zeros((49, 65, 3), np.float32)
    return [Finished(frame, Residual(black, black)) for frame in frames]


def test_frames_are_encoded_at_even_size_and_sent_by_another_process(
    items: list[Finished], tmp_path: Path
) -> None:
    target, said = parse_target(f"hls:{tmp_path / 'live'}"), []
    sending = SendingProcess(
        target, items[0], 25, sound=False, encoding=Encoding(), notice=said.append
    )
    for item in [*items, items[0]]:  # the last is of an earlier time, and left out
        sending.write(item)
    sending.close()
    assert said == ["Receivers want even sizes: 64x48 is sent."]
    with av.open(str(tmp_path / "live" / "index.m3u8")) as container:
        frames = list(container.decode(video=0))
    assert [(frame.width, frame.height) for frame in frames] == [(64, 48)] * 5
    steps = np.diff([float(frame.time) for frame in frames])
    assert steps == pytest.approx([0.04] * 4, abs=1e-3)


def test_a_receiver_that_is_not_there_says_why(items: list[Finished]) -> None:
    sending = SendingProcess(
        TCP, items[0], 25, sound=False, encoding=Encoding(), notice=lambda text: None
    )
    assert sending.video.rate == Fraction(25)
    with suppress(OSError):  # it may have ended already
        for item in items:
            sending.write(item)
    assert "refused" in sending.fail().lower()
