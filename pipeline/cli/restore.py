"""The commands that remove rain from files: video, image.

Thin: options in, one call, an exit code out. Heavy imports stay inside the commands.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from derain.models.errors import UsageError
from derain.pipeline.cli.common import (
    ADVANCED,
    COMMON,
    FILES,
    AllowNetworkPlaylists,
    Boldness,
    ChosenModel,
    Codec,
    Compare,
    Crf,
    Debug,
    DecoderDevice,
    Device,
    EncoderOpt,
    End,
    Engine,
    Haze,
    InputFormat,
    InputOpt,
    Interlaced,
    Layers,
    Overwrite,
    Precision,
    Preset,
    Protect,
    Quality,
    Ray,
    Recursive,
    SceneReset,
    SegmentSeconds,
    Speed,
    Start,
    Steady,
    Streaks,
    Tile,
    Weights,
    Workers,
    key_values,
    say,
    seconds,
)
from derain.pipeline.streaming.quality import choose_model

if TYPE_CHECKING:
    from derain.pipeline.streaming.inputs import Task

Inputs = Annotated[list[str], typer.Argument(help="Files, folders, patterns, URLs, or - (stdin).")]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        help="File, folder for several, or -; it must be given.",
        rich_help_panel=COMMON,
    ),
]
STILLS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif"}


def video(
    inputs: Inputs,
    output: Output = None,
    quality: Quality = None,
    overwrite: Overwrite = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from a part file.", rich_help_panel=COMMON)
    ] = False,
    streaks: Streaks = 1.0,
    haze: Haze = 1.0,
    boldness: Boldness = 0.5,
    protect: Protect = None,
    steady: Steady = False,
    compare: Compare = None,
    layers: Layers = None,
    interlaced: Interlaced = "auto",
    codec: Codec = None,
    crf: Crf = None,
    preset: Preset = None,
    encoder_opt: EncoderOpt = None,
    start: Start = None,
    end: End = None,
    recursive: Recursive = False,
    jobs: Annotated[
        int, typer.Option(min=1, help="Inputs at the same time.", rich_help_panel=FILES)
    ] = 1,
    workers: Workers = 0,
    ray: Ray = None,
    segment: SegmentSeconds = 60.0,
    shard: Annotated[
        str | None, typer.Option(help="Only part I/N of the inputs.", rich_help_panel=FILES)
    ] = None,
    output_format: Annotated[
        str | None,
        typer.Option(help="Container, where the name does not say it.", rich_help_panel=FILES),
    ] = None,
    model: ChosenModel = None,
    weights: Weights = None,
    device: Device = "auto",
    precision: Precision = "auto",
    speed: Speed = "best",
    engine: Engine = "auto",
    tile: Tile = "auto",
    scene_reset: SceneReset = "auto",
    input_format: InputFormat = None,
    input_opt: InputOpt = None,
    allow_network_playlists: AllowNetworkPlaylists = False,
    hwaccel: DecoderDevice = None,
    allow_damaged: Annotated[
        bool,
        typer.Option(
            "--allow-damaged", help="An incomplete input is no error.", rich_help_panel=FILES
        ),
    ] = False,
    log_json: Annotated[
        bool,
        typer.Option("--log-json", help="Progress as lines of JSON.", rich_help_panel=ADVANCED),
    ] = False,
    debug: Debug = False,
) -> None:
    """Remove the rain from video files; sound, captions and timing stay as they are."""
    from derain.pipeline.streaming.inputs import interruptible, plan, run_tasks
    from derain.pipeline.streaming.options import VideoOptions
    from derain.pipeline.streaming.progress import choose_reporter
    from derain.pipeline.video import Encoding

    output = chosen_output("video", inputs, output)
    begin, finish = seconds(start), seconds(end)
    if finish is not None and finish <= (begin or 0):
        raise UsageError("--end does not lie behind --start; give a later --end.")
    network, network_weights = choose_model("video", model, weights, quality)
    options = VideoOptions(
        model=network,
        weights=network_weights,
        device=device,
        precision=precision,
        streaks=streaks,
        haze=haze,
        boldness=boldness,
        protect=tuple(protect or ()),
        speed=speed,
        engine=engine,
        tile=tile,
        steady=steady,
        encoding=Encoding(codec, crf, preset, key_values(encoder_opt)),
        format=output_format,
        input_format=input_format,
        input_options=key_values(input_opt),
        allow_network_playlists=allow_network_playlists,
        hwaccel=hwaccel,
        interlaced=interlaced,
        scene_reset=scene_reset,
        start=begin,
        end=finish,
        compare=compare,
        layers=layers,
        overwrite=overwrite,
        resume=resume,
        allow_damaged=allow_damaged,
    )
    tasks = plan(inputs, output, recursive=recursive, shard=shard, notice=say)
    check_targets(tasks, output_format)
    reporter = choose_reporter(log_json)
    try:
        with interruptible([task.target for task in tasks]) as stop:
            shared = None
            if workers or ray:
                from derain.pipeline.distributed.pool import PoolOptions, sharing

                pool = PoolOptions(workers, segment, ray=ray)
                shared = sharing(options, pool, reporter, stop)
            code = run_tasks(tasks, options, reporter, jobs=jobs, stop=stop, derain=shared)
    finally:
        reporter.close()
    sys.exit(code)


def image(
    inputs: Annotated[list[str], typer.Argument(help="Images, folders or patterns.")],
    output: Output = None,
    quality: Quality = None,
    overwrite: Overwrite = False,
    streaks: Streaks = 1.0,
    haze: Haze = 1.0,
    compare: Compare = None,
    layers: Layers = None,
    recursive: Recursive = False,
    pages: Annotated[
        Literal["first", "all"],
        typer.Option(help="Of a TIFF that holds several.", rich_help_panel=FILES),
    ] = "first",
    model: ChosenModel = None,
    weights: Weights = None,
    device: Device = "auto",
    precision: Precision = "auto",
    tile: Tile = "auto",
    debug: Debug = False,
) -> None:
    """Remove the rain from single images, by a network that needs no neighbours."""
    from derain.pipeline.image.derain_images import derain_images
    from derain.pipeline.streaming.options import VideoOptions

    output = chosen_output("image", inputs, output)
    network, network_weights = choose_model("image", model, weights, quality)
    options = VideoOptions(
        model=network,
        weights=network_weights,
        device=device,
        precision=precision,
        streaks=streaks,
        haze=haze,
        tile=tile,
        compare=compare,
        layers=layers,
        overwrite=overwrite,
    )
    sys.exit(derain_images(inputs, output, options, recursive=recursive, pages=pages))


def chosen_output(command: str, inputs: list[str], output: str | None) -> str:
    """The output that was given.

    Args:
        command: "video" or "image".
        inputs: as they were given; the last one may have been meant for the output.
        output: None where `-o` is missing.

    Raises:
        UsageError: it is missing.
    """
    if output is not None:
        return output
    *sources, last = inputs
    if not sources or Path(last).exists():
        sources, path = inputs, Path(last)
        one = len(inputs) == 1 and path.suffix
        last = f"{path.stem}_clean{path.suffix}" if one else "derained"
    words = " ".join(shlex.quote(word) for word in (*sources, "-o", last))
    raise UsageError(f"Say where the result goes: derain {command} {words}")


def check_targets(tasks: list[Task], output_format: str | None) -> None:
    """Refuse names of outputs that no film can be written to, before anything is loaded.

    Raises:
        UsageError: no ending and no container, or one image for a film.
    """
    from derain.pipeline.video.paths import is_sequence

    for task in tasks:
        name = task.target
        if output_format or name == "-" or "://" in name or is_sequence(name):
            continue
        path = Path(name)
        if path.suffix.lower() in STILLS:
            raise UsageError(
                f"{name} is one image; write {path.stem}_%05d{path.suffix} for an image a frame, "
                "or use derain image for a still."
            )
        if not path.suffix:
            raise UsageError(
                f"{name} has no ending that says what it is; write {name}.mp4, "
                f"{name}/ for a folder, or give --output-format."
            )


def add_commands(app: typer.Typer) -> None:
    """Register the commands on `app`."""
    app.command("video", rich_help_panel="Remove rain")(video)
    app.command("image", rich_help_panel="Remove rain")(image)
