"""What a film says besides its samples: what a new file says, too, and what is told of the rest."""

from __future__ import annotations

import av
from av.codec.codec import Capabilities

from derain.pipeline.video.color import Color
from derain.pipeline.video.containers import Container
from derain.pipeline.video.copying.hdr_units import AMBIENT_LIGHT, DOLBY_VISION, is_single_layer
from derain.pipeline.video.copying.track_header import TrackMarks
from derain.pipeline.video.frames import Video, is_rgb

# Codecs that say themselves that luma has all values or not, and those that never have all.
RANGED = {"h264", "hevc", "vp9", "av1", "mjpeg"}
LIMITED = {"mpeg1video", "mpeg2video", "vp8", "prores"}
# Codecs that say themselves what colours mean, and those that convert them to what they mean.
COLOURED = {"h264", "hevc", "av1", "mpeg2video", "prores"}
CONVERTED = {"mjpeg", "png", "gif"}
HDR = {16, 18}  # PQ and HLG, as FFmpeg counts transfers
# Encoders that say themselves how light the display was on which the film was graded.
LIT = {"libx264", "libx265", "libsvtav1"}


def marks_for(video: Video, kind: Container) -> TrackMarks:
    """What the header of a container can say of a film.

    Args:
        video: the film.
        kind: the record of the container.
    """
    view, dolby_vision = video.immersive, video.dolby_vision
    if view is not None and (not kind.immersive or (kind.fragmented and not view.in_mp4())):
        view = None
    if not kind.dolby_vision or not is_single_layer(dolby_vision):
        dolby_vision = None
    return TrackMarks(view, dolby_vision, video.light if kind.light else {})


def carried(video: Video, codec: str, marks: TrackMarks) -> frozenset[str]:
    """What goes along with frames as units of H.265, by its name.

    Args:
        video: the film.
        codec: name of the encoder.
        marks: what the new header says.
    """
    encoder = av.Codec(codec, "w")
    tells_frames = encoder.capabilities & Capabilities.encoder_reordered_opaque
    if encoder.canonical_name != "hevc" or not tells_frames:
        return frozenset()
    # Players look for the record in the header before they look at frames.
    absent = {DOLBY_VISION} if marks.dolby_vision is None else set()
    return (video.carried - absent) | ({AMBIENT_LIGHT} if video.ambient else set())


def says_full_range(codec: str, kind: Container) -> bool:
    """Whether a film of the full range can be known as such; readers take others for limited."""
    name = av.Codec(codec, "w").canonical_name
    return name in RANGED or (kind.full_range and name not in LIMITED)


def _says_colours(video: Video, codec: str, kind: Container) -> bool:
    """Whether colours are known for what they are, or are those that readers expect."""
    name = av.Codec(codec, "w").canonical_name
    if kind.colours or name in COLOURED:
        return True
    expected = Color().resolved(video.height, is_rgb(video.pixel_format))
    same = name in CONVERTED or video.color.matrix == expected.matrix
    return same and video.color.transfer not in HDR


def losses(
    video: Video, codec: str, kind: Container, marks: TrackMarks, units: frozenset[str]
) -> list[str]:
    """What is not said again, a sentence or none.

    Args:
        video: the film.
        codec: name of the encoder.
        kind: the record of the container.
        marks: what the new header says.
        units: what goes along with frames, as of `carried`.
    """
    kept = units | (marks.immersive.names if marks.immersive else set())
    lost = [name for name in video.unkept if name not in kept]
    if video.light and not marks.light and codec not in LIT:
        lost.append("the mastering display and light level")
    if not _says_colours(video, codec, kind):
        lost.append("what its colours mean")
    if not lost:
        return []
    what = f"{codec} into {kind.suffix}"
    return [f"The new film does not keep {' and '.join(lost)}, which {what} cannot say."]
