"""Choosing and setting up an encoder: codec by container, pixel format, quality, fall back.

Writing with it is writer.py's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import av
from av.codec.codec import Capabilities, UnknownCodecError, find_best_pix_fmt_of_list

from derain.pipeline.color import RGB_MATRIX, Color
from derain.pipeline.frames import EDITABLE, Video, depth
from derain.pipeline.mux import PIPE, VideoError

# Pixel formats that encoders want -> the editable one that holds the same.
PACKED = {"nv12": "yuv420p", "p010le": "yuv420p10le", "p016le": "yuv420p16le", "rgb8": "rgb24"}
PACKED |= {"bgr0": "rgb24", "rgb48be": "gbrp16le", "gray16be": "gray16le"}

BY_SUFFIX = {".webm": "libvpx-vp9", ".gif": "gif", ".nut": "ffv1", ".y4m": "wrapped_avframe"}
BY_SUFFIX |= {".png": "png", ".jpg": "mjpeg", ".jpeg": "mjpeg", ".mpg": "mpeg2video"}
SOFTWARE = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1", "vp9": "libvpx-vp9"}

HARDWARE = ("_nvenc", "_qsv", "_amf", "_vaapi", "_videotoolbox", "_v4l2m2m", "_mf", "_vulkan")

# Quality that looks like the source, on each encoder's own scale, and settings that keep up with
# the network on two cores: at these qualities slower presets save size, not looks.
CRF = {"libx264": 18, "libx265": 20, "libvpx-vp9": 24, "libvpx": 12, "libsvtav1": 22}
TUNING: dict[str, dict[str, str]] = {
    "libx264": {"preset": "veryfast", "forced-idr": "1"},
    "libx265": {"preset": "veryfast", "forced-idr": "1"},
    "libvpx-vp9": {"deadline": "good", "cpu-used": "5", "row-mt": "1", "b": "0"},
    "libvpx": {"deadline": "good", "cpu-used": "5", "b": "2M"},
    "libsvtav1": {"preset": "10"},
    "mjpeg": {"flags": "+qscale", "global_quality": "236"},
    "mpeg4": {"flags": "+qscale", "global_quality": "354"},
    "mpeg2video": {"flags": "+qscale", "global_quality": "354"},
    "ffv1": {"g": "1", "slicecrc": "1"},
}


@dataclass(frozen=True, slots=True)
class Encoding:
    """How to encode, by FFmpeg's names. None leaves the choice to the container and the source."""

    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    """A codec that was tried and opens, its options, and the formats to edit and to encode in."""

    codec: str
    options: dict[str, str]
    edit_format: str
    encode_format: str


def choose(
    encoding: Encoding,
    video: Video,
    suffix: str,
    supported: set[str],
    notice: Callable[[str], None],
) -> Choice:
    """Find the encoder for a video and a container, and try it on nothing.

    Args:
        supported: codec names that the container takes.
        notice: told what had to be done differently than asked.

    Raises:
        VideoError: no such encoder or option, or it does not go into the container.
    """
    name = encoding.codec or by_container(video, suffix, supported)
    codec = encoder(name)
    if codec.name == "libx265" and _too_small(video):
        raise VideoError("x265 fails on pictures below 64x64; leave --codec out, or use libx264.")
    if supported and not {codec.name, codec.canonical_name} & supported:
        raise VideoError(f"'{name}' does not go into {suffix}; choose another --codec or ending.")
    reason = trial(codec, encoding, video)
    if isinstance(reason, str):
        software = SOFTWARE.get(codec.canonical_name, name)
        hardware = codec.capabilities & (Capabilities.hardware | Capabilities.hybrid)
        if software == name or not (hardware or name.endswith(HARDWARE)):
            raise VideoError(f"{name} cannot start ({reason}); change the encoder's options.")
        notice(f"{name} does not work on this machine ({reason}); {software} is used instead.")
        codec = encoder(software)
        reason = trial(codec, Encoding(crf=encoding.crf), video)
        if isinstance(reason, str):
            raise VideoError(f"{software} cannot start ({reason}); choose another --codec.")
    lost = video.bits - depth(reason.edit_format)
    if lost > 0:
        notice(f"{codec.name} keeps {video.bits - lost} of {video.bits} bits; see --codec libx265.")
    if reason.edit_format.startswith("yuv444") and "444" not in video.pixel_format:
        notice(f"{codec.name} stores the odd size {video.width}x{video.height} as 4:4:4.")
    return reason


def encoder(name: str) -> av.Codec:
    """The encoder of that name."""
    try:
        return av.Codec(name, "w")
    except UnknownCodecError as error:
        raise VideoError(f"There is no encoder '{name}'; derain info lists them.") from error


def by_container(video: Video, suffix: str, supported: set[str]) -> str:
    """H.264 where the container takes it, H.265 for more than eight bits."""
    if suffix in BY_SUFFIX:
        return BY_SUFFIX[suffix]
    if suffix == PIPE:
        # Whatever reads the pipe decides what is kept and how.
        for name in ("rawvideo", "wrapped_avframe"):
            if name in supported:
                return name
    wanted = "libx264" if video.bits <= 8 or _too_small(video) else "libx265"
    for name in (wanted, "libx264", "libvpx-vp9", "mpeg4", "mpeg2video", "mjpeg", "ffv1"):
        if not supported or name in supported:
            return name
    raise VideoError(f"Nothing derain encodes goes into {suffix}; choose another ending.")


def _too_small(video: Video) -> bool:
    """Whether x265 cannot be trusted: below its blocks of 64 it writes beyond its own memory."""
    return min(video.width, video.height) < 64


def trial(codec: av.Codec, encoding: Encoding, video: Video) -> Choice | str:
    """Open the encoder for this video; the reason where it does not."""
    edit, encode = pixel_formats(codec, video)
    options = quality(codec, encoding, video)
    context: Any = codec.create("video")
    configure(context, video, encode)
    context.options = dict(options)
    try:
        context.open()
    except (av.FFmpegError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    unknown = set(context.options) & set(encoding.options)
    if unknown:
        raise VideoError(f"{codec.name} has no option '{unknown.pop()}'; check --encoder-opt.")
    return Choice(codec.name, options, edit, encode)


def configure(context: Any, video: Video, encode_format: str) -> None:
    """Tell an encoder size, time base and colour; all before it is opened."""
    color = target_color(video, encode_format)
    context.width, context.height, context.pix_fmt = video.width, video.height, encode_format
    # Without the framerate, rate control and some muxers guess; the time base alone says nothing.
    context.framerate = video.rate
    context.time_base = video.ticks
    if video.aspect:
        context.sample_aspect_ratio = video.aspect
    context.colorspace = color.matrix
    context.color_primaries = color.primaries
    context.color_trc = color.transfer
    context.color_range = 2 if color.full_range else 1
    if video.interlaced:
        flags = av.codec.context.Flags
        context.flags |= flags.interlaced_dct | flags.interlaced_me


def target_color(video: Video, pixel_format: str) -> Color:
    """The colour of what is encoded: the video's own, unless RGB becomes YUV or the reverse."""
    rgb = av.VideoFormat(pixel_format).is_rgb
    if rgb == (video.color.matrix == RGB_MATRIX):
        return video.color.resolved(video.height, rgb)
    plain = Color(primaries=video.color.primaries, transfer=video.color.transfer)
    return plain.resolved(video.height, rgb)


def pixel_formats(codec: av.Codec, video: Video) -> tuple[str, str]:
    """The pixel format to edit in and the one to encode in, keeping most of depth and chroma."""
    offered = [f.name for f in codec.video_formats or []] or EDITABLE
    usable = [name for name in offered if name in EDITABLE or name in PACKED]
    if (video.width % 2 or video.height % 2) and codec.name in ("libx264", "libx265"):
        usable = [name for name in usable if "444" in name]
    if codec.name == "gif":
        return "rgb24", "rgb8"
    if video.pixel_format in usable and video.pixel_format in EDITABLE:
        return video.pixel_format, video.pixel_format
    best, _ = find_best_pix_fmt_of_list(usable, video.pixel_format)
    if best is None:
        raise VideoError(f"'{codec.name}' takes no pixel format of ours; choose another --codec.")
    return PACKED.get(best.name, best.name), best.name


def quality(codec: av.Codec, encoding: Encoding, video: Video) -> dict[str, str]:
    """Options for a constant quality, by the names that the encoder has for it."""
    known = {o.name for o in codec.create("video").supported_options.private}
    options = dict(TUNING.get(codec.name, {}))
    crf = encoding.crf if encoding.crf is not None else CRF.get(codec.name, 20)
    for name in ("crf", "cq", "global_quality"):
        if name in known and (name != "global_quality" or encoding.crf is not None):
            options[name] = f"{crf:g}"
            break
    if encoding.preset and "preset" in known:
        options["preset"] = encoding.preset
    elif encoding.preset and "cpu-used" in known and encoding.preset.isdigit():
        options["cpu-used"] = encoding.preset
    if codec.name == "libx265":
        # x265 reports to standard error on its own.
        words = {"log-level": "none"} | video.light
        options["x265-params"] = ":".join(f"{k}={v}" for k, v in words.items())
    if codec.name == "libx264" and video.light:
        names = {"master-display": "mastering-display", "max-cll": "cll"}
        options["x264-params"] = ":".join(f"{names[k]}={v}" for k, v in video.light.items())
    return options | encoding.options
