"""Choosing and setting up an encoder: codec by container, pixel format, quality, fall back.

Writing with it is writer.py's.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction

import av
from av.codec.codec import Capabilities, UnknownCodecError, find_best_pix_fmt_of_list
from av.video.codeccontext import VideoCodecContext

from derain.models.errors import VideoError
from derain.models.log import Log
from derain.pipeline.video.color import JPEG_MATRIX, RGB_MATRIX, Color
from derain.pipeline.video.containers import PIPE, Container
from derain.pipeline.video.copying.film import says_full_range
from derain.pipeline.video.copying.side_data import svt_words
from derain.pipeline.video.frames import EDITABLE, Video, depth, has_alpha, is_rgb

# Pixel formats that encoders want -> the editable one that holds the same.
PACKED = {"nv12": "yuv420p", "p010le": "yuv420p10le", "p016le": "yuv420p16le", "rgb8": "rgb24"}
PACKED |= {"bgr0": "rgb24", "bgra": "gbrap", "rgb48be": "gbrp16le", "gray16be": "gray16le"}

SOFTWARE = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1", "vp9": "libvpx-vp9"}

X26X = ("libx264", "libx265")
HARDWARE = ("_nvenc", "_qsv", "_amf", "_vaapi", "_videotoolbox", "_v4l2m2m", "_mf", "_vulkan")

# Codecs that say the shape of a pixel themselves. Of the containers MP4 says it (mp4_finalize.py):
# PyAV lets it be set on streams that are copied, not on those that are encoded.
SHAPED = {"h264", "hevc", "mpeg4", "mjpeg"}
FRAME_SHAPES = {Fraction(4, 3), Fraction(16, 9), Fraction(221, 100)}  # that MPEG-2 can say

# Quality that looks like the source, on each encoder's own scale, and settings that keep up with
# the network on two cores: at these qualities slower presets save size, not looks.
CRF = {
    "libx264": 18,
    "libx264rgb": 18,
    "libx265": 20,
    "libvpx-vp9": 24,
    "libvpx": 12,
    "libsvtav1": 22,
}
TUNING: dict[str, dict[str, str]] = {
    "libx264": {"preset": "veryfast", "forced-idr": "1"},
    "libx264rgb": {"preset": "veryfast", "forced-idr": "1"},
    "libx265": {"preset": "veryfast", "forced-idr": "1"},
    "libvpx-vp9": {"deadline": "good", "cpu-used": "5", "row-mt": "1", "b": "0"},
    "libvpx": {"deadline": "good", "cpu-used": "5", "b": "2M"},
    "libsvtav1": {"preset": "10"},
    "mjpeg": {"flags": "+qscale", "global_quality": "236"},
    "mpeg4": {"flags": "+qscale", "global_quality": "354"},
    "mpeg1video": {"flags": "+qscale", "global_quality": "354"},
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
    kind: Container,
    supported: set[str],
    notice: Log,
) -> Choice:
    """Find the encoder for a video and a container, and try it on nothing.

    Args:
        encoding: what the user asks for.
        video: what is to be encoded.
        kind: the record of the container.
        supported: codec names that the container takes.
        notice: told what had to be done differently than asked.

    Raises:
        VideoError: no such encoder or option, or it does not go into the container.
    """
    name = encoding.codec or by_container(video, kind, supported)
    codec = encoder(name)
    if supported and not {codec.name, codec.canonical_name} & supported:
        raise VideoError(f"'{name}' does not go into {kind.suffix}; {other_codec(kind)}.")
    if codec.name == "libx265" and _too_small(video):
        raise VideoError("x265 fails on frames below 64x64; leave --codec out, or use libx264.")
    reason = trial(codec, encoding, video, kind)
    if isinstance(reason, str):
        software = SOFTWARE.get(codec.canonical_name, name)
        hardware = codec.capabilities & (Capabilities.hardware | Capabilities.hybrid)
        if software == name or not (hardware or name.endswith(HARDWARE)):
            if name in ("mpeg1video", "mpeg2video"):
                reason = f"perhaps because of {float(video.rate):g} frames a second"
            raise VideoError(
                f"{name} cannot start ({reason}); change the encoder's options, or choose another "
                "--codec or ending."
            )
        notice(f"{name} does not work on this machine ({reason}); {software} is used instead.")
        codec = encoder(software)
        reason = trial(codec, Encoding(crf=encoding.crf), video, kind)
        if isinstance(reason, str):
            raise VideoError(f"{software} cannot start ({reason}); choose another --codec.")
    warn_unsupported_features(reason, video, kind, notice)
    return reason


def warn_unsupported_features(choice: Choice, video: Video, kind: Container, notice: Log) -> None:
    """Say what the encoder or the container does not keep, and what would.

    Args:
        choice: the encoder.
        video: what the source has.
        kind: the record of the container.
        notice: told one sentence for each loss.
    """
    codec, edit = choice.codec, choice.edit_format
    lost = video.bits - depth(edit)
    if lost > 0:
        more = "ffv1" if codec == "libx265" else kind.deep_encoder or "libx265"
        notice(f"{codec} keeps {video.bits - lost} of {video.bits} bits; see --codec {more}.")
    if odd(video) and edit.startswith("yuv444") and "444" not in video.pixel_format:
        notice(f"{codec} stores the odd size {video.width}x{video.height} as 4:4:4.")
    elif codec in X26X and is_rgb(video.pixel_format) and edit == "yuv420p":
        notice("RGB becomes 4:2:0, which every player shows; --codec libx264rgb keeps RGB.")
    elif is_rgb(video.pixel_format) and not is_rgb(edit) and kind.pixel_formats:
        notice(f"RGB becomes YUV, which is all that {kind.suffix} holds; .nut or .mkv keep it.")
    if video.transparent and not has_alpha(video.pixel_format):
        notice("FFmpeg does not decode the transparency of this video; it is left out.")
    elif video.transparent and not has_alpha(choice.encode_format):
        notice(f"{codec} stores no transparency; --codec ffv1 into .mkv keeps it.")
    canonical = av.Codec(codec, "w").canonical_name
    aspect = video.aspect or Fraction(1)
    shape = aspect * video.width / video.height
    told = canonical in SHAPED or (canonical == "mpeg2video" and shape in FRAME_SHAPES)
    if aspect != 1 and not (told or kind.pixel_aspect):
        notice(f"{codec} does not keep the shape of a pixel, {video.aspect}; --codec libx264 does.")


def other_codec(kind: Container) -> str:
    """What to do where a container refuses a codec."""
    if kind.encoder is None:
        return "choose another --codec or ending"
    deep = f", or {kind.deep_encoder} for more than eight bits" if kind.deep_encoder else ""
    return f"leave --codec out, which takes {kind.encoder}{deep}"


def encoder(name: str) -> av.Codec:
    """The encoder of that name."""
    try:
        return av.Codec(name, "w")
    except UnknownCodecError as error:
        raise VideoError(f"There is no encoder '{name}'; derain info lists them.") from error


def by_container(video: Video, kind: Container, supported: set[str]) -> str:
    """H.264 where the container takes it, H.265 for more than eight bits.

    Args:
        video: whose bit depth counts.
        kind: the record of the container.
        supported: codecs that the container takes, by FFmpeg's names.
    """
    if kind.encoder is not None:
        return kind.encoder
    if kind.suffix == PIPE:
        # Whatever reads the pipe decides what is kept and how.
        for name in ("rawvideo", "wrapped_avframe"):
            if name in supported:
                return name
    wanted = "libx264" if video.bits <= 8 or _too_small(video) else "libx265"
    others = ("libvpx-vp9", "mpeg4", "mpeg2video", "mpeg1video", "mjpeg", "ffv1")
    for name in (wanted, "libx264", *others):
        if not supported or name in supported:
            return name
    raise VideoError(f"Nothing derain encodes goes into {kind.suffix}; choose another ending.")


def _too_small(video: Video) -> bool:
    """Whether x265 cannot be trusted: below its blocks of 64 it writes beyond its own memory."""
    return min(video.width, video.height) < 64


def odd(video: Video) -> bool:
    """Whether 4:2:0 does not come out even, which x264 and x265 refuse."""
    return bool(video.width % 2 or video.height % 2)


def trial(codec: av.Codec, encoding: Encoding, video: Video, kind: Container) -> Choice | str:
    """Open the encoder for this video; the reason where it does not.

    Args:
        codec: the encoder.
        encoding: what the user asked for.
        video: what is to be encoded.
        kind: the record of the container.
    """
    edit, encode = pixel_formats(codec, video, kind)
    options = quality(codec, encoding, video, kind)
    context: VideoCodecContext = codec.create("video")
    configure(context, video, encode, kind.constant_rate)
    context.options = dict(options)
    try:
        context.open()
    except (av.FFmpegError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    unknown = set(context.options) & set(encoding.options)
    if unknown:
        raise VideoError(f"{codec.name} has no option '{unknown.pop()}'; check --encoder-opt.")
    return Choice(codec.name, options, edit, encode)


def configure(
    context: VideoCodecContext, video: Video, encode_format: str, constant_rate: bool = False
) -> None:
    """Tell an encoder size, time base and colour; all before it is opened.

    Args:
        context: of the encoder, not open yet.
        video: what is to be encoded.
        encode_format: FFmpeg's name of the pixel format.
        constant_rate: count frames, not the video's own ticks.
    """
    color = target_color(video, encode_format)
    if context.name == "mjpeg":
        color = replace(color, matrix=JPEG_MATRIX, full_range=True)
    context.width, context.height, context.pix_fmt = video.width, video.height, encode_format
    # Without the framerate, rate control and some muxers guess; the time base alone says nothing.
    context.framerate = video.rate
    # MPEG-1 and 2 count frames, MPEG-4 counts ticks in 16 bits.
    ticks = {"mpeg1video": 0, "mpeg2video": 0, "mpeg4": 65535}.get(context.name)
    fine = ticks is not None and video.ticks.denominator > ticks
    context.time_base = 1 / video.rate if fine or constant_rate else video.ticks
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
    rgb = is_rgb(pixel_format)
    if rgb == (video.color.matrix == RGB_MATRIX):
        return video.color.resolved(video.height, rgb)
    plain = Color(primaries=video.color.primaries, transfer=video.color.transfer)
    return plain.resolved(video.height, rgb)


def pixel_formats(codec: av.Codec, video: Video, kind: Container) -> tuple[str, str]:
    """The pixel format to edit in and the one to encode in, keeping most of depth and chroma.

    Args:
        codec: the encoder.
        video: what is to be encoded.
        kind: the record of the container, which may take a few formats alone.
    """
    offered = [f.name for f in codec.video_formats or []] or EDITABLE
    usable = [name for name in offered if name in EDITABLE or name in PACKED]
    if kind.pixel_formats:
        usable = [name for name in usable if name in kind.pixel_formats]
    if codec.name == "gif":
        return "rgb24", "rgb8"
    if codec.name == "mjpeg":
        # Edited as the source is, then turned into what JPEG means (frames.reformat).
        usable = [name for name in usable if not name.startswith("yuvj")]
        best, _ = find_best_pix_fmt_of_list(usable, video.pixel_format.replace("yuvj", "yuv"))
        return best.name, best.name.replace("yuv", "yuvj")
    if not (video.pixel_format.startswith("yuvj") and says_full_range(codec.name, kind)):
        usable = [name for name in usable if not name.startswith("yuvj")]
    if codec.name in X26X and odd(video):
        usable = [name for name in usable if "444" in name]
    elif codec.name in X26X and is_rgb(video.pixel_format) and video.bits <= 8:
        return "yuv420p", "yuv420p"  # 4:4:4 and RGB play in few browsers and on no phone
    if video.pixel_format in usable and video.pixel_format in EDITABLE:
        return video.pixel_format, video.pixel_format
    best, _ = find_best_pix_fmt_of_list(usable, video.pixel_format)
    if best is None:
        raise VideoError(f"'{codec.name}' takes no pixel format of ours; choose another --codec.")
    return PACKED.get(best.name, best.name), best.name


def quality(codec: av.Codec, encoding: Encoding, video: Video, kind: Container) -> dict[str, str]:
    """Options for a constant quality, by the names that the encoder has for it.

    Args:
        codec: the encoder.
        encoding: what the user asked for.
        video: what is to be encoded.
        kind: the record of the container.
    """
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
    if not kind.b_frames and codec.canonical_name in ("h264", "hevc"):
        options["bf"] = "0"
    if codec.name == "libx265":
        # x265 reports to standard error on its own.
        words = {"log-level": "none"} | video.light
        options["x265-params"] = ":".join(f"{k}={v}" for k, v in words.items())
    if codec.name == "libsvtav1" and video.light:
        options["svtav1-params"] = ":".join(svt_words(video.light))
    if codec.name == "libx264" and video.light:
        names = {"master-display": "mastering-display", "max-cll": "cll"}
        options["x264-params"] = ":".join(f"{names[k]}={v}" for k, v in video.light.items())
    return options | encoding.options
