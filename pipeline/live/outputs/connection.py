"""One connection to a receiver: encoders here, and a process that sends what they make."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from typing import IO, Protocol

import av
from av.video.reformatter import VideoReformatter

from derain.models.errors import DerainError, UsageError
from derain.models.log import Log
from derain.pipeline.live.capture import TICKS
from derain.pipeline.live.outputs.compose import residual_at
from derain.pipeline.live.outputs.sender import AT_ONCE, FLUSHED
from derain.pipeline.live.outputs.sound import Heard, SoundEncoder
from derain.pipeline.live.outputs.targets import Target
from derain.pipeline.streaming.shot_runner import Finished
from derain.pipeline.video.containers import CONTAINERS
from derain.pipeline.video.encoders import Encoding, choose, configure, encoder, target_color
from derain.pipeline.video.frames import Video, reformat
from derain.pipeline.video.writer import changed_image

KEY_SECONDS = 2  # between key frames: so long does a viewer wait for the first image
LEAD = Fraction(1, 10)  # seconds at which a stream begins, for what encoders put before it
GRACE = 5.0  # seconds that a sender has to finish
SENDER = [sys.executable, "-P", "-m", "derain.pipeline.live.outputs.sender"]
# Settings that hold no frame back.
LOW_DELAY = {
    "libx264": {"preset": "superfast", "tune": "zerolatency"},
    "libx265": {"preset": "ultrafast", "tune": "zerolatency"},
}
CRF = {"libx264": 23.0, "libx265": 26.0}


class Connection(Protocol):
    """What `Push` needs of a way to a receiver. A failure is an OSError or a VideoError."""

    def write(self, item: Finished) -> None:
        """Send a frame."""
        ...

    def hear(self, heard: Heard) -> None:
        """Send sound."""
        ...

    def close(self) -> bool:
        """Send what waits and end, without waiting long; whether the receiver took it."""
        ...

    def kill(self) -> None:
        """Give up at once; from any thread."""
        ...

    def fail(self) -> str:
        """Let go of what has failed; why it did."""
        ...


class Pipe:
    """The end of a pipe as PyAV wants a file; each write is whole."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream

    def write(self, data: bytes) -> int:
        """Write it all, waiting for room."""
        rest = memoryview(data)
        while rest:
            rest = rest[self.stream.write(rest) :]
        return len(data)


class SendingProcess:
    """Encode for a target and hand the packets to a process of `sender.py`.

    Args:
        target: where to.
        first: the first frame, whose size the stream has.
        rate: frames a second to declare.
        sound: whether the stream has sound.
        encoding: codec and quality where the user chose them.
        notice: told what is done differently.

    Raises:
        VideoError: the encoder does not start.
    """

    def __init__(
        self,
        target: Target,
        first: Finished,
        rate: float,
        *,
        sound: bool,
        encoding: Encoding,
        notice: Log,
    ) -> None:
        self.target = target
        self.video = _video(first, rate, notice)
        kind = replace(CONTAINERS[".ts"], b_frames=False)
        self.choice = choose(encoding_for(target, encoding, rate), self.video, kind, set(), notice)
        self.color = target_color(self.video, self.choice.edit_format)
        self._scaler, self._packer = VideoReformatter(), VideoReformatter()
        self._begin = first.frame.pts * first.frame.time_base - LEAD
        self._last = -1
        self._process = _start(target)
        assert self._process.stdin is not None
        pipe = Pipe(self._process.stdin)
        options = {"flush_packets": "1", "max_interleave_delta": "1"}
        self._container = av.open(pipe, "w", format="nut", container_options=options)
        self._stream = self._container.add_stream(
            self.choice.codec, rate=self.video.rate, options=dict(self.choice.options)
        )
        configure(self._stream.codec_context, self.video, self.choice.encode_format)
        self._stream.time_base = TICKS
        self._sound = SoundEncoder(self._container) if sound and target.receiver.sound else None

    def write(self, item: Finished) -> None:
        """Encode a frame and send what is ready."""
        size = (self.video.width, self.video.height)
        image = changed_image(
            item.frame,
            residual_at(item, size),
            self.choice.edit_format,
            self.color,
            self._scaler,
            size,
        )
        image = reformat(image, self.choice.encode_format, self.color, self._packer)
        image.pts = round((item.frame.pts * item.frame.time_base - self._begin) / TICKS)
        if image.pts <= self._last:
            return
        self._last = image.pts
        image.time_base, image.pict_type = TICKS, 0
        self._mux(self._stream.encode(image))

    def hear(self, heard: Heard) -> None:
        """Encode sound and send what is ready; what is from before the first frame is left out."""
        time = Fraction(heard.time) - self._begin
        if self._sound is not None and time >= 0:
            self._mux(self._sound.encode(heard.frame, time))

    def close(self) -> bool:
        """Send what the encoders hold; whether the process finished in some time, without error."""
        late = threading.Timer(GRACE, self.kill)
        late.start()
        try:
            self._mux(self._stream.encode(None))
            if self._sound is not None:
                self._mux(self._sound.flush())
        except (av.FFmpegError, OSError):
            pass  # it has gone, as it may
        finally:
            self._end()
            late.cancel()
        return self._process.returncode == 0

    def kill(self) -> None:
        """End the process; whoever writes to it fails at once."""
        self._process.kill()

    def fail(self) -> str:
        """Let go of it; what the process said last."""
        late = threading.Timer(1.0, self.kill)
        late.start()
        self._end()
        late.cancel()
        assert self._process.stderr is not None
        lines = self._process.stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it took nothing any more"

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            self._container.mux_one(packet)

    def _end(self) -> None:
        """Write the end of the stream where that still works, and wait for the process."""
        assert self._process.stdin is not None
        with suppress(av.FFmpegError, OSError, ValueError):
            self._container.close()
        with suppress(OSError):
            self._process.stdin.close()
        self._process.wait()


def require_sender(target: Target) -> None:
    """Refuse a receiver that nothing on this machine can send to.

    Raises:
        DerainError: the ffmpeg program is needed and not there.
    """
    if target.receiver.program and shutil.which("ffmpeg") is None:
        raise DerainError(f"{target.name} needs the ffmpeg program, with SRT in it; install it.")


def _start(target: Target) -> subprocess.Popen[bytes]:
    """The sender, told where to send."""
    process = subprocess.Popen(
        _with_ffmpeg(target) if target.receiver.program else SENDER,
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=None if target.address == "pipe:1" else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the session, which ends this one in order
    )
    if target.receiver.program:
        return process
    order = {
        "address": target.address,
        "muxer": target.receiver.muxer,
        "options": dict(target.receiver.options),
    }
    assert process.stdin is not None
    process.stdin.write(json.dumps(order).encode() + b"\n")
    return process


def _with_ffmpeg(target: Target) -> list[str]:
    """What sender.py does, by the ffmpeg program."""
    muxer = {**FLUSHED, **target.receiver.options}
    return [
        *("ffmpeg", "-v", "error"),
        *(word for key, value in AT_ONCE.items() for word in (f"-{key}", value)),
        *("-f", "nut", "-i", "pipe:0", "-c", "copy"),
        *(word for key, value in muxer.items() for word in (f"-{key}", value)),
        *("-f", target.receiver.muxer, target.address),
    ]


def _video(first: Finished, rate: float, notice: Log) -> Video:
    """The stream: 8 bit 4:2:0, which every receiver takes, at the source's size made even."""
    image, color = first.frame.image, first.frame.color
    width, height = (max(2, x // 2 * 2) for x in (image.width, image.height))
    if (width, height) != (image.width, image.height):
        notice(f"Receivers want even sizes: {width}x{height} is sent.")
    return Video(
        width,
        height,
        rate=Fraction(rate).limit_denominator(1001),
        time_base=TICKS,
        pixel_format="yuv420p",
        color=color,
    )


def encoding_for(target: Target, asked: Encoding, rate: float) -> Encoding:
    """The user's choice of encoder and quality, or the target's; set to hold no frame back.

    Args:
        target: the receiver, which takes some codecs only.
        asked: what the user chose; None where nothing.
        rate: frames a second, above 0.

    Raises:
        UsageError: the receiver does not take that codec.
        VideoError: there is no such encoder.
    """
    receiver = target.receiver
    name = asked.codec or receiver.encoder
    if encoder(name).canonical_name not in receiver.codecs:
        raise UsageError(
            f"{target.name} takes {' or '.join(receiver.codecs)}, not '{name}'; leave --codec out."
        )
    crf = CRF.get(name) if asked.crf is None else asked.crf
    options = {"g": str(max(1, round(KEY_SECONDS * rate)))} | LOW_DELAY.get(name, {})
    return replace(asked, codec=name, crf=crf, options=options)
