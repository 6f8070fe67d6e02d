"""Films of VR cameras: how two views lie in a frame, and what sphere the frame is the map of.

PyAV cannot set either on a stream that it encodes, but takes over what a template has. So a header
of Matroska is made in memory that says both, and the new stream is made like its only track.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO

import av
from av.container import InputContainer, OutputContainer
from av.video.stream import VideoStream

from derain.pipeline.video.copying.side_data import side_data

# Matroska's numbers for FFmpeg's kinds of stereo, in the usual order of views and inverted.
STEREO_MODES = {1: (1, 11), 2: (3, 2), 3: (13, 14), 4: (5, 4), 6: (7, 6), 7: (9, 8)}
IN_MP4 = {1, 3}  # side by side and one above the other, the left view first
EQUIRECTANGULAR, CUBEMAP, TILE = 0, 1, 2  # FFmpeg's numbers
MATROSKA_PROJECTION = {EQUIRECTANGULAR: 1, CUBEMAP: 2, TILE: 1}
ONE_DEGREE = 1 << 16
CODEC_IDS = {
    "h264": b"V_MPEG4/ISO/AVC",
    "hevc": b"V_MPEGH/ISO/HEVC",
    "mpeg4": b"V_MPEG4/ISO/ASP",
    "vp8": b"V_VP8",
    "vp9": b"V_VP9",
    "ffv1": b"V_FFV1",
}


@dataclass(frozen=True, slots=True)
class Immersive:
    """How a frame is to be seen with a headset."""

    stereo_mode: int = 0  # Matroska's number; 0: one view
    projection: int | None = None  # FFmpeg's number; None: flat
    angles: tuple[float, float, float] = (0.0, 0.0, 0.0)  # yaw, pitch, roll in degrees
    bounds: tuple[int, int, int, int] = (0, 0, 0, 0)  # left, top, right, bottom, in 2**-32
    padding: int = 0  # of a cube's faces, in pixels

    @property
    def names(self) -> set[str]:
        """What it holds, as `side_data.LOST` calls it."""
        stereo = {"the stereo mode"} if self.stereo_mode else set()
        return stereo | ({"the spherical projection"} if self.projection is not None else set())

    def in_mp4(self) -> bool:
        """Whether FFmpeg's muxer of MP4 writes it."""
        return self.stereo_mode in {0, *IN_MP4}


def immersive(image: av.VideoFrame) -> Immersive | None:
    """What a frame says of its views and its sphere that Matroska can say, too; None: nothing."""
    mode = 0
    stereo, sphere = side_data(image, "STEREO3D"), side_data(image, "SPHERICAL")
    if stereo:
        kind, flags = struct.unpack("<2i", stereo[:8])
        mode = STEREO_MODES.get(kind, (0, 0))[flags & 1]
    if sphere:
        projection, yaw, pitch, roll, *edges = struct.unpack("<4i5I", sphere[:36])
        if projection in MATROSKA_PROJECTION:
            left, top, right, bottom, padding = edges
            angles = (yaw / ONE_DEGREE, pitch / ONE_DEGREE, roll / ONE_DEGREE)
            return Immersive(mode, projection, angles, (left, top, right, bottom), padding)
    return Immersive(mode) if mode else None


def template(
    view: Immersive, codec: str, size: tuple[int, int], extradata: bytes | None = None
) -> InputContainer | None:
    """A file whose only stream is of this codec and says how it is to be seen.

    Args:
        view: what it says.
        codec: name of an encoder.
        size: width and height in pixels.
        extradata: the codec's header as files have it, for streams that are not encoded.

    Returns:
        None where Matroska has no code for the codec, or PyAV would take another encoder for it.
    """
    name = av.Codec(codec, "w").canonical_name
    if name not in CODEC_IDS or av.Codec(name, "w").name != codec:
        return None
    own = _element("63A2", extradata) if extradata else b""
    return av.open(BytesIO(_header(view, _element("86", CODEC_IDS[name]) + own, size)))


def add_again(out: OutputContainer, stream: VideoStream, view: Immersive) -> VideoStream | None:
    """Add a stream for packets of another, which says how it is to be seen.

    FFmpeg's reader of MP4 takes one kind of its own muxer's boxes for the other, so what a part
    file holds must be said again.

    Args:
        out: a file that is made.
        stream: of the part.
        view: what to say.

    Returns:
        None where that cannot be said for its codec.
    """
    own = stream.codec_context
    encoder = av.Codec(own.codec.canonical_name, "w").name
    like = template(view, encoder, (own.width, own.height), own.extradata)
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


def _header(view: Immersive, codec: bytes, size: tuple[int, int]) -> bytes:
    video = _number("B0", size[0]) + _number("BA", size[1])
    if view.stereo_mode:
        video += _number("53B8", view.stereo_mode)
    if view.projection is not None:
        video += _projection(view)
    track = _number("D7", 1) + _number("73C5", 1) + _number("83", 1) + codec
    tracks = _element("1654AE6B", _element("AE", track + _element("E0", video)))
    info = _element("1549A966", _number("2AD7B1", 1_000_000))
    cluster = _element("1F43B675", _number("E7", 0))
    kind = _element("4282", b"matroska") + _number("4287", 4) + _number("4285", 2)
    return _element("1A45DFA3", kind) + _element("18538067", info + tracks + cluster)


def _projection(view: Immersive) -> bytes:
    left, top, right, bottom = view.bounds
    content = _number("7671", MATROSKA_PROJECTION[view.projection or EQUIRECTANGULAR])
    if view.projection == TILE:
        content += _element("7672", struct.pack(">5I", 0, top, bottom, left, right))
    elif view.projection == CUBEMAP:
        content += _element("7672", struct.pack(">3I", 0, 0, view.padding))
    for code, degrees in zip(("7673", "7674", "7675"), view.angles, strict=True):
        content += _element(code, struct.pack(">d", degrees))
    return _element("7670", content)


def _element(code: str, content: bytes) -> bytes:
    """An element of EBML, with its length in eight bytes."""
    return bytes.fromhex(code) + (1 << 56 | len(content)).to_bytes(8, "big") + content


def _number(code: str, value: int) -> bytes:
    return _element(code, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))
