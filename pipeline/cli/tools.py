"""The commands of the tool box: models, info, convert, export, calibrate, background.

Thin: options in, one call, a line out. Heavy imports stay inside the commands.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from derain.pipeline.cli.common import Debug, Overwrite, key_values, say, show


def models(
    pattern: Annotated[str, typer.Argument(help="Only names like this.")] = "*",
    debug: Debug = False,
) -> None:
    """List the networks, and which of them come with trained weights."""
    from derain.pipeline.cli.info import show_models

    show_models(pattern)


def info(
    file: Annotated[str | None, typer.Argument(help="A video to look into.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Show what a file holds; without one, what this machine and installation can do."""
    from derain.pipeline.cli.info import show_file, show_machine

    if file is None:
        show_machine(json)
    else:
        show_file(file, json)


def cache(
    action: Annotated[
        Literal["list", "clear", "trim"], typer.Argument(help="What to do with the decoded clips.")
    ] = "list",
    limit: Annotated[
        float, typer.Option(min=0, help="GB that trim leaves; the longest unused go first.")
    ] = 20,
    debug: Debug = False,
) -> None:
    """Show or empty the cache of decoded clips that derain train keeps."""
    from derain.models.cache import cache_folder, list_files
    from derain.models.cache import trim as trim_cache

    folder = cache_folder("clips")
    if action == "list":
        for clip in list_files(folder):
            used = datetime.fromtimestamp(clip.used).strftime("%Y-%m-%d")
            show(f"{clip.size / 1e6:10.1f} MB  last used {used}  {clip.path.name}")
    else:
        gone = trim_cache(folder, 0 if action == "clear" else int(limit * 1e9))
        freed = sum(clip.size for clip in gone) / 1e6
        say(f"{len(gone)} clips deleted, {freed:.1f} MB freed")
    left = list_files(folder)
    show(f"{folder}: {len(left)} clips, {sum(clip.size for clip in left) / 1e6:.1f} MB")


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A file of the original authors.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="NAME.safetensors to write.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Which network, if its keys do not tell.")
    ] = None,
    channels: Annotated[
        Literal["bgr", "rgb"] | None,
        typer.Option(help="Order it was trained in.", show_default="as its authors'"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="What no tensor tells: stages=4, composition=add, …"),
    ] = None,
    debug: Debug = False,
) -> None:
    """Turn weights of the original authors (.pth, latest, …) into a file for --weights."""
    import yaml

    from derain.models.errors import DerainError
    from derain.models.weights_io import convert_file

    chosen = {key: yaml.safe_load(value) for key, value in key_values(settings).items()}
    try:
        network = convert_file(source, output, model, channels, **chosen)
    except TypeError as error:  # a setting that the network's reader does not take
        raise DerainError(f"--set does not fit this network: {error}.") from error
    described = network.description
    count = sum(parameter.numel() for parameter in network.parameters())
    values = ", ".join(f"{key} {value}" for key, value in described.settings.items())
    show(f"{output}: {described.name}, {count:,} parameters ({values})")


def export(
    model: Annotated[str, typer.Argument(help="swift or swift-plus.")] = "swift",
    output: Annotated[Path, typer.Option("-o", "--output", help="NAME.onnx to write.")] = Path(
        "swift.onnx"
    ),
    weights: Annotated[str | None, typer.Option(help="Weights instead of those shipped.")] = None,
    size: Annotated[
        str | None,
        typer.Option(help="WxH, multiples of 8.", show_default="frames of any size"),
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"],
        typer.Option(help="Of the convolutions; int8 is for weights with ranges."),
    ] = "fp32",
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Write the network's core as an ONNX file for other programs; models/README.md says how."""
    from derain.models import DerainError, load_model
    from derain.models.runtime.onnx_export import export_core
    from derain.pipeline.streaming.sizes import parse_size

    if output.exists() and not overwrite:
        raise DerainError(f"{output} is there already; -y replaces it.")
    chosen = parse_size(size, "--size", 8) if size else None
    export_core(load_model(model, weights), output, chosen, precision)
    show(f"{output}: the core of {model} for {size or 'any size'}, {precision}")


def calibrate(
    weights: Annotated[Path, typer.Argument(help="A weight file of swift or swift-plus.")],
    clips: Annotated[Path, typer.Option(help="Folder of clean clips to render rain on.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Weight file to write.")],
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Give weights the ranges that 8-bit integers need, which the CPU computes fastest in."""
    from derain.models import DerainError
    from derain.stages.training.calibration import calibrate_file

    if output.exists() and not overwrite:
        raise DerainError(f"{output} is there already; -y replaces it.")
    calibrate_file(weights, clips, output, progress=say)
    show(f"{output}: {weights.name} with ranges for 8-bit integers")


def background(
    video: Annotated[str, typer.Argument(metavar="RAIN", help="Of a camera that stands still.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Image to write; .png is lossless.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="Folder for training pairs, laid out as SPA-Data.")
    ] = None,
    layers: Annotated[
        Path | None,
        typer.Option(help="Folder for the film's rain, for training: data.rain_layers."),
    ] = None,
    frames: Annotated[int, typer.Option(min=2, help="Most frames looked at, evenly spread.")] = 200,
    percentile: Annotated[
        int | None,
        typer.Option(min=0, max=100, help="Take this one of each pixel's values, do not vote."),
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Pair only each so many-th frame.")] = 1,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Find the clean image behind the rain of a camera that stands still."""
    from derain.pipeline.background.command import BackgroundSettings, background_command

    if layers is not None:
        from derain.pipeline.background.layers import write_layers

        cut = write_layers(video, layers, frames, overwrite=overwrite)
        typer.echo(
            f"{layers}: {cut.frames} frames, rain on {cut.rainy:.1%} of the pixels, "
            f"{cut.certain:.0%} with a certain background"
        )
        if output is None and pairs is None:
            return
    found = background_command(
        video,
        output,
        pairs=pairs,
        settings=BackgroundSettings(frames=frames, percentile=percentile),
        every=every,
        overwrite=overwrite,
        notice=lambda text: say(f"notice: {text}"),
    )
    show(
        f"{output or pairs}: percentile {found.percentile} of {found.frames} frames, "
        f"{found.share:.0%} of the pixels agree"
    )


def add_commands(app: typer.Typer) -> None:
    """Register the commands on `app`."""
    panel = "Look and prepare"
    app.command("info", rich_help_panel=panel)(info)
    app.command("models", rich_help_panel=panel)(models)
    app.command("cache", rich_help_panel=panel)(cache)
    app.command("convert", rich_help_panel=panel)(convert)
    app.command("export", rich_help_panel=panel)(export)
    app.command("calibrate", rich_help_panel=panel)(calibrate)
    app.command("background", rich_help_panel=panel)(background)
