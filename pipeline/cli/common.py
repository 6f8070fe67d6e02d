"""What several commands share: options of the same name and meaning, and how a line is said.

An option that one command alone takes stays with that command. Choices are `Literal`, so that help
shows them; what no list can say is checked as it is read, so that wrong use ends with exit code 2.
"""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from derain.configs.schema import nearest, split_key_value
from derain.models.errors import UsageError
from derain.models.log import printable
from derain.pipeline.streaming.quality import Quality as QualityName

# Groups of options in a command's help, in this order.
COMMON, IMAGE, ENCODING = "Common", "Image", "Encoding"
FILES, ADVANCED = "Files", "Advanced"
DEVICE = re.compile(r"auto|cpu|mps|(cuda|xpu)(:\d+)?")


def _network(name: str | None) -> str | None:
    if name is None or Path(name).is_file() or Path(name).suffix:
        return name  # a weight file says what it is for
    from derain.models import list_models

    if name not in list_models():
        raise typer.BadParameter(f"there is no network '{name}'; {nearest(name, list_models())}")
    return name


def _device(name: str) -> str:
    if not DEVICE.fullmatch(name):
        raise typer.BadParameter(f"'{name}' is no device; use auto, cpu, cuda, cuda:1, mps or xpu")
    return name


def _decoder_device(kind: str | None) -> str | None:
    if kind is not None:
        from av.codec.hwaccel import hwdevices_available

        if kind not in hwdevices_available():
            raise typer.BadParameter(
                f"'{kind}' is no kind of device; {nearest(kind, hwdevices_available())}"
            )
    return kind


def _tile(text: str) -> str:
    if text not in ("auto", "off") and not (text.isdecimal() and int(text)):
        raise typer.BadParameter(f"'{text}' is not auto, off, or a number of pixels")
    return text


def _share(value: float) -> float:
    if not 0 <= value <= 1:
        raise typer.BadParameter(f"{value:g} is not between 0 and 1")
    return value


Quality = Annotated[
    QualityName | None,
    typer.Option(
        help="Chooses the network: how good, how slow.",
        show_default="balanced",
        rich_help_panel=COMMON,
    ),
]
ChosenModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        callback=_network,
        help="Network by its name; see derain models.",
        show_default="by --quality",
        rich_help_panel=ADVANCED,
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        callback=_network,
        help="Network; see derain models.",
        rich_help_panel=COMMON,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(help="A weight file; its network is recognised.", rich_help_panel=ADVANCED),
]
Device = Annotated[
    str,
    typer.Option(
        callback=_device, help="auto, cpu, cuda, cuda:1, mps, xpu, …", rich_help_panel=ADVANCED
    ),
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16", "fp16", "int8"],
    typer.Option(help="Of the network's numbers.", rich_help_panel=ADVANCED),
]
Engine = Annotated[
    Literal["auto", "torch", "openvino"],
    typer.Option(help="What computes swift; auto is the faster one.", rich_help_panel=ADVANCED),
]
Streaks = Annotated[
    float,
    typer.Option(
        callback=_share, help="Share of the streaks to remove, 0 to 1.", rich_help_panel=IMAGE
    ),
]
Haze = Annotated[
    float,
    typer.Option(
        callback=_share, help="Share of the haze to remove, 0 to 1.", rich_help_panel=IMAGE
    ),
]
Boldness = Annotated[
    float,
    typer.Option(
        callback=_share,
        help="0 leaves what might not be rain, 1 removes what might be.",
        rich_help_panel=IMAGE,
    ),
]
Protect = Annotated[
    list[str] | None,
    typer.Option(
        metavar="X,Y,W,H|MASK",
        help="A region, or an image that is white where frames stay; repeatable.",
        rich_help_panel=IMAGE,
    ),
]
Speed = Annotated[
    Literal["best", "fast"],
    typer.Option(
        help="fast finds the rain at half size: for 1080p and 4K; the finest detail may suffer.",
        rich_help_panel=IMAGE,
    ),
]
Tile = Annotated[
    str,
    typer.Option(
        callback=_tile,
        help="Frames in tiles of N pixels: N, off, or auto where memory is short.",
        rich_help_panel=ADVANCED,
    ),
]
SceneReset = Annotated[
    Literal["auto", "off"],
    typer.Option(help="Forget the shot at cuts, or never.", rich_help_panel=ADVANCED),
]
Compare = Annotated[
    Literal["side", "wipe"] | None,
    typer.Option(help="Before and after in one frame.", rich_help_panel=IMAGE),
]
Layers = Annotated[
    str | None,
    typer.Option(help="Folder for images of streaks, haze, …", rich_help_panel=IMAGE),
]
Codec = Annotated[
    str | None,
    typer.Option(
        help="Encoder, by FFmpeg's name.", show_default="by container", rich_help_panel=ENCODING
    ),
]
Crf = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=63,
        help="Quality: lower is better; to 51 for libx264 and libx265.",
        show_default="18 for libx264",
        rich_help_panel=ENCODING,
    ),
]
InputFormat = Annotated[
    str | None,
    typer.Option(help="FFmpeg's name: lavfi, v4l2, y4m, …", rich_help_panel=ADVANCED),
]
InputOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--input-opt",
        help="For opening: framerate=25, …; repeatable.",
        rich_help_panel=ADVANCED,
    ),
]
Steady = Annotated[
    bool,
    typer.Option("--steady", help="Less flicker of per-frame networks.", rich_help_panel=IMAGE),
]
Interlaced = Annotated[
    Literal["auto", "keep"],
    typer.Option(help="auto deinterlaces, keep does not.", rich_help_panel=IMAGE),
]
Preset = Annotated[
    str | None,
    typer.Option(help="Speed of the encoder.", show_default="veryfast", rich_help_panel=ENCODING),
]
EncoderOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--encoder-opt", help="More for the encoder: key=value.", rich_help_panel=ENCODING
    ),
]
Start = Annotated[
    str | None,
    typer.Option(help="Begin here: seconds or 1:02:03.5.", rich_help_panel=FILES),
]
End = Annotated[str | None, typer.Option(help="End here.", rich_help_panel=FILES)]
DecoderDevice = Annotated[
    str | None,
    typer.Option(
        callback=_decoder_device,
        help="Decode on cuda, qsv, … if it can.",
        rich_help_panel=ADVANCED,
    ),
]
AllowNetworkPlaylists = Annotated[
    bool,
    typer.Option(
        "--allow-network-playlists",
        help="Playlists may name addresses, and files outside their folder.",
        rich_help_panel=ADVANCED,
    ),
]
Overwrite = Annotated[
    bool, typer.Option("-y", help="Replace outputs that are there.", rich_help_panel=COMMON)
]
Workers = Annotated[
    int,
    typer.Option(
        min=0,
        help="Processes that share each film; 0 is this one alone.",
        rich_help_panel=FILES,
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        metavar="auto|local|ADDRESS",
        help="Share films among the nodes of a Ray cluster.",
        rich_help_panel=FILES,
    ),
]
SegmentSeconds = Annotated[
    float,
    typer.Option(
        min=0,
        help="Seconds that a worker takes at once; 0 divides no shot.",
        rich_help_panel=FILES,
    ),
]
Recursive = Annotated[
    bool,
    typer.Option("--recursive", "-r", help="Folders in folders too.", rich_help_panel=FILES),
]
Json = Annotated[
    Path | None,
    typer.Option("--json", help="Write everything measured there.", rich_help_panel=FILES),
]
# main() looks for the word itself: an error may come before a command begins.
Debug = Annotated[
    bool,
    typer.Option(
        "--debug",
        help="Show tracebacks, and what is left alone of a file.",
        rich_help_panel=ADVANCED,
    ),
]


def say(text: str) -> None:
    """A line to standard error; standard output is for results."""
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()


def show(text: str) -> None:
    """A line of a result to standard output."""
    sys.stdout.write(printable(text) + "\n")


def key_values(pairs: list[str] | None) -> dict[str, str]:
    """`["a=1", …]` to `{"a": "1", …}`.

    Raises:
        UsageError: something has no key, or no sign of equality.
    """
    found = {}
    for pair in pairs or []:
        try:
            key, value = split_key_value(pair)
        except ValueError as error:
            raise UsageError(str(error)) from error
        found[key] = value
    return found


def seconds(text: str | None) -> float | None:
    """`90`, `1:30` or `0:01:30.0` to seconds.

    Raises:
        UsageError: it is no time from 0 on.
    """
    if text is None:
        return None
    total = 0.0
    try:
        for part in map(float, text.split(":")):
            total = total * 60 + part if part >= 0 else math.nan
    except ValueError:
        total = math.nan
    if not math.isfinite(total):
        raise UsageError(f"'{text}' is not a time from 0 on; write 90 or 1:30.")
    return total
