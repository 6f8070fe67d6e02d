"""What a track's header says and PyAV does not: read from, or said by, a header of Matroska.

PyAV neither shows nor sets most of what containers say of a stream, but takes it all over from one
stream to another. So a source's stream is written into a header in memory, which is read here; and
a new stream is made like the only track of a header that says what it is to say.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO

import av
from av.container import InputContainer, OutputContainer
from av.video.stream import VideoStream

from derain.pipeline.video.copying.ebml import element, find, number
from derain.pipeline.video.copying.immersive import Immersive

VIDEO = ("18538067", "1654ae6b", "ae", "e0")  # segment, tracks, track, video
MAPPING, KIND, RECORD = "41e4", "41e7", "41ed"
DOLBY_VISION = {b"dvcC", b"dvvC", b"dvwC"}
CROP = ("54cc", "54bb", "54dd", "54aa")  # left, top, right, bottom
COLOUR, BRIGHTEST, BRIGHTEST_MEAN, MASTERING = "55b0", "55bc", "55bd", "55d0"
# Red, green, blue and white as x and y, then most and least light: where x265's words have each.
MASTERING_ORDER = (4, 5, 0, 1, 2, 3, 6, 7, 8, 9)
CODEC_IDS = {
    "h264": b"V_MPEG4/ISO/AVC",
    "hevc": b"V_MPEGH/ISO/HEVC",
    "mpeg4": b"V_MPEG4/ISO/ASP",
    "vp8": b"V_VP8",
    "vp9": b"V_VP9",
    "ffv1": b"V_FFV1",
}
TELLING = {"mov", "matroska"}  # FFmpeg's names of containers that have such headers


@dataclass(frozen=True, slots=True)
class Edges:
    """Pixels that a header cuts off a frame."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0


@dataclass(frozen=True, slots=True)
class SourceHeader:
    """What a source's header says."""

    crop: Edges = Edges()
    dolby_vision: bytes | None = None  # the code of its box, and its configuration record


@dataclass(frozen=True, slots=True)
class TrackMarks:
    """What a new track's header is to say."""

    immersive: Immersive | None = None
    dolby_vision: bytes | None = None  # as of a `SourceHeader`
    light: Mapping[str, str] = field(default_factory=dict)  # in the words of x265's parameters

    def __bool__(self) -> bool:
        return bool(self.immersive or self.dolby_vision or self.light)

    @property
    def names(self) -> set[str]:
        """What it says, as `side_data.LOST` calls it."""
        names = self.immersive.names if self.immersive else set()
        return names | ({"Dolby Vision"} if self.dolby_vision else set())

    def video_elements(self) -> bytes:
        """Those that lie in the element of the image."""
        views = self.immersive.elements() if self.immersive else b""
        return views + light_elements(self.light)

    def track_elements(self) -> bytes:
        """Those that lie in the element of the track."""
        if self.dolby_vision is None:
            return b""
        kind, record = self.dolby_vision[:4], self.dolby_vision[4:]
        return element(MAPPING, element(KIND, kind) + element(RECORD, record))


def light_elements(light: Mapping[str, str]) -> bytes:
    """Mastering display and content light level.

    Args:
        light: in the words of x265's parameters: master-display, max-cll.
    """
    content = b""
    if "max-cll" in light:
        most, mean = map(int, light["max-cll"].split(","))
        content += number(BRIGHTEST, most) + number(BRIGHTEST_MEAN, mean)
    if "master-display" in light:
        counts = list(map(int, re.findall(r"\d+", light["master-display"])))
        values = [counts[at] / (50000 if at < 8 else 10000) for at in MASTERING_ORDER]
        codes = (f"55{code:x}" for code in range(0xD1, 0xDB))
        pairs = zip(codes, values, strict=True)
        content += element(MASTERING, b"".join(element(c, struct.pack(">d", v)) for c, v in pairs))
    return element(COLOUR, content) if content else b""


def read_header(container: InputContainer, stream: VideoStream) -> SourceHeader:
    """What a source says of its film.

    Args:
        container: open, of any kind.
        stream: of it.
    """
    if not TELLING & set(container.format.name.split(",")):
        return SourceHeader()
    file = BytesIO()
    try:
        options = {"strict": "unofficial"}
        with av.open(file, "w", format="matroska", container_options=options) as header:
            header.add_stream_from_template(stream, opaque=True)
            header.start_encoding()
    except (av.FFmpegError, ValueError):
        return SourceHeader()  # of a codec that Matroska does not hold
    data = file.getvalue()
    edges = [int.from_bytes(next(find(data, *VIDEO, code), b""), "big") for code in CROP]
    records = (_dolby_vision(mapping) for mapping in find(data, *VIDEO[:3], MAPPING))
    return SourceHeader(Edges(*edges), next(filter(None, records), None))


def _dolby_vision(mapping: bytes) -> bytes | None:
    kind, record = next(find(mapping, KIND), b""), next(find(mapping, RECORD), b"")
    return kind + record if kind in DOLBY_VISION else None


def template(
    marks: TrackMarks, codec: str, size: tuple[int, int], extradata: bytes | None = None
) -> InputContainer | None:
    """A file whose only stream is of this codec and says what it is to say.

    Args:
        marks: what it says.
        codec: name of an encoder.
        size: width and height in pixels.
        extradata: the codec's header as files have it, for streams that are not encoded.

    Returns:
        None where Matroska has no code for the codec, or PyAV would take another encoder for it.
    """
    name = av.Codec(codec, "w").canonical_name
    if name not in CODEC_IDS or av.Codec(name, "w").name != codec:
        return None
    own = element("63A2", extradata) if extradata else b""
    return av.open(BytesIO(_header(marks, element("86", CODEC_IDS[name]) + own, size)))


def add_again(out: OutputContainer, stream: VideoStream, marks: TrackMarks) -> VideoStream | None:
    """Add a stream for packets of another, which says what it is to say.

    FFmpeg's reader of MP4 takes one kind of its own muxer's boxes for the other, so what a part
    file holds must be said again.

    Args:
        out: a file that is made.
        stream: of the part.
        marks: what to say.

    Returns:
        None where that cannot be said for its codec.
    """
    own = stream.codec_context
    encoder = av.Codec(own.codec.canonical_name, "w").name
    like = template(marks, encoder, (own.width, own.height), own.extradata)
    if like is None:
        return None
    copy = out.add_stream_from_template(like.streams.video[0])
    copy.time_base = stream.time_base
    context = copy.codec_context
    context.width, context.height, context.pix_fmt = own.width, own.height, own.pix_fmt
    context.colorspace, context.color_range = own.colorspace, own.color_range
    context.color_primaries, context.color_trc = own.color_primaries, own.color_trc
    context.framerate = stream.average_rate
    return copy


def _header(marks: TrackMarks, codec: bytes, size: tuple[int, int]) -> bytes:
    video = number("B0", size[0]) + number("BA", size[1]) + marks.video_elements()
    track = number("D7", 1) + number("73C5", 1) + number("83", 1) + codec + marks.track_elements()
    tracks = element("1654AE6B", element("AE", track + element("E0", video)))
    info = element("1549A966", number("2AD7B1", 1_000_000))
    cluster = element("1F43B675", number("E7", 0))
    kind = element("4282", b"matroska") + number("4287", 4) + number("4285", 2)
    return element("1A45DFA3", kind) + element("18538067", info + tracks + cluster)
