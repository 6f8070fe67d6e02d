"""What a stream is, by its header and its first decoded frame."""

from __future__ import annotations

from fractions import Fraction

import av
from av.container import InputContainer
from av.format import Flags
from av.video.stream import VideoStream

from derain.pipeline.video.color import Color
from derain.pipeline.video.copying.hdr_units import ambient_unit, name_of
from derain.pipeline.video.copying.immersive import immersive
from derain.pipeline.video.copying.side_data import display_matrix, light, side_data, unkept
from derain.pipeline.video.frames import Video, has_alpha, is_rgb

FASTEST = 1000  # frames a second that are believed where another number is there, too
INDEXED = ("mov", "avi")  # containers whose index lists every frame


def frame_rate(container: InputContainer, stream: VideoStream) -> Fraction:
    """Frames per second."""
    said = stream.codec_context.framerate
    bare = Flags.no_timestamps in Flags(container.format.flags)
    if bare and "framerate" not in container.options and said and 1 <= said <= FASTEST:
        # Without time in the file, what FFmpeg calls its average is 25 whatever the codec says.
        return Fraction(said)
    rates = (stream.average_rate, stream.guessed_rate, stream.base_rate, said)
    known = [Fraction(rate) for rate in rates if rate]
    # Of raw DV the average is the number of ticks.
    return next((rate for rate in known if rate <= FASTEST), known[0] if known else Fraction(25))


def describe(container: InputContainer, stream: VideoStream, first: av.VideoFrame) -> Video:
    """What the stream is, by its header and its first decoded frame.

    Args:
        container, stream: open for reading, and the film in it.
        first: its first decoded frame.
    """
    rate = frame_rate(container, stream)
    duration = None
    if stream.duration:
        duration = float(stream.duration * stream.time_base)
    elif container.duration:
        duration = container.duration / av.time_base
    name = first.format.name
    color = Color(
        int(first.colorspace),
        int(first.color_primaries),
        int(first.color_trc),
        int(first.color_range) == 2 or name.startswith("yuvj"),
    )
    context = stream.codec_context
    counted, hidden = count(container, stream)
    return Video(
        width=first.width,
        height=first.height,
        rate=rate,
        time_base=stream.time_base,
        pixel_format=name,
        color=color.resolved(first.height, is_rgb(name)),
        aspect=stream.sample_aspect_ratio or context.sample_aspect_ratio,
        display_matrix=display_matrix(first),
        light=light(first),
        immersive=immersive(first),
        ambient=ambient_unit(side_data(first, "AMBIENT_VIEWING_ENVIRONMENT")),
        unkept=tuple(dict.fromkeys([*unkept(first), *map(name_of, first.opaque or ())])),
        codec=context.name,
        frames=counted or (round(duration * rate) if duration else 0),
        counted=bool(counted),
        hidden=hidden,
        duration=duration,
        interlaced=bool(first.interlaced_frame),
        transparent=transparent(stream, first),
        # Matroska's alpha_mode tells how it is stored, which is for the new file's muxer to say.
        metadata={k: v for k, v in stream.metadata.items() if k.lower() != "alpha_mode"},
        disposition=int(stream.disposition),
    )


def transparent(stream: VideoStream, first: av.VideoFrame) -> bool:
    """Whether a stream has an alpha channel that could matter."""
    if any(k.lower() == "alpha_mode" and v != "0" for k, v in stream.metadata.items()):
        return True  # FFmpeg's own decoders of VP8 and VP9 leave it out
    if stream.codec_context.name == "gif" or first.format.has_palette:
        # There alpha is the decoder's habit; most are opaque.
        return bool(first.reformat(format="rgba").to_ndarray()[..., 3].min() < 255)
    return has_alpha(first.format.name)


def count(container: InputContainer, stream: VideoStream) -> tuple[int, int]:
    """Frames that are to be shown, and frames that an edit list leaves out; 0 where unknown."""
    stored, index = stream.frames, stream.index_entries
    if not (stored and len(index) and container.format.name.startswith(INDEXED)):
        return stored, 0
    # The header's number is the first fragment's in some MP4, and counts ticks of time in some AVI.
    shown = sum(not entry.is_discard for entry in index)
    return shown, max(0, stored - shown) if shown < len(index) else 0
