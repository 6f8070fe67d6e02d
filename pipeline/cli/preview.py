"""The command `derain preview`: a film in, a sheet and a few lines out.

Heavy imports stay inside the command.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from derain.models.errors import UsageError
from derain.pipeline.cli.common import (
    COMMON,
    Boldness,
    ChosenModel,
    Debug,
    Device,
    Engine,
    Haze,
    Overwrite,
    Precision,
    Protect,
    Quality,
    Speed,
    Streaks,
    Weights,
    say,
    show,
)
from derain.pipeline.streaming.quality import choose_model

if TYPE_CHECKING:
    from derain.pipeline.preview.look import Findings

SHEETS = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"}


def preview(
    context: typer.Context,
    film: Annotated[str, typer.Argument(help="A video file.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Sheet of before and after to write.",
            show_default="FILM_preview.png here",
            rich_help_panel=COMMON,
        ),
    ] = None,
    quality: Quality = None,
    overwrite: Overwrite = False,
    streaks: Streaks = 1.0,
    haze: Haze = 1.0,
    boldness: Boldness = 0.5,
    protect: Protect = None,
    model: ChosenModel = None,
    weights: Weights = None,
    device: Device = "auto",
    precision: Precision = "auto",
    speed: Speed = "best",
    engine: Engine = "auto",
    debug: Debug = False,
) -> None:
    """See in seconds what rain a film shows, what becomes of it, and how long all of it takes."""
    sheet = output or Path(f"{Path(film).stem}_preview.png")
    _check_sheet(sheet, overwrite)
    if Path(film).suffix.lower() in SHEETS:
        raise UsageError(f"{film} is a still; derain image {film} -o OUT removes its rain.")
    from derain.pipeline.preview.look import preview as look
    from derain.pipeline.preview.look import write_sheet
    from derain.pipeline.streaming.options import VideoOptions

    network, file = choose_model("video", model, weights, quality)
    options = VideoOptions(
        model=network,
        weights=file,
        device=device,
        precision=precision,
        streaks=streaks,
        haze=haze,
        boldness=boldness,
        protect=tuple(protect or ()),
        speed=speed,
        engine=engine,
    )
    found = look(film, options, say)
    write_sheet(sheet, found.spots)
    for line in describe(found, film, options.model, sheet):
        show(line)
    target = f"{Path(film).stem}_clean{Path(film).suffix}"
    words = [shlex.quote(word) for word in (film, "-o", target, *_given(context))]
    show(f"run: derain video {' '.join(words)}")


def _check_sheet(sheet: Path, overwrite: bool) -> None:
    """Refuse a name that no sheet can be written to, before the work."""
    if sheet.exists() and not overwrite:
        raise UsageError(f"{sheet} is there already; add -y to replace it.")
    if sheet.suffix.lower() not in SHEETS:
        raise UsageError(f"A sheet is an image: {sheet.with_suffix('.png')} instead of {sheet}.")
    if not sheet.parent.is_dir():
        raise UsageError(f"There is no folder {sheet.parent}; make it first.")


def _given(context: typer.Context) -> list[str]:
    """The options that the user gave and `derain video` is to have, too."""
    words: list[str] = []
    for option in context.command.params:
        value = context.params[str(option.name)]
        if option.name in ("film", "output", "overwrite", "debug") or value == option.default:
            continue
        for each in value if isinstance(value, (list, tuple)) else [value]:
            words += [option.opts[0], str(each)]
    return words


def describe(found: Findings, film: str, model: str, sheet: Path) -> list[str]:
    """What was found, a line each."""
    from derain.pipeline.preview.look import clock
    from derain.pipeline.streaming.options import UNCHANGED

    lines = [f"seen: {', '.join(found.kinds) or 'no rain'}"]
    if found.rainy:
        lines.append(
            f"streaks: in {found.rainy} of {found.looked} places, "
            f"on {found.rain:.1%} of the pixels there"
        )
    what = "drops on glass and no falling rain" if found.drops else "no falling rain"
    if "falling streaks" in found.kinds:
        what = "streaks that this network does not take for rain"
    if found.changed < UNCHANGED:
        lines.append(f"The film shows {what}: derain video changes next to nothing of it.")
    elif not found.kinds:
        lines.append("The film shows no falling rain; look at the sheet before you go on.")
    lines += [
        f"speed: {found.rate:.1f} frames a second with {model}",
        f"whole film: about {clock(found.seconds)} for {found.frames} frames",
        f"size: about {found.size / 1e6:.1f} MB, from {Path(film).stat().st_size / 1e6:.1f} MB",
        f"sheet: {sheet}",
    ]
    return lines


def add_commands(app: typer.Typer) -> None:
    """Register the command on `app`."""
    app.command("preview", rich_help_panel="Remove rain")(preview)
