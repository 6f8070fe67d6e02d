"""Opening a source with FFmpeg: names, devices, streams, and why it cannot be opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
from av.codec.hwaccel import HWAccel

from derain.models.errors import VideoError
from derain.pipeline.video.copying.streams import is_cover
from derain.pipeline.video.paths import local


def open_source(
    name: str,
    format: str | None,
    options: dict[str, str],
    hwaccel: str | None,
    notice: Callable[[str], None],
) -> Any:
    """PyAV's input container.

    Args:
        name: a path, `-`, a URL, a camera, `lavfi:GRAPH`.
        format: FFmpeg's name of the container, where it cannot be guessed.
        options: FFmpeg's, for opening.
        hwaccel: kind of device to decode on, where it is there and can.
        notice: told that the CPU decodes instead.

    Raises:
        VideoError: it cannot be opened.
    """
    source = "pipe:0" if name == "-" else name
    if format is None and name.startswith("lavfi:"):
        format, source = "lavfi", name.removeprefix("lavfi:")
    elif format is None or Path(source).is_file():  # not devices, such as "0:1"
        source = local(source)
    if source.startswith("rtsp"):
        # UDP, FFmpeg's first choice, loses packets.
        options = {"rtsp_flags": "prefer_tcp"} | options
    try:
        return av.open(
            source,
            format=format,
            options=options,
            metadata_errors="replace",
            timeout=30 if "://" in source else None,
            hwaccel=_device(hwaccel, notice) if hwaccel else None,
        )
    except (av.FFmpegError, OSError, ValueError, RuntimeError, NotImplementedError) as error:
        raise VideoError(_why(name, error)) from error


def film_stream(container: Any, name: str) -> Any:
    """The video stream that is the film: FFmpeg's choice, but none of one picture beside a longer.

    Args:
        container: an open source.
        name: of the source, for the sentence.

    Raises:
        VideoError: no stream has moving pictures, or nobody here decodes it.
    """
    films = [s for s in container.streams.video if not is_cover(s)]
    if not films:
        raise VideoError(f"{name} holds no video; give a file with moving pictures.")
    best = container.streams.best("video")
    stream = next((s for s in films if s.index == best.index), None) if best else films[0]
    if stream is None or stream.frames == 1:
        stream = max(films, key=lambda each: each.frames)
    if stream.codec_context is None:
        raise VideoError(f"Nobody here decodes the picture of {name}; convert it.")
    return stream


def is_announcing_still(stream: Any, film: Any) -> bool:
    """Whether a stream is the still image that AVIF and HEIF have before their animation.

    Args:
        stream: any stream of the file.
        film: the stream that holds the moving pictures.
    """
    return bool(
        stream.type == "video"
        and not is_cover(stream)
        and stream.frames == 1
        and stream.duration is None
        and film.frames > 1
    )


def _device(kind: str, notice: Callable[[str], None]) -> HWAccel | None:
    """A device to decode on, tried before a source is opened that can be opened but once."""
    device = HWAccel(kind, allow_software_fallback=True)
    try:
        device.create(av.Codec("h264", "r"))
    except NotImplementedError:
        pass  # it may decode other codecs
    except (av.FFmpegError, OSError, ValueError):
        notice(f"There is no working device for --hwaccel {kind}; the CPU decodes.")
        return None
    return device


def _why(name: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"There is no file {name}; check the path."
    if isinstance(error, IsADirectoryError):
        return f"{name} is a folder; name a file."
    if isinstance(error, PermissionError):
        return f"{name} may not be read; check its permissions."
    text = getattr(error, "strerror", None) or str(error)
    return f"{name} is not a video that FFmpeg can read ({text}); check the file."
