"""Reading one video with PyAV: frames with exact time stamps, and the packets of all other streams.

A source is read once, in order, and never held in memory. What frames are is in frames.py, time
stamps that jump are in timestamps.py; nothing here knows of networks.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
from av.stream import Stream
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from derain.models.errors import VideoError
from derain.models.log import Log, say_nothing
from derain.pipeline.video import clock
from derain.pipeline.video.color import Color, Rgb, to_float
from derain.pipeline.video.completeness import missing
from derain.pipeline.video.copying.hdr_units import IN_UNITS
from derain.pipeline.video.decoding.describing import describe, frame_rate
from derain.pipeline.video.decoding.film_decoder import FilmDecoder
from derain.pipeline.video.demuxing import PacketReader
from derain.pipeline.video.frames import Frame, Video, decoded_rgb, reformat
from derain.pipeline.video.opening import film_stream, is_announcing_still, open_source
from derain.pipeline.video.paths import is_plain_file
from derain.pipeline.video.timestamps import Timeline, stamp

PEEKED = 32 << 20  # bytes of other streams that are held until the first frame comes
WARM_UP = 24  # frames before --start that fill the network's window and memory


class VideoReader:
    """Read one video: frames in order, and the packets of all other streams as they come.

    Args:
        source: a path, `-` for standard input, a URL, a camera, `%05d.png`, a lavfi graph.
        format: FFmpeg's name of the container where it cannot be guessed (lavfi, v4l2, …).
        options: FFmpeg's options for opening it, such as `framerate` of an image sequence.
        threads: of the decoder. None: half the cores, at most 4; the network needs the rest.
        interlaced: "auto" deinterlaces frames that are marked as interlaced, "keep" does not.
        start, end: seconds from the beginning of the file; time stamps then begin at 0.
        warm_up: frames before `start` that are given all the same, marked.
        hwaccel: decode on this kind of device, where it can (cuda, qsv, …).
        allow_network_playlists: whether a playlist may name what is not below its folder.
        notice: told what had to be done differently.

    Raises:
        VideoError: it cannot be opened, or no frame of it can be decoded.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        format: str | None = None,
        options: dict[str, str] | None = None,
        threads: int | None = None,
        interlaced: str = "auto",
        start: float | None = None,
        end: float | None = None,
        warm_up: int = WARM_UP,
        hwaccel: str | None = None,
        allow_network_playlists: bool = False,
        notice: Log = say_nothing,
    ) -> None:
        self.name = str(source)
        self._moved = Fraction(0)  # seconds that everything is due earlier
        self.notice = notice
        self.interlaced = interlaced
        self._open = partial(
            open_source, self.name, format, options or {}, hwaccel, notice, allow_network_playlists
        )
        self._threads = threads or max(1, min(4, (os.cpu_count() or 2) // 2))
        self.container = self._open()
        try:
            self._begin(start, end, warm_up)
            self.video, self.late_video = self._peek()
            if self.late_video:
                self.container.close()
                self.container = self._open()
                self._begin(start, end, warm_up)
                self._peeked.append(next(self._items))
        except BaseException:
            self.container.close()
            raise

    def _begin(self, start: float | None, end: float | None, warm_up: int) -> None:
        """Choose the streams of a source just opened, and go to --start."""
        self.stream = film_stream(self.container, self.name)
        self.others = [s for s in self.container.streams if not self._is_spare(s)]
        self.stream.codec_context.thread_type = "AUTO"
        self.stream.codec_context.thread_count = self._threads
        self._wind(start, end, warm_up)
        self._spoiled = 0  # packets and frames that are damaged
        self._decoder = self._new_decoder()
        self._decodes = True
        self.packets = PacketReader(self.container, self.name, self.notice)
        self._items = self._read()
        self._peeked: deque[Frame | av.Packet] = deque()

    def _new_decoder(self) -> FilmDecoder:
        keep = self.interlaced == "keep"
        return FilmDecoder(self.container, self.stream, self.name, keep, self.notice)

    def _wind(self, start: float | None, end: float | None, warm_up: int) -> None:
        """Seek to --start, early enough to warm up."""
        origin = Fraction(self.container.start_time or 0, av.time_base)
        self._start = None if start is None else origin + Fraction(start).limit_denominator(1000)
        self._end = None if end is None else origin + Fraction(end).limit_denominator(1000)
        if self._start is None:
            return
        self._from = self._start - warm_up / frame_rate(self.container, self.stream)
        try:
            # Not before the beginning: AVI fails there, and then gives nothing more.
            self.container.seek(int(max(origin, self._from) * av.time_base), backward=True)
        except av.FFmpegError:
            self.notice(f"{self.name} cannot be wound forward; it is read from its beginning.")

    def _is_spare(self, stream: Stream) -> bool:
        """Whether a stream does not go along: the film, and the still that announces it."""
        if stream is self.stream:
            return True
        if is_announcing_still(stream, self.stream):
            self.notice("The still image before the animation shows no more; it is left out.")
            return True
        return False

    def _peek(self) -> tuple[Video, bool]:
        """Decode up to the first frame: headers promise what files do not keep.

        Returns:
            The video, and whether so much comes before its first frame that it is not held.
        """
        held = 0
        for item in self._items:
            if not isinstance(item, Frame):
                held += item.size
            if held <= PEEKED:
                self._peeked.append(item)
            elif not is_plain_file(self.name):
                raise VideoError(
                    f"More than {PEEKED >> 20} MB of sound come before the first frame of "
                    f"{self.name}; write it to a file first."
                )
            if isinstance(item, Frame):
                video = describe(self.container, self.stream, item.image)
                video = replace(
                    video,
                    # The image no longer is where it was deinterlaced.
                    interlaced=video.interlaced or self._decoder.deinterlacer.active,
                    dolby_vision=self._decoder.header.dolby_vision,
                    carried=IN_UNITS if self._decoder.units.active else frozenset(),
                )
                item.color = video.color
                return video, held > PEEKED
        raise VideoError(
            f"No frame of {self.name} can be decoded; check the file, or the time to start at."
        )

    def seek(self, time: Fraction) -> None:
        """Go on from a key frame before `time`, in seconds of the file; frames count from 0 again.

        Raises:
            VideoError: this source cannot be wound.
        """
        try:
            self.container.seek(int(time * av.time_base), backward=True)
        except av.FFmpegError as error:
            raise VideoError(f"{self.name} cannot be wound; read it from its beginning.") from error
        self.packets.rewound()
        self._spoiled += self._decoder.damaged
        self._decoder = self._new_decoder()
        self._items = self._read()
        self._peeked.clear()

    def copied_packets(self) -> Iterator[av.Packet]:
        """The packets of the other streams alone, without decoding any more frames."""
        self._decodes = False
        return (item for item in self if isinstance(item, av.Packet))

    def first_packets(self) -> dict[int, list[av.Packet]]:
        """Copies of the first packets of the streams, by their number, for trials."""
        return self.packets.look_ahead()

    @property
    def damaged(self) -> int:
        """Places where the file or a frame of it is damaged, so far."""
        return self._spoiled + self._decoder.damaged + self.packets.damaged

    @property
    def missing(self) -> str:
        """What the source, read to its end, lacks of what it declares; a sentence or nothing."""
        if self._end is not None:
            return ""
        counted = self.video.counted and self._start is None and self.packets.whole
        return missing(self.packets, self.stream, self.video.frames if counted else 0)

    @property
    def origin(self) -> Fraction:
        """The time in the file that became 0: --start, else 0 or the start of a foreign clock."""
        return self._start or self._moved

    def start_at_zero(self, every_source: bool = False) -> None:
        """Let the first frame or sound of a foreign clock, or of all sources, be due at 0."""
        foreign = every_source or clock.runs_since_before(self.container.format.name, self.name)
        if self._start is not None or not foreign:
            return
        self._moved = clock.first_time([self.stream, *self.others], self._peeked)
        if abs(self._moved) > clock.UNNOTICED:
            self.notice(
                f"The source's clock stands at {clock.clock_text(self._moved)} where it begins; "
                "frames, sound and captions are all moved by that to begin at 0."
            )

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    def __iter__(self) -> Iterator[Frame | av.Packet]:
        """Frames, and packets of the other streams, in the order of the file."""
        while self._peeked:
            yield self._moved_item(self._peeked.popleft())
        for item in self._items:
            if isinstance(item, Frame):
                item.color = self.video.color
            yield self._moved_item(item)

    def _moved_item(self, item: Frame | av.Packet) -> Frame | av.Packet:
        if self._moved:
            clock.move(item, self._moved)
        return item

    def frames(self) -> Iterator[Frame]:
        """Frames alone."""
        return (item for item in self if isinstance(item, Frame))

    def to_rgb(self, frame: Frame) -> NDArray[np.float32]:
        """The frame as (H, W, 3) float32 RGB in [0, 1]; see `fill_rgb`."""
        return to_float(self.fill_rgb(frame))

    def fill_rgb(self, frame: Frame) -> Rgb:
        """The frame as (H, W, 3) RGB, in [0, 1] above eight bits; kept in `frame.rgb`.

        A frame of another size than the first, or of another format, becomes like the first.
        """
        if frame.rgb is None:
            video, image = self.video, frame.image
            size = (video.width, video.height)
            if (image.width, image.height) != size:
                self.notice(f"The size changes; all is scaled to the first, {size[0]}x{size[1]}.")
                pts = image.pts
                image = reformat(image, video.pixel_format, frame.color, self._scaler, size)
                image.pts = pts
                frame.image = image
            frame.rgb = decoded_rgb(image, frame.color, self._scaler)
        return frame.rgb

    def _read(self) -> Iterator[Frame | av.Packet]:
        self._scaler = VideoReformatter()
        self._last: int | None = None
        self._count = 0
        self._ticks: Fraction = self.stream.time_base
        decoder = self._decoder
        timeline = Timeline(self.notice)
        for packet in self.packets:
            if packet.size:
                timeline.place(packet)
            # A packet that ends a stream knows its stream, but not the stream's number.
            if packet.stream.index != self.stream.index:
                if packet.size and self._cut(packet):
                    yield packet
                continue
            if self._decodes:
                for image in decoder.push(packet):
                    yield from self._frame(image)
            # A second more, for packets of other streams that lie behind their frames.
            if self._end is not None and packet.dts is not None and stamp(packet) > self._end + 1:
                break
        for image in decoder.flush():
            yield from self._frame(image)

    def _frame(self, image: av.VideoFrame) -> Iterator[Frame]:
        self._spoiled += bool(image.is_corrupt)
        ticks = self._ticks
        pts = image.pts
        if self._decoder.deinterlacer.active and pts is not None and image.time_base:
            pts = round(pts * image.time_base / ticks)  # a filter's are finer than the stream's
        if pts is None:
            step = round(1 / (frame_rate(self.container, self.stream) * ticks))
            pts = 0 if self._last is None else self._last + max(1, step)
        if self._last is not None and pts <= self._last:
            pts = self._last + 1
        self._last = pts
        warm_up = False
        if self._start is not None:
            if pts * ticks < self._from:
                return
            warm_up = pts * ticks < self._start
            pts -= round(self._start / ticks)
        if self._end is not None and self._last * ticks >= self._end:
            return
        units = image.opaque or ()
        yield Frame(image, pts, ticks, Color(), self._count, units=units, warm_up=warm_up)
        self._count += 1

    def _cut(self, packet: av.Packet) -> bool:
        """Whether a packet of another stream lies between --start and --end; it is moved too."""
        if self._start is None and self._end is None:
            return True
        due = stamp(packet)
        if self._end is not None and due >= self._end:
            return False
        if self._start is not None:
            if due + (packet.duration or 0) * packet.time_base <= self._start:
                return False
            late = round((self._start - due) / packet.time_base)
            if late > 0:
                if packet.stream.type != "subtitle":
                    return False
                # A caption that is on at the start stays on.
                packet.pts = packet.dts = packet.pts + late
                packet.duration -= late
            shift = round(self._start / packet.time_base)
            packet.pts -= shift
            packet.dts = packet.pts if packet.dts is None else packet.dts - shift
        return True
