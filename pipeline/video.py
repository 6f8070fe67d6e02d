"""Reading and writing video files with PyAV: frames with exact time stamps, and all other streams.

A file is read once, in order, and never held in memory. Pictures and their conversion are in
frames.py, the choice of an encoder in encoders.py, the output file in mux.py; nothing here knows
of networks.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.hwaccel import HWAccel
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from derain.pipeline.color import RGB_MATRIX, Color, Difference, add_change
from derain.pipeline.encoders import Encoding, choose, configure, target_color
from derain.pipeline.frames import Frame, Video, describe, plane, reformat, to_rgb
from derain.pipeline.mux import Muxer, VideoError, is_cover, stamp

__all__ = [
    "Color",
    "Encoding",
    "Frame",
    "Video",
    "VideoError",
    "VideoReader",
    "VideoWriter",
    "read_rgb",
    "write_rgb",
]

LATE = 1  # seconds by which time stamps must fall back to count as a jump of the whole file
STRAY = 10  # seconds that streams of a file may lie apart where it jumps
PLAIN = Encoding()
WARM_UP = 24  # frames before --start that fill the network's window and memory


@dataclass(slots=True)
class Line:
    """How far one stream's time stamps have come, in its own ticks."""

    base: Fraction
    late: int  # LATE in ticks
    shift: int  # what is added
    end: int


class Timeline:
    """Time stamps that jump back (joined recordings, a wrapped counter) go on where they were.

    Gaps are left as they are. All streams are moved alike, so that they stay in step.
    """

    def __init__(self, notice: Callable[[str], None]) -> None:
        self.shift = Fraction(0)  # seconds, of the newest jump, for streams that jump after it
        self.lines: dict[int, Line] = {}
        self.notice = notice

    def place(self, packet: av.Packet) -> None:
        """Move a packet to its place, in place."""
        if packet.dts is None:
            return
        line = self.lines.get(packet.stream_index)
        if line is None:
            base = packet.time_base
            shift = round(self.shift / base)
            line = Line(base, round(LATE / base), shift, packet.dts + shift)
            self.lines[packet.stream_index] = line
        # Whole numbers as far as possible: this is done for each packet.
        if packet.dts + line.shift < line.end - line.late:
            line.shift = self._close(line, packet.dts)
        if line.shift:
            packet.dts += line.shift
            if packet.pts is not None:
                packet.pts += line.shift
        # A caption may be meant to stay for long.
        length = 0 if packet.stream.type == "subtitle" else packet.duration or 0
        line.end = max(line.end, packet.dts + length)

    def _close(self, line: Line, dts: int) -> int:
        """The shift, in ticks, of a stream that jumps back to `dts`."""
        own, end = dts * line.base, line.end * line.base
        if not -LATE <= own + self.shift - end <= STRAY:
            # The first stream that jumps; behind all others, so that none must go back.
            last = max(line.end * line.base for line in self.lines.values())
            self.shift = last - own
            self.notice(f"Time stamps jump back at {float(last):.2f} s; they go on from there.")
        return round(self.shift / line.base)


class VideoReader:
    """Read one video: frames in order, and the packets of all other streams as they come.

    Args:
        source: a path, `-` for standard input, a URL, a camera, `%05d.png`, a lavfi graph.
        format: FFmpeg's name of the container where it cannot be guessed (lavfi, v4l2, …).
        options: FFmpeg's options for opening it, such as `framerate` of a picture sequence.
        threads: of the decoder. None: half the cores, at most 4; the network needs the rest.
        interlaced: "auto" deinterlaces frames that are marked as interlaced, "keep" does not.
        start, end: seconds from the beginning of the file; time stamps then begin at 0.
        warm_up: frames before `start` that are given all the same, marked.
        hwaccel: decode on this kind of device, where it can (cuda, qsv, …).
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
        notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.name = str(source)
        self.damaged = 0
        self.notice = notice
        self.interlaced = interlaced
        self._open(format, options or {}, hwaccel)
        try:
            pictures = [s for s in self.container.streams.video if not is_cover(s)]
            if not pictures:
                raise VideoError(f"{self.name} holds no video; give a file with moving pictures.")
            self.stream = pictures[0]
            if self.stream.codec_context is None:
                raise VideoError(f"Nobody here decodes the picture of {self.name}; convert it.")
            self.others = [s for s in self.container.streams if s is not self.stream]
            context = self.stream.codec_context
            context.thread_type = "AUTO"
            if threads is None:
                threads = max(1, min(4, (os.cpu_count() or 2) // 2))
            context.thread_count = threads
            self._begin(start, end, warm_up)
            self._items = self._read()
            self._peeked: deque[Frame | av.Packet] = deque()
            self.video = self._peek()
        except BaseException:
            self.container.close()
            raise

    def _open(self, format: str | None, options: dict[str, str], hwaccel: str | None) -> None:
        name = "pipe:0" if self.name == "-" else self.name
        if format is None and name.startswith("lavfi:"):
            format, name = "lavfi", name.removeprefix("lavfi:")
        try:
            self.container = av.open(
                name,
                format=format,
                options=options,
                metadata_errors="replace",
                timeout=30 if "://" in name else None,
                hwaccel=HWAccel(hwaccel, allow_software_fallback=True) if hwaccel else None,
            )
        except (av.FFmpegError, OSError, ValueError, RuntimeError, NotImplementedError) as error:
            raise VideoError(_why(self.name, error)) from error

    def _begin(self, start: float | None, end: float | None, warm_up: int) -> None:
        """Seek to --start, early enough to warm up."""
        origin = Fraction(self.container.start_time or 0, av.time_base)
        self._start = None if start is None else origin + Fraction(start).limit_denominator(1000)
        self._end = None if end is None else origin + Fraction(end).limit_denominator(1000)
        if self._start is None:
            return
        rate = self.stream.average_rate or self.stream.guessed_rate or Fraction(25)
        self._from = self._start - warm_up / rate
        try:
            self.container.seek(int(self._from * av.time_base), backward=True)
        except av.FFmpegError:
            self.notice(f"{self.name} cannot be wound forward; it is read from its beginning.")

    def _peek(self) -> Video:
        """Decode up to the first frame: headers promise what files do not keep."""
        for item in self._items:
            self._peeked.append(item)
            if isinstance(item, Frame):
                video = describe(self.container, self.stream, item.picture)
                if self._graph is not None:
                    video = replace(video, interlaced=True)  # the picture no longer is
                item.color = video.color
                return video
        raise VideoError(
            f"No frame of {self.name} can be decoded; check the file, or the time to start at."
        )

    @property
    def origin(self) -> Fraction:
        """The time in the file that became 0: --start, else 0."""
        return self._start or Fraction(0)

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
            yield self._peeked.popleft()
        for item in self._items:
            if isinstance(item, Frame):
                item.color = self.video.color
            yield item

    def frames(self) -> Iterator[Frame]:
        """Frames alone."""
        return (item for item in self if isinstance(item, Frame))

    def to_rgb(self, frame: Frame) -> NDArray[np.float32]:
        """The frame as (H, W, 3) float32 RGB in [0, 1]; kept in `frame.rgb`.

        A frame of another size than the first, or of another format, becomes like the first.
        """
        if frame.rgb is None:
            video, picture = self.video, frame.picture
            size = (video.width, video.height)
            if (picture.width, picture.height) != size:
                self.notice(f"The size changes; all is scaled to the first, {size[0]}x{size[1]}.")
                pts = picture.pts
                picture = reformat(picture, video.pixel_format, frame.color, self._scaler, size)
                picture.pts = pts
                frame.picture = picture
            frame.rgb = to_rgb(picture, frame.color, self._scaler)
        return frame.rgb

    def _read(self) -> Iterator[Frame | av.Packet]:
        self._scaler = VideoReformatter()
        self._last: int | None = None
        self._count = 0
        self._ticks: Fraction = self.stream.time_base
        self._graph: Any = None
        self._size: tuple[int, int] | None = None
        timeline = Timeline(self.notice)
        for packet in self._demux():
            if packet.size:
                timeline.place(packet)
            # A packet that ends a stream knows its stream, but not the stream's number.
            if packet.stream.index != self.stream.index:
                if packet.size and self._cut(packet):
                    yield packet
                continue
            try:
                pictures = self.stream.codec_context.decode(packet if packet.size else None)
            except av.FFmpegError:
                self.damaged += 1
                continue
            for picture in pictures:
                for progressive in self._deinterlace(picture):
                    yield from self._frame(progressive)
            # A second more, for packets of other streams that lie behind their pictures.
            if self._end is not None and packet.dts is not None and stamp(packet) > self._end + 1:
                break
        if self._graph is not None:
            for progressive in self._deinterlace(None):
                yield from self._frame(progressive)

    def _demux(self) -> Iterator[av.Packet]:
        streams = [s for s in self.container.streams if s.type in ("video", "audio", "subtitle")]
        failures = 0
        while failures < 20:
            try:
                for packet in self.container.demux(streams):
                    failures = 0
                    yield packet
                return
            except av.FFmpegError:
                # Demuxers often go on behind a damaged place; they must not try for ever.
                self.damaged += 1
                failures += 1
        self.notice(f"{self.name} cannot be read to its end.")

    def _deinterlace(self, picture: av.VideoFrame | None) -> list[av.VideoFrame]:
        """Pass frames through bwdif from the first interlaced one on; None ends the stream."""
        if self._graph is None:
            if picture is None or self.interlaced == "keep" or not picture.interlaced_frame:
                return [picture] if picture is not None else []
            self._graph = av.filter.Graph()
            source = self._graph.add_buffer(template=self.stream, time_base=self.stream.time_base)
            # Only marked frames, one frame for one frame: nothing is doubled, nothing dropped.
            bwdif = self._graph.add("bwdif", "mode=send_frame:deint=interlaced")
            sink = self._graph.add("buffersink")
            source.link_to(bwdif)
            bwdif.link_to(sink)
            self._graph.configure()
            self.notice("The video is interlaced; it is deinterlaced (--interlaced keep: not).")
        self._graph.push(picture)
        done = []
        while True:
            try:
                done.append(self._graph.pull())
            except (av.BlockingIOError, av.EOFError):
                return done

    def _frame(self, picture: av.VideoFrame) -> Iterator[Frame]:
        self.damaged += bool(picture.is_corrupt)
        ticks = self._ticks
        pts = picture.pts
        if self._graph is not None and pts is not None and picture.time_base:
            pts = round(pts * picture.time_base / ticks)  # a filter's are finer than the stream's
        if pts is None:
            step = max(1, round(1 / ((self.stream.average_rate or 25) * ticks)))
            pts = 0 if self._last is None else self._last + step
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
        yield Frame(picture, pts, ticks, Color(), self._count, warm_up)
        self._count += 1

    def _cut(self, packet: av.Packet) -> bool:
        """Whether a packet of another stream lies between --start and --end; it is moved too."""
        if self._start is None and self._end is None:
            return True
        time = stamp(packet)
        if self._end is not None and time >= self._end:
            return False
        if self._start is not None:
            if time + (packet.duration or 0) * packet.time_base <= self._start:
                return False
            late = round((self._start - time) / packet.time_base)
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


class VideoWriter:
    """Write one video: pictures with their time stamps, packets of other streams as they are.

    Args:
        target: the file to make; it appears only when all is done, a part file before.
        video: what to write; usually a reader's.
        encoding: codec and quality.
        source: a reader whose other streams, metadata and chapters go along.
        overwrite: replace a file that is there.
        format: FFmpeg's name of the container where the ending does not say it.
        notice: told what had to be done differently.

    Raises:
        VideoError: the target cannot be made, or the codec is not for it.
    """

    def __init__(
        self,
        target: str | Path,
        video: Video,
        encoding: Encoding = PLAIN,
        *,
        source: VideoReader | None = None,
        overwrite: bool = False,
        format: str | None = None,
        notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.video = video
        self.muxer = Muxer(target, overwrite=overwrite, format=format, notice=notice)
        try:
            supported = self.muxer.supported
            self.choice = choose(encoding, video, self.muxer.suffix, supported, notice)
            self.color = target_color(video, self.choice.edit_format)
            self.stream = self._add_stream()
            if source is not None:
                self.muxer.add_others(source)
        except BaseException:
            self.muxer.abandon()
            raise
        self._scaler, self._packer = VideoReformatter(), VideoReformatter()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def _add_stream(self) -> Any:
        video, choice = self.video, self.choice
        try:
            stream = self.muxer.container.add_stream(
                choice.codec, rate=video.rate, options=dict(choice.options)
            )
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(
                f"'{choice.codec}' does not go into {self.muxer.suffix}; choose another --codec."
            ) from error
        configure(stream.codec_context, video, choice.encode_format)
        stream.time_base = video.ticks
        # Frames side by side, as the ffmpeg program does it; slices of one cost size and time.
        stream.codec_context.thread_type = "AUTO"
        if choice.codec == "libx265" and self.muxer.fragmented:
            stream.codec_context.codec_tag = "hvc1"  # Apple's players want it
        if video.display_matrix:
            stream.set_display_matrix(list(video.display_matrix))
        stream.metadata.update(video.metadata)
        if video.disposition:
            stream.disposition = video.disposition
        return stream

    def write(
        self,
        frame: Frame,
        change: NDArray[np.float32] | Difference | None = None,
        key: bool = False,
    ) -> None:
        """Encode a frame, plus the change of its RGB ((H, W, 3) float32), at the frame's time.

        `key` asks for a key frame, so that a new encoder can go on from here.
        """
        yuv = frame.color if frame.color.matrix != RGB_MATRIX else self.color
        size = (self.video.width, self.video.height)
        picture = reformat(frame.picture, self.choice.edit_format, yuv, self._scaler, size)
        if change is not None:
            # The decoder still refers to its own pictures: change a copy.
            picture.make_writable()
            planes = [plane(picture, i) for i in range(min(3, len(picture.planes)))]
            add_change(planes, change, self.color, picture.format.components[0].bits)
        self._encode(picture, frame.pts, frame.time_base, key)

    def write_rgb(self, rgb: NDArray[np.uint8], pts: int) -> None:
        """Encode an (H, W, 3) uint8 RGB picture; `pts` counts `video.ticks`."""
        picture = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(rgb), format="rgb24")
        picture = reformat(picture, self.choice.edit_format, self.color, self._scaler)
        self._encode(picture, pts, self.video.ticks, False)

    def _encode(self, picture: av.VideoFrame, pts: int, time_base: Fraction, key: bool) -> None:
        choice = self.choice
        if choice.edit_format != choice.encode_format:
            picture = reformat(picture, choice.encode_format, self.color, self._packer)
        picture.pts, picture.time_base = pts, time_base
        picture.pict_type = 1 if key else 0  # never the source's, which would fix the new one's
        self._submit(picture)

    def _submit(self, picture: av.VideoFrame | None) -> None:
        try:
            packets = self.stream.encode(picture)
        except av.FFmpegError as error:
            raise VideoError(
                f"{self.choice.codec} fails ({error.strerror}); choose another --codec."
            ) from error
        for packet in packets:
            self.muxer.write_video(packet)

    def copy(self, packet: av.Packet) -> None:
        """Write a packet of another stream of the source."""
        self.muxer.write_other(packet)

    def finish(self) -> None:
        """Write what the encoder still holds and close the part file, leaving it a part file."""
        self._submit(None)
        self.muxer.close()

    def close(self) -> Path:
        """Finish the file and move it into place."""
        self.finish()
        return self.muxer.publish()

    def abandon(self) -> None:
        """Give up: close and delete the part file."""
        self.muxer.abandon()


def _why(name: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"There is no file {name}; check the path."
    if isinstance(error, IsADirectoryError):
        return f"{name} is a folder; name a file."
    if isinstance(error, PermissionError):
        return f"{name} may not be read; check its permissions."
    text = getattr(error, "strerror", None) or str(error)
    return f"{name} is not a video that FFmpeg can read ({text}); check the file."


def read_rgb(source: str | Path, limit: int | None = None) -> Iterator[NDArray[np.float32]]:
    """The frames of a file as (H, W, 3) float32 RGB in [0, 1], `limit` of them at most."""
    with VideoReader(source) as reader:
        for frame in reader.frames():
            if limit is not None and frame.index >= limit:
                return
            yield reader.to_rgb(frame)


def write_rgb(
    target: str | Path,
    pictures: Iterable[NDArray[np.uint8]],
    rate: Fraction | int = 25,
    encoding: Encoding = PLAIN,
    overwrite: bool = True,
) -> int:
    """Write (H, W, 3) uint8 RGB pictures at a constant rate; how many there were."""
    writer: VideoWriter | None = None
    count = 0
    for picture in pictures:
        if writer is None:
            height, width = picture.shape[:2]
            video = Video(width, height, Fraction(rate), color=Color(1, 1, 1))
            writer = VideoWriter(target, video, encoding, overwrite=overwrite)
        writer.write_rgb(picture, count)
        count += 1
    if writer is None:
        raise VideoError(f"There are no pictures to write to {target}.")
    writer.close()
    return count
