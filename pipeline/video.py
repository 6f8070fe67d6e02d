"""Reading and writing video with PyAV: frames with exact time stamps, and every other stream.

All decoding and encoding is here; mux.py holds the output file (copied streams, part file) and
color.py the arithmetic of colour. Networks and the streaming loop belong elsewhere: this file
imports nothing of ours but those two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.codec import find_best_pix_fmt_of_list
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from .color import RGB_MATRIX, SWSCALE, Color, add_change, to_float
from .mux import Muxer, VideoError

# What `_planes` can view and color.py can add to; anything else is converted to the nearest.
EDITABLE = (
    [f"yuv{s}p" for s in ("420", "422", "444", "440", "411", "410")]
    + [f"yuvj{s}p" for s in ("420", "422", "444", "440", "411")]
    + [f"yuv{s}p{b}le" for s in ("420", "422", "444") for b in (9, 10, 12, 14, 16)]
    + [f"yuva{s}p" for s in ("420", "422", "444")]
    + [f"yuva{s}p{b}le" for s in ("420", "422", "444") for b in (10, 16)]
    + ["gray", "gray10le", "gray12le", "gray16le", "rgb24"]
    + ["gbrp", "gbrp9le", "gbrp10le", "gbrp12le", "gbrp14le", "gbrp16le", "gbrap"]
)


@dataclass(frozen=True, slots=True)
class Video:
    """What a video stream is: everything a writer needs to make one like it."""

    width: int
    height: int
    rate: Fraction = Fraction(25)
    time_base: Fraction | None = None  # 1 / rate where None
    pixel_format: str = "yuv420p"
    color: Color = Color()  # noqa: RUF009 (frozen)
    aspect: Fraction | None = None  # of one pixel
    display_matrix: tuple[int, ...] | None = None  # 9 numbers, as in the MP4 track header
    codec: str = ""
    frames: int = 0  # declared or estimated; 0 where nobody knows
    duration: float | None = None  # seconds
    start: float = 0.0  # seconds, of the first frame as declared
    interlaced: bool = False
    metadata: dict[str, str] = field(default_factory=dict)
    disposition: int = 0

    @property
    def ticks(self) -> Fraction:
        """The unit of time stamps, in seconds."""
        return self.time_base or 1 / self.rate

    @property
    def bits(self) -> int:
        """Bits of a sample."""
        return int(av.VideoFormat(self.pixel_format).components[0].bits)


@dataclass(slots=True)
class Frame:
    """One decoded picture with its time stamp. `pts` counts `time_base` seconds."""

    picture: av.VideoFrame
    pts: int
    time_base: Fraction
    color: Color
    index: int = 0
    rgb: NDArray[np.float32] | None = None  # (H, W, 3) in [0, 1], filled by to_rgb

    @property
    def time(self) -> float:
        """Seconds."""
        return float(self.pts * self.time_base)

    def luma(self) -> NDArray[np.uint8]:
        """The first plane, (H, W), as eight bits: enough to compare pictures with."""
        plane = _plane(self.picture, 0)
        if plane.ndim == 3:
            return plane[..., 1]
        bits = self.picture.format.components[0].bits
        return plane if plane.dtype == np.uint8 else (plane >> (bits - 8)).astype(np.uint8)


class VideoReader:
    """Read one video file or source: frames in order, and the packets of all other streams.

    Args:
        source: a path, `-` for standard input, or anything FFmpeg opens (a URL, `%05d.png`).
        format: FFmpeg's name of the container where it cannot be guessed (lavfi, v4l2, …).
        options: FFmpeg's options for opening it.
        rate: frames per second of picture sequences.
        threads: of the decoder; 0 lets it choose.

    Raises:
        VideoError: it cannot be opened, or holds no video.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        format: str | None = None,
        options: dict[str, str] | None = None,
        threads: int = 0,
    ) -> None:
        self.name = str(source)
        self.damaged = 0
        try:
            self.container = av.open(
                "pipe:0" if self.name == "-" else self.name,
                format=format,
                options=options or {},
                metadata_errors="replace",
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            raise VideoError(_why(self.name, error)) from error
        pictures = [s for s in self.container.streams.video if not is_cover(s)]
        if not pictures:
            self.container.close()
            raise VideoError(f"{self.name} holds no video; give a file with a moving picture.")
        self.stream = pictures[0]
        self.others = [s for s in self.container.streams if s is not self.stream]
        context = self.stream.codec_context
        context.thread_count = threads
        context.thread_type = "AUTO"
        self.video = _describe(self.container, self.stream)
        self._reformat = VideoReformatter()
        self._last_pts: int | None = None
        self._count = 0

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    def __iter__(self) -> Iterator[Frame | av.Packet]:
        """Frames, and packets of the other streams, in the order of the file."""
        for packet in self._demux():
            if packet.stream_index != self.stream.index:
                if packet.size:
                    yield packet
                continue
            try:
                pictures = self.stream.codec_context.decode(packet if packet.size else None)
            except av.FFmpegError:
                self.damaged += 1
                continue
            for picture in pictures:
                yield self._frame(picture)

    def frames(self) -> Iterator[Frame]:
        """Frames alone."""
        return (item for item in self if isinstance(item, Frame))

    def _demux(self) -> Iterator[av.Packet]:
        streams = [s for s in self.container.streams if s.type != "attachment"]
        failures = 0
        while True:
            try:
                for packet in self.container.demux(streams):
                    failures = 0
                    yield packet
                return
            except av.FFmpegError:
                # The demuxer often goes on behind a damaged place; it must not do so for ever.
                self.damaged += 1
                failures += 1
                if failures > 20:
                    return

    def _frame(self, picture: av.VideoFrame) -> Frame:
        self.damaged += bool(picture.is_corrupt)
        pts = picture.pts
        step = max(1, round(1 / (self.video.rate * self.video.ticks)))
        if pts is None:
            pts = 0 if self._last_pts is None else self._last_pts + step
        elif self._last_pts is not None and pts <= self._last_pts:
            pts = self._last_pts + 1
        self._last_pts = pts
        self._count += 1
        return Frame(picture, pts, self.video.ticks, self.video.color, self._count - 1)

    def to_rgb(self, frame: Frame) -> NDArray[np.float32]:
        """The frame as (H, W, 3) float32 RGB in [0, 1]; kept in `frame.rgb`."""
        if frame.rgb is None:
            frame.rgb = to_rgb(frame.picture, frame.color, self._reformat)
        return frame.rgb


def to_rgb(
    picture: av.VideoFrame, color: Color, reformatter: VideoReformatter
) -> NDArray[np.float32]:
    """Convert a picture of any format to (H, W, 3) float32 RGB in [0, 1]."""
    if picture.format.components[0].bits > 8:
        # swscale turns rgb48 into garbage with some flags; planar 16 bit is right with all.
        deep = reformat(picture, "gbrp16le", color, reformatter)
        green, blue, red = (_plane(deep, i) for i in range(3))
        return to_float(np.stack([red, green, blue], axis=-1), 65535)
    return to_float(_plane(reformat(picture, "rgb24", color, reformatter), 0))


def reformat(
    picture: av.VideoFrame,
    format: str,
    color: Color,
    reformatter: VideoReformatter,
    size: tuple[int, int] | None = None,
) -> av.VideoFrame:
    """Convert format (and size, width first) with the right matrix and range on both sides."""
    width, height = size or (picture.width, picture.height)
    if picture.format.name == format and (picture.width, picture.height) == (width, height):
        return picture
    target = av.VideoFormat(format)
    matrix = SWSCALE.get(color.matrix, 5)
    yuv_range = 2 if color.full_range or format.startswith("yuvj") else 1
    return reformatter.reformat(
        picture,
        width=width,
        height=height,
        format=format,
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=2 if picture.format.is_rgb else yuv_range,
        dst_color_range=2 if target.is_rgb else yuv_range,
        threads=1,
    )


def _plane(picture: av.VideoFrame, index: int) -> NDArray[Any]:
    """A writable view of a plane: (H, W), or (H, W, 3) for rgb24; no copy."""
    plane = picture.planes[index]
    wide = picture.format.components[0].bits > 8
    rows = np.frombuffer(plane, np.uint16 if wide else np.uint8)
    rows = rows.reshape(-1, plane.line_size // rows.itemsize)[: plane.height]
    if picture.format.name == "rgb24":
        return rows[:, : plane.width * 3].reshape(plane.height, plane.width, 3)
    return rows[:, : plane.width]


@dataclass(frozen=True, slots=True)
class Encoding:
    """How to encode: FFmpeg's names. None leaves the choice to the writer."""

    codec: str | None = None
    crf: float | None = 18
    preset: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    pixel_format: str | None = None


class VideoWriter:
    """Write one video file: pictures with their time stamps, packets of other streams as they are.

    Args:
        target: the file to make; it appears only when all is done, a part file before.
        video: what to write; usually the reader's.
        encoding: codec and quality.
        source: a reader whose other streams, metadata and chapters go along.
        overwrite: replace a file that is there.

    Raises:
        VideoError: the target cannot be made, or the codec is not for it.
    """

    def __init__(
        self,
        target: str | Path,
        video: Video,
        encoding: Encoding = Encoding(),
        *,
        source: VideoReader | None = None,
        overwrite: bool = False,
        format: str | None = None,
    ) -> None:
        self.video = video
        self.notices: list[str] = []
        self._reformat = VideoReformatter()
        self.muxer = Muxer(target, overwrite=overwrite, format=format)
        try:
            self.stream = self._add_stream(encoding)
            if source is not None:
                self.notices += self.muxer.add_others(source.container, source.others)
        except BaseException:
            self.muxer.abandon()
            raise

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def _add_stream(self, encoding: Encoding) -> Any:
        video = self.video
        name = encoding.codec or self.muxer.default_codec(video.bits)
        try:
            codec = av.Codec(name, "w")
        except av.codec.codec.UnknownCodecError as error:
            raise VideoError(f"There is no encoder '{name}'; see derain info --codecs.") from error
        self.pixel_format = encoding.pixel_format or choose_pixel_format(codec, video)
        self.color = video.color.resolved(video.height)
        options = quality_options(codec, encoding)
        try:
            stream = self.muxer.container.add_stream(name, rate=video.rate, options=options)
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(
                f"'{name}' does not go into {self.muxer.target.suffix or 'this container'}; "
                "choose another --codec or another ending."
            ) from error
        stream.width, stream.height = video.width, video.height
        stream.pix_fmt = self.pixel_format
        stream.time_base = video.ticks
        context = stream.codec_context
        context.time_base = video.ticks
        if video.aspect:
            context.sample_aspect_ratio = video.aspect
        if not av.VideoFormat(self.pixel_format).is_rgb:
            context.colorspace = self.color.matrix if self.color.matrix != RGB_MATRIX else 1
        context.color_primaries = self.color.primaries
        context.color_trc = self.color.transfer
        context.color_range = 2 if self.color.full_range else 1
        if video.display_matrix:
            stream.set_display_matrix(list(video.display_matrix))
        stream.metadata.update(video.metadata)
        if video.disposition:
            stream.disposition = video.disposition
        return stream

    def write(self, frame: Frame, change: NDArray[np.float32] | None = None) -> None:
        """Encode a frame, plus the change of its RGB ((H, W, 3) float32), at the frame's time."""
        size = (self.video.width, self.video.height)
        picture = reformat(frame.picture, self.pixel_format, self.color, self._reformat, size)
        if change is not None:
            # The decoder still refers to its own pictures: change a copy.
            picture.make_writable()
            count = min(3, len(picture.planes))
            planes = [_plane(picture, i) for i in range(count)]
            rgb = picture.format.is_rgb
            color = replace(self.color, matrix=RGB_MATRIX) if rgb else self.color
            add_change(planes, change, color, picture.format.components[0].bits)
        self._encode(picture, frame.pts, frame.time_base)

    def write_rgb(self, rgb: NDArray[np.uint8], pts: int) -> None:
        """Encode an (H, W, 3) uint8 RGB picture; `pts` counts `video.ticks`."""
        picture = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(rgb), format="rgb24")
        picture = reformat(picture, self.pixel_format, self.color, self._reformat)
        self._encode(picture, pts, self.video.ticks)

    def _encode(self, picture: av.VideoFrame, pts: int, time_base: Fraction) -> None:
        picture.pts, picture.time_base = pts, time_base
        picture.pict_type = 0  # the encoder's choice, not the source's
        try:
            packets = self.stream.encode(picture)
        except av.FFmpegError as error:
            raise VideoError(
                f"{self.stream.codec_context.name} refused a picture ({error.strerror}); "
                "choose another --codec or --encoder-opt."
            ) from error
        for packet in packets:
            self.muxer.write_video(packet)

    def copy(self, packet: av.Packet) -> None:
        """Write a packet of another stream of the source."""
        self.muxer.write_other(packet)

    def close(self) -> Path:
        """Finish the file and move it into place."""
        self.finish()
        return self.muxer.publish()

    def finish(self) -> None:
        """Write what the encoder still holds and close the part file, leaving it a part file."""
        for packet in self.stream.encode(None):
            self.muxer.write_video(packet)
        self.muxer.close()

    def abandon(self) -> None:
        """Give up: close and delete the part file."""
        self.muxer.abandon()


def choose_pixel_format(codec: av.Codec, video: Video) -> str:
    """The encoder's pixel format that keeps most of the video's depth and chroma."""
    offered = {f.name for f in codec.video_formats or []} or set(EDITABLE)
    choices = [name for name in EDITABLE if name in offered]
    odd = video.width % 2 or video.height % 2
    if odd and codec.name in ("libx264", "libx265"):
        choices = [name for name in choices if "444" in name]
    if video.pixel_format in choices:
        return video.pixel_format
    best, _ = find_best_pix_fmt_of_list(choices, video.pixel_format)
    if best is None:
        raise VideoError(f"'{codec.name}' takes no pixel format of ours; choose another --codec.")
    return str(best.name)


def quality_options(codec: av.Codec, encoding: Encoding) -> dict[str, str]:
    """The encoder's options for a constant quality, by the names that encoder has."""
    known = {o.name for o in codec.create("video").supported_options.private}
    options: dict[str, str] = {}
    if encoding.crf is not None:
        for name in ("crf", "cq", "global_quality"):
            if name in known:
                options[name] = f"{encoding.crf:g}"
                break
    if encoding.preset and "preset" in known:
        options["preset"] = encoding.preset
    return options | encoding.options


def is_cover(stream: Any) -> bool:
    """Whether a video stream is a still picture attached to the file."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _describe(container: Any, stream: Any) -> Video:
    context = stream.codec_context
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate or Fraction(25)
    duration = None
    if stream.duration:
        duration = float(stream.duration * stream.time_base)
    elif container.duration:
        duration = container.duration / av.time_base
    frames = stream.frames or (round(duration * rate) if duration else 0)
    color = Color(
        int(context.colorspace),
        int(context.color_primaries),
        int(context.color_trc),
        int(context.color_range) == 2 or (context.pix_fmt or "").startswith("yuvj"),
    )
    return Video(
        width=context.width,
        height=context.height,
        rate=Fraction(rate),
        time_base=stream.time_base,
        pixel_format=context.pix_fmt or "yuv420p",
        color=color.resolved(context.height),
        aspect=context.sample_aspect_ratio,
        codec=context.name,
        frames=frames,
        duration=duration,
        start=float((stream.start_time or 0) * stream.time_base),
        metadata=dict(stream.metadata),
        disposition=int(stream.disposition),
    )


def _why(name: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"There is no file {name}; check the path."
    if isinstance(error, IsADirectoryError):
        return f"{name} is a folder; name a file, or add --recursive for all videos in it."
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
    encoding: Encoding = Encoding(),
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
