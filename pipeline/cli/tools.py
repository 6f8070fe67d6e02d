"""The commands of the tool box: convert, background.

Thin: options in, one call, a line out. Heavy imports stay inside the commands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from derain.pipeline.cli.common import Overwrite, say


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A file of the original authors.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="NAME.safetensors to write.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Which network, if its keys do not tell.")
    ] = None,
    channels: Annotated[
        str | None,
        typer.Option(help="Order it was trained in: bgr or rgb.", show_default="as its authors'"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="What no tensor tells: stages=4, composition=add, …"),
    ] = None,
) -> None:
    """Turn weights of the original authors (.pth, latest, …) into a file for --weights."""
    import yaml

    from derain.models.convert import convert_file
    from derain.models.errors import DerainError
    from derain.models.registry import description_of

    chosen: dict[str, Any] = {}
    for item in settings or []:
        key, sign, value = item.partition("=")
        if not sign or not key.isidentifier():
            raise typer.BadParameter(f"'{item}' is not key=value, such as stages=4")
        chosen[key] = yaml.safe_load(value)
    try:
        network = convert_file(source, output, model, channels, **chosen)
    except TypeError as error:  # a setting that the network's reader does not take
        raise DerainError(f"--set does not fit this network: {error}.") from error
    described = description_of(network)
    count = sum(parameter.numel() for parameter in network.parameters())
    values = ", ".join(f"{key} {value}" for key, value in described["settings"].items())
    typer.echo(f"{output}: {described['name']}, {count:,} parameters ({values})")


def background(
    video: Annotated[str, typer.Argument(metavar="RAIN", help="Of a camera that stands still.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Picture to write; .png is lossless.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="Folder for training pairs, laid out as SPA-Data.")
    ] = None,
    frames: Annotated[int, typer.Option(min=2, help="Most frames looked at, evenly spread.")] = 200,
    percentile: Annotated[
        int | None,
        typer.Option(min=0, max=100, help="Take this one of each pixel's values, do not vote."),
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Pair only each so many-th frame.")] = 1,
    overwrite: Overwrite = False,
) -> None:
    """Find the clean picture behind the rain of a camera that stands still."""
    from derain.pipeline.background.estimate import BackgroundSettings, background_command

    found = background_command(
        video,
        output,
        pairs=pairs,
        settings=BackgroundSettings(frames=frames, percentile=percentile),
        every=every,
        overwrite=overwrite,
        notice=lambda text: say(f"notice: {text}"),
    )
    typer.echo(
        f"{output or pairs}: percentile {found.percentile} of {found.frames} frames, "
        f"{found.share:.0%} of the pixels agree"
    )


def add_commands(app: typer.Typer) -> None:
    """Register the commands on `app`."""
    app.command("convert")(convert)
    app.command("background")(background)
