"""What a user can ask of `derain live`."""

from __future__ import annotations

from dataclasses import dataclass, field

from derain.pipeline.streaming.options import NetworkOptions
from derain.pipeline.video.encoders import Encoding


@dataclass(frozen=True, slots=True)
class LiveOptions(NetworkOptions):
    """The settings of a session; the command line's options have the same names."""

    source: str = "0"
    resolution: str = "auto"  # or "source", or WIDTHxHEIGHT
    fps: float | None = None
    every: int = 1
    realtime: bool = False
    loop: bool = False
    opencv: bool = False
    input_format: str | None = None
    input_options: dict[str, str] = field(default_factory=dict)
    allow_network_playlists: bool = False
    scene_reset: str = "auto"  # or "off"
    record: str | None = None
    to: tuple[str, ...] = ()  # receivers; see outputs/targets.py
    encoding: Encoding = Encoding()  # noqa: RUF009 (frozen)
    overwrite: bool = False
