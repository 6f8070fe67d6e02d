"""What several commands share: options of the same name and meaning, and how a line is said.

An option that one command alone takes stays with that command.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer


def one_of(*allowed: str) -> Callable[[str | None], str | None]:
    """A check that an option's value is one of these, or was not given."""

    def check(value: str | None) -> str | None:
        if value is not None and value not in allowed:
            raise typer.BadParameter(f"'{value}' is not {' or '.join(allowed)}")
        return value

    return check


def share(value: float) -> float:
    """A check that an option's value is a share."""
    if not 0 <= value <= 1:
        raise typer.BadParameter(f"{value:g} is not between 0 and 1")
    return value


Model = Annotated[str, typer.Option("--model", "-m", help="Network; see derain models.")]
Weights = Annotated[str | None, typer.Option(help="Another weight file for the network.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")]
Precision = Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")]
Streaks = Annotated[
    float, typer.Option(callback=share, help="Share of the streaks to remove, 0 to 1.")
]
Haze = Annotated[float, typer.Option(callback=share, help="Share of the haze to remove, 0 to 1.")]
Tile = Annotated[
    str, typer.Option(help="Frames in tiles of N pixels: N, off, or auto where memory is short.")
]
SceneReset = Annotated[
    str, typer.Option(callback=one_of("auto", "off"), help="Fresh memory at cuts: auto or off.")
]
Compare = Annotated[
    str | None,
    typer.Option(callback=one_of("side", "wipe"), help="Before and after in one: side or wipe."),
]
Layers = Annotated[str | None, typer.Option(help="Folder for pictures of streaks and veil.")]
InputFormat = Annotated[str | None, typer.Option(help="FFmpeg's name: lavfi, v4l2, y4m, …")]
InputOpt = Annotated[
    list[str] | None, typer.Option("--input-opt", help="For opening: framerate=25, …; repeatable.")
]
Overwrite = Annotated[bool, typer.Option("-y", help="Replace outputs that are there.")]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Folders in folders too.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write everything measured there.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def say(text: str) -> None:
    """A line to standard error; standard output is for results."""
    from derain.pipeline.video.urls import mask_credentials  # brings PyAV

    sys.stderr.write(mask_credentials(text) + "\n")
    sys.stderr.flush()


def key_values(pairs: list[str] | None) -> dict[str, str]:
    """`["a=1", …]` to `{"a": "1", …}`."""
    for pair in pairs or []:
        if "=" not in pair:
            raise typer.BadParameter(f"'{pair}' is not key=value")
    return dict(pair.split("=", 1) for pair in pairs or [])
