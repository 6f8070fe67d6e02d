"""The commands that share films out to many workers: plan, work, join, corpus.

Thin: options in, one call, an exit code out. Heavy imports stay inside the commands.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from derain.models.errors import UsageError
from derain.pipeline.cli.common import (
    ADVANCED,
    COMMON,
    FILES,
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
    Haze,
    InputFormat,
    InputOpt,
    Interlaced,
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
    from derain.pipeline.streaming.options import VideoOptions

JobFolder = Annotated[str, typer.Argument(metavar="JOB", help="The folder of derain plan.")]


def plan(
    source: Annotated[str, typer.Argument(metavar="IN", help="The film.")],
    job: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="JOB", help="The job's folder.", rich_help_panel=COMMON
        ),
    ] = None,
    estimate: Annotated[
        str | None,
        typer.Option(
            metavar="WORKERS:FPS",
            help="Only say how long it takes: 100:50 is 100 workers of 50 frames a second.",
            rich_help_panel=COMMON,
        ),
    ] = None,
    segment: SegmentSeconds = 60.0,
    ending: Annotated[
        str | None,
        typer.Option(
            help="Of the joined film, which chooses the encoder.",
            show_default="the source's",
            rich_help_panel=FILES,
        ),
    ] = None,
    quality: Quality = None,
    streaks: Streaks = 1.0,
    haze: Haze = 1.0,
    boldness: Boldness = 0.5,
    protect: Protect = None,
    steady: Steady = False,
    compare: Compare = None,
    interlaced: Interlaced = "auto",
    codec: Codec = None,
    crf: Crf = None,
    preset: Preset = None,
    encoder_opt: EncoderOpt = None,
    start: Start = None,
    end: End = None,
    model: ChosenModel = None,
    weights: Weights = None,
    precision: Precision = "auto",
    speed: Speed = "best",
    scene_reset: SceneReset = "auto",
    input_format: InputFormat = None,
    input_opt: InputOpt = None,
    hwaccel: DecoderDevice = None,
    debug: Debug = False,
) -> None:
    """Share a film out: decode it once and write into a folder what each worker needs to know."""
    from derain.pipeline.distributed.plan import Job
    from derain.pipeline.distributed.planning import make_plan
    from derain.pipeline.storage.stores import shared_path
    from derain.pipeline.streaming.inputs import interruptible
    from derain.pipeline.streaming.options import VideoOptions
    from derain.pipeline.video import Encoding

    begin, finish = seconds(start), seconds(end)
    if finish is not None and finish <= (begin or 0):
        raise UsageError("--end does not lie behind --start; give a later --end.")
    network, network_weights = choose_model("video", model, weights, quality)
    options = VideoOptions(
        model=network,
        weights=network_weights,
        precision=precision,
        streaks=streaks,
        haze=haze,
        boldness=boldness,
        protect=tuple(protect or ()),
        speed=speed,
        steady=steady,
        encoding=Encoding(codec, crf, preset, key_values(encoder_opt)),
        input_format=input_format,
        input_options=key_values(input_opt),
        hwaccel=hwaccel,
        interlaced=interlaced,
        scene_reset=scene_reset,
        start=begin,
        end=finish,
        compare=compare,
    )
    if estimate is not None:
        return say_estimate(source, options, estimate, segment)
    if job is None:
        raise UsageError("Name a folder for the job with -o.")
    suffix = ending if ending is None or ending.startswith(".") else f".{ending}"
    with interruptible() as stop:
        made = make_plan(
            source,
            Job(shared_path(job)),
            options,
            suffix=suffix,
            seconds=segment,
            stop=stop,
            notice=say,
        )
    say(
        f"{job}: {made.frames} frames, {len(made.shots)} shots, {len(made.segments)} segments; "
        f"now derain work {job}, on as many machines as there are."
    )


def work(
    job: JobFolder,
    index: Annotated[
        int, typer.Option(min=0, help="Which of --count workers this is.", rich_help_panel=COMMON)
    ] = 0,
    count: Annotated[
        int,
        typer.Option(min=1, help="Workers that were started together.", rich_help_panel=COMMON),
    ] = 1,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="For this worker.", show_default="all cores", rich_help_panel=COMMON
        ),
    ] = None,
    retry: Annotated[
        bool,
        typer.Option("--retry", help="Segments that failed too.", rich_help_panel=COMMON),
    ] = False,
    with_parent: Annotated[
        bool, typer.Option("--with-parent", hidden=True, help="End with the starting process.")
    ] = False,
    device: Device = "auto",
    tile: Tile = "auto",
    debug: Debug = False,
) -> None:
    """Derain segments of a planned film until none is left; any number of workers share them."""
    from derain.pipeline.distributed.claiming import forget_failures
    from derain.pipeline.distributed.plan import Job
    from derain.pipeline.distributed.work import Worker, WorkerOptions, stop_with_parent
    from derain.pipeline.storage.stores import shared_path
    from derain.pipeline.streaming.inputs import interruptible

    if index >= count:
        raise UsageError(f"--index counts from 0: the last of {count} workers is {count - 1}.")
    folder = Job(shared_path(job))
    own = WorkerOptions(index=index, count=count, device=device, tile=tile, threads=threads)
    worker = Worker(folder, own)
    if retry:
        forget_failures(folder)
    with interruptible() as stop:
        if with_parent:
            stop_with_parent(stop)
        report = worker.run(stop)
    say(f"{job}: {len(report.done)} segments, {report.frames} frames by this worker")
    for number, reason in report.failed.items():
        say(f"error: Segment {number} failed three times: {reason}")
    sys.exit(1 if report.failed else 0)


def join(
    job: JobFolder,
    output: Annotated[
        str, typer.Option("--output", "-o", help="The film to make.", rich_help_panel=COMMON)
    ],
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Join the parts of a planned film, with the sound and all else of the source."""
    from derain.pipeline.distributed.join import join as join_parts
    from derain.pipeline.distributed.plan import Job
    from derain.pipeline.storage.stores import shared_path

    report = join_parts(Job(shared_path(job)), output, overwrite=overwrite)
    for notice in report.notices:
        say(notice)
    say(f"{output}: {report.frames} frames of {report.parts} parts; {job} may be deleted.")


def say_estimate(source: str, options: VideoOptions, estimate: str, segment: float) -> None:
    """Print what `derain plan --estimate` found.

    Args:
        source: the film.
        options: for opening it.
        estimate: WORKERS:FPS.
        segment: seconds of a segment at most.

    Raises:
        UsageError: these are no such numbers.
    """
    from dataclasses import replace

    from derain.pipeline.distributed import estimate as estimates

    workers, _, fps = estimate.partition(":")
    try:
        load = estimates.measure(source, options, int(workers), float(fps))
    except ValueError as error:
        text = f"--estimate is like 100:50, workers and frames a second, not '{estimate}'."
        raise UsageError(text) from error
    load = replace(load, segment=segment)
    typer.echo(estimates.explain(estimates.estimate(load), load))


def corpus(
    inputs: Annotated[
        list[str], typer.Argument(help="Folders, patterns, films, or lists of them (.txt).")
    ],
    output: Annotated[
        str,
        typer.Option("--output", "-o", help="Folder for the films.", rich_help_panel=COMMON),
    ],
    quality: Quality = None,
    streaks: Streaks = 1.0,
    haze: Haze = 1.0,
    boldness: Boldness = 0.5,
    codec: Codec = None,
    crf: Crf = None,
    preset: Preset = None,
    recursive: Recursive = False,
    workers: Workers = 1,
    ray: Ray = None,
    segment: SegmentSeconds = 60.0,
    disk_budget: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="GB",
            help="That parts may take at a time, each film's reckoned as large as the film.",
            show_default="what is free",
            rich_help_panel=FILES,
        ),
    ] = 0,
    model: ChosenModel = None,
    weights: Weights = None,
    device: Device = "auto",
    precision: Precision = "auto",
    speed: Speed = "best",
    tile: Tile = "auto",
    log_json: Annotated[
        bool,
        typer.Option("--log-json", help="Progress as lines of JSON.", rich_help_panel=ADVANCED),
    ] = False,
    debug: Debug = False,
) -> None:
    """Remove the rain from many films, the longest first: what is missing or changed, no more."""
    from derain.pipeline.distributed.corpus import run_corpus
    from derain.pipeline.distributed.pool import PoolOptions
    from derain.pipeline.streaming.inputs import interruptible
    from derain.pipeline.streaming.options import VideoOptions
    from derain.pipeline.streaming.progress import choose_reporter
    from derain.pipeline.video import Encoding

    network, network_weights = choose_model("video", model, weights, quality)
    options = VideoOptions(
        model=network,
        weights=network_weights,
        device=device,
        precision=precision,
        streaks=streaks,
        haze=haze,
        boldness=boldness,
        speed=speed,
        tile=tile,
        encoding=Encoding(codec, crf, preset),
    )
    reporter = choose_reporter(log_json)
    try:
        with interruptible() as stop:
            code = run_corpus(
                inputs,
                output,
                options,
                PoolOptions(workers, segment, ray=ray),
                reporter,
                recursive=recursive,
                budget=round(disk_budget * 1e9),
                stop=stop,
            )
    finally:
        reporter.close()
    sys.exit(code)


def add_commands(app: typer.Typer) -> None:
    """Register the commands on `app`."""
    panel = "Many machines"
    app.command("plan", rich_help_panel=panel)(plan)
    app.command("work", rich_help_panel=panel)(work)
    app.command("join", rich_help_panel=panel)(join)
    app.command("corpus", rich_help_panel=panel)(corpus)
