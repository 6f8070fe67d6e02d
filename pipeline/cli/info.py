"""`derain info` and `derain models`: what a file holds, what is installed, which networks exist."""

from __future__ import annotations

import json
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from derain.models.errors import DerainError
from derain.pipeline.video.paths import local

PACKAGES = ("derain", "torch", "av", "numpy", "opencv-python", "kornia", "lpips", "ffmpeg-python")


def show_models(pattern: str = "*") -> None:
    """A line for each network: name, parameters, whether weights are there, summary."""
    from derain.models.registry import ENTRIES, create_model, is_ready, list_models, load_model

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


def machine() -> dict[str, Any]:
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
    if shutil.which("ffprobe") and file != "-" and not file.startswith("lavfi:"):
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


def show_file(file: str, as_json: bool) -> None:
    """Write a file's streams, and what derain would make of its picture."""
    from derain.pipeline.video import VideoReader

    found = probe(file)
    if as_json:
        sys.stdout.write(json.dumps(found, indent=1, default=str) + "\n")
        return
    for stream in found["streams"]:
        words = [str(stream.get(k)) for k in ("codec_type", "codec_name", "codec_tag_string")]
        language = stream.get("tags", {}).get("language")
        sys.stdout.write(f"stream {stream['index']}: {' '.join(words)} {language or ''}\n".rstrip())
        sys.stdout.write("\n")
    with VideoReader(file) as reader:
        video = reader.video
    color = video.color
    sys.stdout.write(
        f"picture: {video.width}x{video.height} {video.pixel_format}, {float(video.rate):.3f} fps, "
        f"{video.frames or 'unknown'} frames, matrix {color.matrix}, primaries {color.primaries}, "
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
