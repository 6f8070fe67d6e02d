"""What a live source is: what a user's word for it means, and how it is opened.

Cameras, streams, lavfi graphs and files, through PyAV; cameras also through OpenCV. Reading them
in time is capture.py's.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av
import cv2

from derain.models.errors import DerainError, VideoError
from derain.models.log import Log
from derain.pipeline.live.turning import Turner
from derain.pipeline.video import VideoReader
from derain.pipeline.video.color import RGB_MATRIX, Color
from derain.pipeline.video.frames import Frame

EXAMPLE = "derain live lavfi:testsrc2=size=640x360:rate=25"
HINT = f"give a camera's number, a URL or a file; {EXAMPLE} works without any."
MICROSECOND = Fraction(1, 10**6)
DEVICES = {"v4l2", "video4linux2", "avfoundation", "dshow", "x11grab", "gdigrab", "decklink"}
SILENCE = "5000000"  # microseconds without data after which a network source is lost
NETWORK = {
    "rtsp": {"timeout": SILENCE},
    "rtsps": {"timeout": SILENCE},
    "http": {"rw_timeout": SILENCE},
    "https": {"rw_timeout": SILENCE},
    "tcp": {"timeout": SILENCE},
}


OnSound = Callable[[av.AudioFrame, float], None]


@dataclass(frozen=True, slots=True)
class Source:
    """What to open. `lives`: it goes on without us and comes back when lost; a file does not."""

    name: str
    format: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    lives: bool = True
    paced: bool = False  # hold frames back until their time
    opencv: bool = False
    allow_network_playlists: bool = False


def find_source(
    word: str,
    *,
    format: str | None = None,
    options: dict[str, str] | None = None,
    size: str | None = None,
    fps: float | None = None,
    realtime: bool = False,
    opencv: bool = False,
    allow_network_playlists: bool = False,
    platform: str = sys.platform,
) -> Source:
    """What a user's word for a source means.

    Args:
        word: a camera's number or device, a URL, `lavfi:GRAPH`, or a file.
        format: FFmpeg's name of the input, where the word does not say it.
        options: FFmpeg's options for opening it; they go before all others.
        size, fps: WIDTHxHEIGHT and rate to ask a camera for.
        realtime: play a file at its own pace.
        opencv: read a camera with OpenCV.
        allow_network_playlists: whether a file may name addresses.
        platform: as `sys.platform` names it, which decides how cameras are opened.

    Raises:
        DerainError: there is nothing of that name.
    """
    options = options or {}
    asked = {"video_size": size, "framerate": None if fps is None else f"{fps:g}"}
    camera = {k: v for k, v in asked.items() if v} | options
    if opencv or (word.isdecimal() and platform == "win32" and format is None):
        return Source(word, options=camera, opencv=True)
    if word.isdecimal() and format is None:
        if platform == "darwin":
            # Without a rate FFmpeg asks for 29.97, which most of these cameras refuse.
            return Source(word, "avfoundation", {"framerate": "30"} | camera)
        return Source(f"/dev/video{word}", "v4l2", camera)
    if word.startswith("/dev/video") and format is None:
        return Source(word, "v4l2", camera)
    if word.startswith("video=") and format is None:
        return Source(word, "dshow", camera)
    if format in DEVICES:
        return Source(word, format, camera)
    if word.startswith("lavfi:") or format == "lavfi":
        return Source(word, format, options, lives=False, paced=True)
    scheme, found, _ = word.partition("://")
    if found:
        return Source(word, format, NETWORK.get(scheme, {}) | options)
    if not Path(word).is_file() and "%" not in word:
        raise DerainError(f"There is no file or camera '{word}'; {HINT}")
    return Source(
        word,
        format,
        options,
        lives=False,
        paced=realtime,
        allow_network_playlists=allow_network_playlists,
    )


class Reader(Protocol):
    """What `Capture` needs of a way to read."""

    @property
    def rate(self) -> float:
        """Frames a second, as declared."""
        ...

    @property
    def has_sound(self) -> bool:
        """Whether there is sound."""
        ...

    def frames(self) -> Iterator[Frame]:
        """Frames as they come."""
        ...

    def close(self) -> None:
        """Let go of the device."""
        ...


class StreamReader(VideoReader):
    """A `VideoReader` that gives upright frames, and decoded sound where it is asked for.

    Args:
        source: what to open.
        notice: told what had to be done differently.
        on_sound: called with sound and its time in seconds of the source, from `frames`.
    """

    def __init__(self, source: Source, notice: Log, on_sound: OnSound | None) -> None:
        super().__init__(
            source.name,
            format=source.format,
            options=source.options,
            # Threads of a decoder hold frames back: one, so that each comes out at once.
            threads=1 if source.lives else None,
            allow_network_playlists=source.allow_network_playlists,
            notice=notice,
        )
        matrix = self.video.display_matrix
        self._turner = None if matrix is None else Turner(matrix)
        self._on_sound = on_sound
        self._sound = self.container.streams.best("audio")

    @property
    def rate(self) -> float:
        """Frames a second, as declared."""
        return float(self.video.rate)

    @property
    def has_sound(self) -> bool:
        """Whether there is sound."""
        return self._sound is not None

    def frames(self) -> Iterator[Frame]:
        """Frames as they come, upright; sound goes to `on_sound`."""
        for item in self:
            if isinstance(item, Frame):
                if self._turner is not None:
                    self._turner.turn(item)
                yield item
            elif self._on_sound is not None and item.stream is self._sound:
                self._hear(item, self._on_sound)

    def _hear(self, packet: av.Packet, on_sound: OnSound) -> None:
        try:
            decoded = packet.decode()
        except av.FFmpegError:
            return  # a damaged piece; the encoders go on at the time of the next
        for frame in decoded:
            if isinstance(frame, av.AudioFrame) and frame.time is not None:
                on_sound(frame, frame.time)


class CameraReader:
    """OpenCV's way to a camera, for those that FFmpeg does not open."""

    has_sound = False

    def __init__(self, source: Source) -> None:
        name: int | str = int(source.name) if source.name.isdecimal() else source.name
        self.name = source.name
        self.capture = cv2.VideoCapture(name)
        if not self.capture.isOpened():
            raise VideoError(f"OpenCV cannot open camera {source.name}; is another program at it?")
        width, found, height = source.options.get("video_size", "").partition("x")
        if found:
            self.capture.set(cv2.CAP_PROP_FRAME_WIDTH, int(width))
            self.capture.set(cv2.CAP_PROP_FRAME_HEIGHT, int(height))
        if "framerate" in source.options:
            self.capture.set(cv2.CAP_PROP_FPS, float(source.options["framerate"]))

    @property
    def rate(self) -> float:
        """Frames a second, as declared."""
        return float(self.capture.get(cv2.CAP_PROP_FPS)) or 25.0

    def frames(self) -> Iterator[Frame]:
        """Frames until the camera gives none; their times are those of their arrival."""
        color = Color(RGB_MATRIX, full_range=True)
        index = 0
        while True:
            good, bgr = self.capture.read()
            if not good:
                return
            image = av.VideoFrame.from_ndarray(bgr, format="bgr24")
            yield Frame(image, round(1e6 * time.perf_counter()), MICROSECOND, color, index)
            index += 1

    def close(self) -> None:
        """Let go of the device."""
        self.capture.release()


def open_reader(source: Source, notice: Log, on_sound: OnSound | None = None) -> Reader:
    """Open a source.

    Args:
        source: what to open.
        notice: told what had to be done differently.
        on_sound: called with each piece of sound and its time in seconds of the source.

    Raises:
        VideoError: it cannot be opened.
    """
    if source.opencv:
        return CameraReader(source)
    try:
        return StreamReader(source, notice, on_sound)
    except VideoError as error:
        raise VideoError(_why(source, error)) from error


def _why(source: Source, error: VideoError) -> str:
    """The sentence for a source that is no file; for files that of the reader is right."""
    reason = getattr(error.__cause__, "strerror", None) or str(error)
    if source.format in DEVICES:
        return (
            f"Camera {source.name} cannot be opened ({reason}); is it plugged in, and no other "
            f"program at it? {EXAMPLE} works without one."
        )
    if source.name.startswith("lavfi:") or source.format == "lavfi":
        return f"FFmpeg cannot make frames of {source.name} ({reason}); try {EXAMPLE}."
    if "://" in source.name:
        return f"{source.name} cannot be opened ({reason}); check the address, and who sends there."
    return str(error)
