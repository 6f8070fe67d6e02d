"""Opening a source with FFmpeg: names, devices, playlists, streams, and why it cannot be opened."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from derain.models.errors import VideoError
from derain.models.log import Log
from derain.pipeline.storage.stores import StoreError, StorePath, is_stored
from derain.pipeline.video.decoding.animation import as_film, is_animated_webp
from derain.pipeline.video.paths import local

LOCAL = "file,crypto,data,pipe,fd"  # protocols that leave the machine alone
NETWORK = (
    "http,https,httpproxy,tls,tcp,udp,udplite,rtp,srtp,rtsp,rtsps,rtmp,rtmpe,rtmps,rtmpt,rtmpte,"
    "rtmpts,ffrtmphttp,ffrtmpcrypt,srt,rist,sctp,mmsh,mmst,gopher,gophers,ftp,sftp,icecast,"
    "crypto,data"
)
# Formats of text that names other files or addresses. HLS asks for each of them through a function
# of ours, and concat refuses by itself what is not below its folder; the others are not held in.
FENCED = ("hls", "concat")
PLAYLISTS = {*FENCED, "dash", "sdp", "rtsp", "imf", "sap", "avisynth", "vapoursynth"}
OUTSIDE = "{} reaches {}, which is not below its folder; --allow-network-playlists allows that."
Opener = Callable[[str, int, dict[str, str]], BinaryIO]


def open_source(
    name: str,
    format: str | None,
    options: dict[str, str],
    hwaccel: str | None,
    notice: Log,
    allow_network_playlists: bool = False,
) -> InputContainer:
    """PyAV's input container.

    Args:
        name: a path, `-`, a URL, a camera, `lavfi:GRAPH`.
        format: FFmpeg's name of the container, where it cannot be guessed.
        options: FFmpeg's, for opening.
        hwaccel: kind of device to decode on, where it is there and can.
        notice: told that the CPU decodes instead.
        allow_network_playlists: whether a file may name files outside its folder, and addresses.

    Raises:
        VideoError: it cannot be opened, or is a playlist that may not be followed.
    """
    source = "pipe:0" if name == "-" else name
    if format is None and name.startswith("lavfi:"):
        format, source = "lavfi", name.removeprefix("lavfi:")
    elif format is None or Path(source).is_file():  # not devices, such as "0:1"
        source = local(source)
    if source.startswith("rtsp"):
        # UDP, FFmpeg's first choice, loses packets.
        options = {"rtsp_flags": "prefer_tcp"} | options
    settings = {
        "options": _protocols(source, format, allow_network_playlists) | options,
        "metadata_errors": "replace",
        "timeout": 30 if "://" in source else None,
        "hwaccel": _device(hwaccel, notice) if hwaccel else None,
    }
    try:
        if is_stored(name):
            return _open_stored(name, format, settings)
        if format is None and is_animated_webp(name):
            return av.open(as_film(name), format="nut", metadata_errors="replace")
        if allow_network_playlists or _is_remote(source) or format not in {None, *PLAYLISTS}:
            return av.open(source, format=format, **settings)
        return _open_local(name, source, format, settings)
    except (StoreError, VideoError):
        raise
    except (av.FFmpegError, OSError, ValueError, RuntimeError, NotImplementedError) as error:
        raise VideoError(_why(name, error)) from error


def _open_stored(name: str, format: str | None, settings: dict[str, Any]) -> InputContainer:
    """Open a film of an object store, which FFmpeg does not know; it may name no other files."""
    stored = StorePath(name)
    if not stored.exists():
        raise VideoError(f"There is no {name}; check the name.")
    options = settings.pop("options") | {"format_whitelist": _plain_formats()}
    return av.open(stored.open(), format=format, options=options, **settings)


def _is_remote(source: str) -> bool:
    scheme, found, _ = source.partition("://")
    return bool(found) and scheme.lower() != "file"


def _protocols(source: str, format: str | None, all_of_them: bool) -> dict[str, str]:
    """The protocols that a source may use by whatever it names; those of its own name are asked."""
    if format is not None and format not in PLAYLISTS:
        return {}  # a graph or a device, which the user wrote down
    scheme, colon, _ = source.partition(":")
    own = scheme.lower().split(",")[0] if colon and "/" not in scheme else "file"
    if all_of_them:
        return {"protocol_whitelist": f"{own},{LOCAL},{NETWORK}", "safe": "0"}
    if _is_remote(source):
        return {"protocol_whitelist": f"{own},{NETWORK}"}
    return {"protocol_whitelist": f"{own},{LOCAL}"}


def _open_local(
    name: str, source: str, format: str | None, settings: dict[str, Any]
) -> InputContainer:
    """Open what is no playlist, or one that stays within its folder."""
    options = settings.pop("options")

    def attempt(allowed: str, opener: Opener | None = None) -> InputContainer:
        chosen = {"format_whitelist": allowed} | options
        return av.open(source, format=format, options=chosen, io_open=opener, **settings)

    plain = _plain_formats()
    try:
        return attempt(plain)
    except av.ArgumentError as error:
        # FFmpeg says so of what is not on the list; pipes can be opened but once.
        if name != "-" and os.path.isfile(source.removeprefix("file:")):
            for playlist in FENCED:
                try:
                    return attempt(f"{plain},{playlist}", _below(name))
                except av.PermissionError as refused:
                    raise VideoError(OUTSIDE.format(name, "a file")) from refused
                except av.ArgumentError:
                    continue
        raise VideoError(
            f"{name} is a playlist or a description of a stream, which may name any file or "
            "address; --allow-network-playlists allows that."
        ) from error


def _below(playlist: str) -> Opener:
    """What opens the files that a playlist names, where they are below its folder."""
    own = os.path.abspath(playlist.removeprefix("file:"))
    folder = os.path.dirname(own)

    def opener(url: str, flags: int, options: dict[str, str]) -> BinaryIO:
        path = os.path.abspath(url.removeprefix("file:"))
        if not path.startswith(os.path.join(folder, "")):
            raise VideoError(OUTSIDE.format(playlist, url))
        try:
            return open(path, "rb")
        except OSError as error:
            raise VideoError(f"{path}, which {playlist} names, cannot be read.") from error

    return opener


@cache
def _plain_formats() -> str:
    """All that FFmpeg knows and that does not name other files, as its option wants it."""
    return ",".join(sorted(av.formats_available - PLAYLISTS))


def is_cover(stream: Stream) -> bool:
    """Whether a video stream is a still image attached to the file."""
    return bool(stream.disposition & Disposition.attached_pic)


def film_stream(container: InputContainer, name: str) -> VideoStream:
    """The video stream that is the film: FFmpeg's choice, but none of one image beside a longer.

    Args:
        container: an open source.
        name: of the source, for the sentence.

    Raises:
        VideoError: no stream has moving images, or nobody here decodes it.
    """
    films = [s for s in container.streams.video if not is_cover(s)]
    if not films:
        raise VideoError(f"{name} holds no video; give a file with moving images.")
    best = container.streams.best("video")
    stream = next((s for s in films if s.index == best.index), None) if best else films[0]
    if stream is None or stream.frames == 1:
        stream = max(films, key=lambda each: each.frames)
    if stream.codec_context is None:
        raise VideoError(f"Nobody here decodes the video of {name}; convert it.")
    return stream


def is_announcing_still(stream: Stream, film: VideoStream) -> bool:
    """Whether a stream is the still image that AVIF and HEIF have before their animation.

    Args:
        stream: any stream of the file.
        film: the stream that holds the moving images.
    """
    return bool(
        stream.type == "video"
        and not is_cover(stream)
        and stream.frames == 1
        and stream.duration is None
        and film.frames > 1
    )


def _device(kind: str, notice: Log) -> HWAccel | None:
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
