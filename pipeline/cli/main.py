"""The `derain` command: options in, exit codes out. The work is done in the modules next to it.

Exit codes: 0 all done, 1 some inputs failed, 2 wrong use, 130 interrupted.
Heavy imports stay inside the commands, so that `derain --help` answers at once.
"""

from __future__ import annotations

import math
import os
import sys
from typing import Annotated, Literal

import typer

from derain.pipeline.cli import lab, live, tools
from derain.pipeline.cli.allocator import keep_memory
from derain.pipeline.cli.common import (
    Compare,
    Debug,
    Device,
    Haze,
    InputFormat,
    InputOpt,
    Layers,
    Model,
    Overwrite,
    Precision,
    Recursive,
    SceneReset,
    Streaks,
    Tile,
    Weights,
    key_values,
    one_of,
)

app = typer.Typer(
    name="derain",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Inputs = Annotated[list[str], typer.Argument(help="Files, folders, patterns, URLs, or - (stdin).")]
Output = Annotated[str, typer.Option("--output", "-o", help="File, folder for several, or -.")]
Steady = Annotated[bool, typer.Option("--steady", help="Less flicker of per-frame networks.")]
LogJson = Annotated[bool, typer.Option("--log-json", help="Progress as lines of JSON.")]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"derain {version('derain')}")
        raise typer.Exit


@app.callback()
def _commands(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it and end.")
    ] = False,
) -> None:
    """Remove rain from video: the same film without rain, sound and timing untouched."""


@app.command()
def video(
    inputs: Inputs,
    output: Output,
    model: Model = "swift",
    weights: Weights = None,
    device: Device = "auto",
    precision: Precision = "auto",
    codec: Annotated[
        str | None, typer.Option(help="Encoder, by FFmpeg's name.", show_default="by container")
    ] = None,
    crf: Annotated[
        float | None, typer.Option(help="Quality: lower is better.", show_default="18 for libx264")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Speed of the encoder.", show_default="veryfast")
    ] = None,
    encoder_opt: Annotated[
        list[str] | None, typer.Option("--encoder-opt", help="More for the encoder: key=value.")
    ] = None,
    streaks: Streaks = 1.0,
    haze: Haze = 1.0,
    tile: Tile = "auto",
    steady: Steady = False,
    compare: Compare = None,
    layers: Layers = None,
    start: Annotated[str | None, typer.Option(help="Begin here: seconds or 1:02:03.5.")] = None,
    end: Annotated[str | None, typer.Option(help="End here.")] = None,
    scene_reset: SceneReset = "auto",
    interlaced: Annotated[
        str,
        typer.Option(callback=one_of("auto", "keep"), help="auto deinterlaces, keep does not."),
    ] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from a part file.")] = False,
    recursive: Recursive = False,
    jobs: Annotated[int, typer.Option(min=1, help="Inputs at the same time.")] = 1,
    shard: Annotated[str | None, typer.Option(help="Only part I/N of the inputs.")] = None,
    input_format: InputFormat = None,
    input_opt: InputOpt = None,
    output_format: Annotated[
        str | None, typer.Option(help="Container, where the name does not say it.")
    ] = None,
    hwaccel: Annotated[str | None, typer.Option(help="Decode on cuda, qsv, … if it can.")] = None,
    overwrite: Overwrite = False,
    log_json: LogJson = False,
    debug: Debug = False,
) -> None:
    """Remove the rain from video files; sound, captions and timing stay as they are."""
    from derain.models.errors import UsageError
    from derain.pipeline.streaming.inputs import interruptible, plan, run_tasks
    from derain.pipeline.streaming.options import VideoOptions
    from derain.pipeline.streaming.progress import choose_reporter
    from derain.pipeline.video import Encoding

    with errors(debug):
        begin, finish = seconds(start), seconds(end)
        if finish is not None and finish <= (begin or 0):
            raise UsageError("--end does not lie behind --start; give a later --end.")
        options = VideoOptions(
            model=model,
            weights=weights,
            device=device,
            precision=precision,
            streaks=streaks,
            haze=haze,
            tile=tile,
            steady=steady,
            encoding=Encoding(codec, crf, preset, key_values(encoder_opt)),
            format=output_format,
            input_format=input_format,
            input_options=key_values(input_opt),
            hwaccel=hwaccel,
            interlaced=interlaced,
            scene_reset=scene_reset,
            start=begin,
            end=finish,
            compare=compare,
            layers=layers,
            overwrite=overwrite,
            resume=resume,
        )
        tasks = plan(inputs, output, recursive=recursive, shard=shard)
        reporter = choose_reporter(log_json)
        try:
            with interruptible([task.target for task in tasks]) as stop:
                code = run_tasks(tasks, options, reporter, jobs=jobs, stop=stop)
        finally:
            reporter.close()
    sys.exit(code)


@app.command()
def image(
    inputs: Annotated[list[str], typer.Argument(help="Pictures, folders or patterns.")],
    output: Output,
    model: Model = "rescan",
    weights: Weights = None,
    device: Device = "auto",
    precision: Precision = "auto",
    streaks: Streaks = 1.0,
    haze: Haze = 1.0,
    tile: Tile = "auto",
    compare: Compare = None,
    layers: Layers = None,
    recursive: Recursive = False,
    pages: Annotated[
        Literal["first", "all"], typer.Option(help="Of a TIFF that holds several.")
    ] = "first",
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Remove the rain from single pictures, by a network that needs no neighbours."""
    from derain.pipeline.image.derain_images import derain_images
    from derain.pipeline.streaming.options import VideoOptions

    with errors(debug):
        options = VideoOptions(
            model=model,
            weights=weights,
            device=device,
            precision=precision,
            streaks=streaks,
            haze=haze,
            tile=tile,
            compare=compare,
            layers=layers,
            overwrite=overwrite,
        )
        code = derain_images(inputs, output, options, recursive=recursive, pages=pages)
    sys.exit(code)


@app.command()
def models(
    pattern: Annotated[str, typer.Argument(help="Only names like this.")] = "*",
) -> None:
    """List the networks, and which of them come with trained weights."""
    from derain.pipeline.cli.info import show_models

    show_models(pattern)


@app.command()
def info(
    file: Annotated[str | None, typer.Argument(help="A video to look into.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Show what a file holds; without one, what this machine and installation can do."""
    from derain.pipeline.cli.info import show_file, show_machine

    with errors(debug):
        if file is None:
            show_machine(json)
        else:
            show_file(file, json)


class errors:  # noqa: N801 (reads as a statement)
    """Known failures become one sentence and an exit code; unknown ones too, unless `debug`."""

    def __init__(self, debug: bool = False) -> None:
        self.debug = debug or bool(os.environ.get("DERAIN_DEBUG"))

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, _: object) -> None:
        if error is None or self.debug or isinstance(error, (SystemExit, typer.BadParameter)):
            return
        sys.exit(report_error(error))


def report_error(error: BaseException) -> int:
    """Write one sentence to standard error; the exit code."""
    from derain.models.errors import DerainError, UsageError
    from derain.pipeline.video.urls import mask_credentials

    if isinstance(error, KeyboardInterrupt):
        sys.stderr.write("interrupted\n")
        return 130
    if isinstance(error, (DerainError, OSError)):
        sys.stderr.write(f"error: {mask_credentials(str(error))}\n")
        return 2 if isinstance(error, UsageError) else 1
    if not isinstance(error, Exception):
        raise error
    sys.stderr.write(
        f"error: Something went wrong ({type(error).__name__}: {error}); "
        "DERAIN_DEBUG=1 shows where.\n"
    )
    return 1


def seconds(text: str | None) -> float | None:
    """`90`, `1:30` or `0:01:30.0` to seconds."""
    if text is None:
        return None
    total = 0.0
    try:
        for part in map(float, text.split(":")):
            total = total * 60 + part if part >= 0 else math.nan
    except ValueError:
        total = math.nan
    if not math.isfinite(total):
        raise typer.BadParameter(f"'{text}' is not a time from 0 on; write 90 or 1:30.")
    return total


lab.add_commands(app)
live.add_commands(app)
tools.add_commands(app)


def main() -> None:
    """Run the command line."""
    # Torch's threads would spin for milliseconds while they wait and take the cores from decoder
    # and encoder: six times slower on two busy cores. Spinning for some microseconds is best: 15.9
    # frames a second where sleeping at once gives 12.3. It must be said before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    keep_memory()
    with errors():
        app()
