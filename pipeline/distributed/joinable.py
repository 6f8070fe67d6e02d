"""Encoders whose parts can be joined: what each must be told so that parts fit together."""

from __future__ import annotations

from derain.models.errors import DerainError
from derain.pipeline.video.encoders import Choice, Encoding

# Groups of pictures must be closed, and headers equal whatever the part holds.
SETTINGS: dict[str, dict[str, str]] = {
    "libx264": {"x264-params": "stitchable=1:open-gop=0"},
    "libx264rgb": {"x264-params": "stitchable=1:open-gop=0"},
    "libx265": {"x265-params": "open-gop=0"},
    "libvpx-vp9": {},
    "libvpx": {},
    "libsvtav1": {},
    "ffv1": {},
    "mpeg4": {},
    "mpeg2video": {},
    "mpeg1video": {},
    "mjpeg": {},
    "h264_nvenc": {"forced-idr": "1"},
    "hevc_nvenc": {"forced-idr": "1"},
}


def joinable(choice: Choice) -> Encoding:
    """How to encode parts as a whole film would be encoded.

    Args:
        choice: the encoder that was tried for the film.

    Raises:
        DerainError: parts of this encoder are not joined.
    """
    if choice.codec not in SETTINGS:
        raise DerainError(
            f"Parts of {choice.codec} cannot be joined; use derain video, or --codec with one of "
            f"{', '.join(SETTINGS)}."
        )
    options = dict(choice.options)
    for name, value in SETTINGS[choice.codec].items():
        options[name] = f"{options[name]}:{value}" if name in options else value
    return Encoding(codec=choice.codec, options=options)
