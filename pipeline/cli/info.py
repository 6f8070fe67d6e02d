"""`derain info` and `derain models`: what a file holds, what is installed, which networks exist."""

from __future__ import annotations

import json
import shutil
import sys
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from derain.configs.schema import nearest
from derain.models.errors import DerainError, UsageError
from derain.models.log import say_nothing
from derain.pipeline.cli.common import show
from derain.pipeline.video.paths import local

if TYPE_CHECKING:
    from derain.pipeline.video import VideoReader

COUNTED = 2 << 30  # bytes up to which a file is read to count its frames; it takes seconds
PACKAGES = ("derain", "torch", "av", "numpy", "opencv-python", "kornia", "lpips", "ffmpeg-python")


def show_models(pattern: str = "*") -> None:
    """A line for each network: name, parameters, whether weights are there, summary."""
    from derain.models import load_model
    from derain.models.registry import ENTRIES, create_model, is_ready, list_models

    if not list_models(pattern):
        raise UsageError(f"No network is called '{pattern}'; {nearest(pattern, list_models())}")
    for name in list_models(pattern):
        ready = is_ready(name)
        model = load_model(name) if ready else create_model(name)  # weights may be of another size
        size = sum(p.numel() for p in model.parameters())
        state = "ready" if ready else "needs --weights"
        sys.stdout.write(f"{name:20} {_count(size):>8}  {state:16} {ENTRIES[name].summary}\n")


def _count(number: int) -> str:
    if number >= 1e6:
        return f"{number / 1e6:.2f} M"
    return f"{number / 1e3:.0f} k" if number else "-"


def machine() -> dict[str, object]:
    """Versions, devices, encoders and the ffmpeg program."""
    import os

    import av
    import torch

    from derain.models.runtime.derainer import choose_precision

    devices = {"cpu": f"{os.cpu_count()} cores"}
    for index in range(torch.cuda.device_count()):
        devices[f"cuda:{index}"] = torch.cuda.get_device_name(index)
    precision = {
        name: str(choose_precision("auto", torch.device(name))).removeprefix("torch.")
        for name in devices
    }
    return {
        "versions": {name: _version(name) for name in PACKAGES}
        | {"python": sys.version.split()[0]},
        "devices": devices,
        "precision": precision,
        "ffmpeg program": shutil.which("ffmpeg") or "not there (only derain bench asks for it)",
        "encoders": sorted(n for n in av.codecs_available if _is_video_encoder(n)),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not there"


def _is_video_encoder(name: str) -> bool:
    import av

    try:
        return av.Codec(name, "w").type == "video"
    except ValueError:
        return False


def show_machine(as_json: bool) -> None:
    """Write what this machine and installation can do."""
    found = machine()
    if as_json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    for title, value in found.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {item}" for key, item in value.items())
        elif isinstance(value, list):
            value = " ".join(value)
        sys.stdout.write(f"{title}: {value}\n")


def probe(file: str) -> dict[str, Any]:
    """What a file holds: by ffprobe where the program is present and knows it, else by PyAV."""
    # The program is for one file: it would follow a playlist to wherever that leads.
    if shutil.which("ffprobe") and Path(file).is_file() and not _is_playlist(file):
        import ffmpeg

        # A name that begins with a dash would be an option.
        name = f"file:{file}" if file.startswith("-") else local(file)
        try:
            found = ffmpeg.probe(name, show_chapters=None)
        except ffmpeg.Error as error:
            reason = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise DerainError(f"{file} cannot be read ({' '.join(reason)}); check it.") from error
        return dict(found)
    from derain.pipeline.video import VideoReader

    with VideoReader(file) as reader:
        streams = [
            {"index": s.index, "codec_type": s.type, "codec_name": s.name, "tags": s.metadata}
            for s in reader.container.streams
        ]
        return {"streams": streams, "chapters": reader.container.chapters(), "format": {}}


def _is_playlist(file: str) -> bool:
    from derain.pipeline.video.opening import PLAYLISTS, open_source

    with open_source(file, None, {}, None, say_nothing) as container:
        return container.format.name in PLAYLISTS


def show_file(file: str, as_json: bool) -> None:
    """Write a file's streams, and what derain would make of its video."""
    from derain.pipeline.video import VideoReader

    found = probe(file)
    if as_json:
        sys.stdout.write(json.dumps(found, indent=1, default=str) + "\n")
        return
    for stream in found["streams"]:
        words = [str(stream.get(k)) for k in ("codec_type", "codec_name", "codec_tag_string")]
        language = stream.get("tags", {}).get("language")
        show(f"stream {stream['index']}: {' '.join(words)} {language or ''}".rstrip())
    with VideoReader(file) as reader:
        video = reader.video
        frames, seconds = _length(reader)
    color = video.color
    path = Path(file)
    size = f", {_bytes(path.stat().st_size)}" if path.is_file() else ""
    if seconds is not None:
        clock = str(timedelta(seconds=round(seconds, 2))).rstrip("0").removesuffix(".")
        sys.stdout.write(f"duration: {clock}{size}\n")
    sys.stdout.write(
        f"video: {video.width}x{video.height} {video.pixel_format}, {float(video.rate):.3f} fps, "
        f"{frames}, matrix {color.matrix}, primaries {color.primaries}, "
        f"transfer {color.transfer}, {'full' if color.full_range else 'limited'} range\n"
    )
    extras = [f"chapters: {len(found.get('chapters', []))}"] if found.get("chapters") else []
    if video.interlaced:
        extras.append("interlaced: is deinterlaced unless --interlaced keep")
    if video.display_matrix:
        extras.append("turned by its display matrix: kept")
    if video.light:
        extras.append("HDR metadata: kept with libx265 and libx264")
    sys.stdout.write("".join(line + "\n" for line in extras))


def _length(reader: VideoReader) -> tuple[str, float | None]:
    """How many frames, in words, and seconds, as far as the file or its packets tell."""
    video, path = reader.video, Path(reader.name)
    seconds = video.duration
    if video.counted:
        return f"{video.frames} frames", seconds
    if path.is_file() and path.stat().st_size <= COUNTED:
        count, last = _count_packets(reader)
        return f"{count} frames", seconds or last
    return (f"about {video.frames} frames" if video.frames else "unknown frames"), seconds


def _count_packets(reader: VideoReader) -> tuple[int, float | None]:
    """Frames by their packets, none decoded, and the time from the first to the last one's end."""
    count, times = 0, []
    from derain.pipeline.video.opening import open_source

    with open_source(reader.name, None, {}, None, say_nothing) as container:
        stream = container.streams[reader.stream.index]
        for packet in container.demux(stream):
            if packet.size:
                count += 1
                if packet.pts is not None:
                    times.append(float(packet.pts * packet.time_base))
    span = max(times) - min(times) + 1 / float(reader.video.rate) if times else None
    return count, span


def _bytes(size: int) -> str:
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"
