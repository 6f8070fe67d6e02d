"""The commands of the workshop: demo, eval, synth, bench.

Thin: options in, one call, tables out. Heavy imports stay inside the commands.
"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from derain.pipeline.cli.common import (
    Boldness,
    Debug,
    Device,
    Engine,
    Json,
    Model,
    Overwrite,
    Precision,
    Weights,
    say,
    show,
)
from derain.pipeline.streaming.sizes import parse_size

if TYPE_CHECKING:
    from rich.console import Console

    from derain.configs.validation import Level
    from derain.models import VideoModel
    from derain.pipeline.evaluation.clips import Result
    from derain.pipeline.evaluation.model_runs import Options

Rain = Literal["drizzle", "shower", "slant", "downpour", "storm", "curtain", "random"]


SIZES = ["640x360", "1280x720", "1920x1080", "3840x2160"]


class LevelName(StrEnum):
    """The levels of configs/validation.yaml; Typer takes no list of a Literal."""

    light = "light"
    heavy = "heavy"
    haze = "haze"


def default_clips() -> Path:
    """$DERAIN_DATA/val, or data/val."""
    return Path(os.environ.get("DERAIN_DATA", "data")) / "val"


def evaluate(
    models: Annotated[list[str] | None, typer.Argument(help="Names or weight files.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weight file for the one model.")] = None,
    pairs: Annotated[Path | None, typer.Option(help="Another validation.yaml.")] = None,
    clips: Annotated[
        Path | None,
        typer.Option(help="Folder of the clean clips.", show_default="$DERAIN_DATA/val, data/val"),
    ] = None,
    level: Annotated[list[LevelName] | None, typer.Option(help="Only this; repeatable.")] = None,
    condition: Annotated[
        Literal["crf23", "crf30", "pan", "night"] | None,
        typer.Option(help="H.264 after the rain, a fast pan, or darkness, for all pairs."),
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Of each clip; all if absent.")] = None,
    clean: Annotated[bool, typer.Option("--clean", help="The clips without rain instead.")] = False,
    scenes: Annotated[
        bool, typer.Option("--scenes", help="Captions, stems, snow … instead: no rain in them.")
    ] = False,
    images: Annotated[
        tuple[str, Path] | None,
        typer.Option(
            metavar="LAYOUT FOLDER",
            help="A data set of images instead: folders, numbered, side-by-side, list, "
            "or rain100l, rain100h, rain800, rain1200, rain1400, whose pairs are counted.",
        ),
    ] = None,
    real: Annotated[
        Path | None,
        typer.Option(help="Films of real rain instead: a folder, or one film. 60 frames of each."),
    ] = None,
    sheets: Annotated[
        Path | None, typer.Option(help="Folder for before, after, removed of --real's films.")
    ] = None,
    clean_side: Annotated[
        Literal["left", "right"] | None,
        typer.Option(help="Of images that hold both, for --images."),
    ] = None,
    reset_hidden_state: Annotated[
        bool, typer.Option("--reset-hidden-state", help="Also with it reset before every frame.")
    ] = False,
    steady: Annotated[
        bool, typer.Option("--steady", help="Also with the results of single frames steadied.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="PSNR alone.")] = False,
    boldness: Boldness = 0.5,
    device: Device = "auto",
    precision: Precision = "auto",
    lpips_weights: Annotated[Path | None, typer.Option(help="AlexNet's file, for LPIPS.")] = None,
    json: Json = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Find strengths again and rewrite --pairs.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Measure models on validation pairs; rows `input` and `median` are always there."""
    from rich.console import Console

    from derain.configs.validation import write_validation
    from derain.pipeline.evaluation import tables
    from derain.pipeline.evaluation.clips import evaluate_clean, evaluate_pairs, evaluate_scenes
    from derain.pipeline.evaluation.model_runs import Options, load_models, read_clip
    from derain.stages.data.validation_pairs import DEFAULT_PAIRS, load_pairs
    from derain.stages.data.validation_pairs import calibrate as find_strengths

    pairs, clips = pairs or DEFAULT_PAIRS, clips or default_clips()
    levels = cast("tuple[Level, ...]", tuple(each.value for each in level or ()))
    if calibrate:
        found = find_strengths(load_pairs(pairs), clips, read_clip, say, levels)
        write_validation(found, pairs)
        return
    options = Options(
        device=device,
        precision=precision,
        levels=levels,
        frames=frames,
        reset_hidden_state=reset_hidden_state,
        quick=quick,
        lpips_weights=lpips_weights,
        boldness=boldness,
        condition=condition,
    )
    loaded = load_models(models or ["swift"], weights, steady=steady)
    results: dict[str, Result] = {}
    console = Console(width=None if sys.stdout.isatty() else 160)
    if clean:
        results["clean"] = evaluate_clean(loaded, pairs, clips, options, say)
        console.print(tables.harm_table(results["clean"], "clean clips: PSNR against themselves"))
    if scenes:
        results["scenes"] = evaluate_scenes(loaded, options, say)
        console.print(tables.harm_table(results["scenes"], "things that are not rain"))
    if images is not None:
        from derain.pipeline.evaluation.images import evaluate_images, image_table

        layout, folder = images
        del loaded["median"]  # of a single image it is the image
        results["images"] = evaluate_images(loaded, folder, layout, clean_side, options, say)
        console.print(image_table(results["images"]))
    if real is not None:
        results["real"] = _evaluate_real(loaded, real, options, sheets, console)
    if not clean and not scenes and images is None and real is None:
        results["pairs"] = evaluate_pairs(loaded, pairs, clips, options, say)
        for table in tables.pair_tables(results["pairs"]):
            console.print(table)
    for result in results.values():
        _explain(result, pairs, console)
    if json is not None:
        tables.write_json(tables.as_json(results, options), json)


def _explain(result: Result, pairs: Path, out: Console) -> None:
    """What the figures mean, of which pairs they are, and what is worth knowing about them."""
    from derain.pipeline.evaluation.tables import definitions

    out.print(definitions(result), highlight=False, markup=False)
    if result.pairs_sha256:
        out.print(f"pairs: {pairs.name}, sha256 {result.pairs_sha256}", highlight=False)
    for notice in result.notices:
        say(f"notice: {notice}")


def _evaluate_real(
    models: dict[str, VideoModel], films: Path, options: Options, sheets: Path | None, out: Console
) -> Result:
    """Measure on films of real rain, and show the tables."""
    from derain.pipeline.evaluation.real_films import evaluate_real, real_tables

    result = evaluate_real(models, films, options, sheets, say)
    for table in real_tables(result):
        out.print(table)
    return result


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make.")] = Path("demo"),
    model: Model = "swift",
    weights: Weights = None,
    device: Device = "auto",
    precision: Precision = "auto",
    size: Annotated[str, typer.Option(help="Of the scene, WIDTHxHEIGHT, both even.")] = "640x360",
    frames: Annotated[int, typer.Option(min=6, help="Of the scene.")] = 60,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Render a scene, rain on it, remove the rain: needs no files, takes under a minute."""
    from derain.pipeline.rendered.demo import make_demo
    from derain.pipeline.streaming.derain_video import VideoOptions

    options = VideoOptions(
        model=model, weights=weights, device=device, precision=precision, overwrite=overwrite
    )
    report = make_demo(
        output, options, size=parse_size(size, "--size", 32), frames=frames, progress=say
    )
    gain = report.after - report.before
    show(
        f"PSNR over {report.frames} frames: {report.before:.2f} dB with rain, "
        f"{report.after:.2f} dB derained ({gain:+.2f} dB)"
    )
    for path in report.files.values():
        show(str(path))


def synth(
    clean: Annotated[Path, typer.Argument(help="A video without rain.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The rainy video to make.")],
    rain: Annotated[
        Rain, typer.Option(help="Which kind; random is drawn from the seed.")
    ] = "downpour",
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other drops.")] = 0,
    density: Annotated[float, typer.Option(help="Scales the number of streaks.")] = 1.0,
    strength: Annotated[float, typer.Option(help="Scales their brightness.")] = 1.5,
    haze: Annotated[float, typer.Option(help="Optical thickness far away; 0 is none.")] = 0.0,
    layers: Annotated[
        Path | None, typer.Option(help="Folder for streaks, occlusion, transmission as PNG.")
    ] = None,
    crf: Annotated[float, typer.Option(help="Quality of the encoder: lower is better.")] = 14,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Put rain on a clean video."""
    from derain.pipeline.rendered.synth import SynthOptions, synthesize
    from derain.pipeline.video import Encoding

    options = SynthOptions(
        rain=rain,
        seed=seed,
        density=density,
        strength=strength,
        haze=haze,
        layers=layers,
        encoding=Encoding(crf=crf),
        overwrite=overwrite,
    )

    def progress(done: int, total: int) -> None:
        if done % 50 == 0:
            say(f"{done}{f' of {total}' if total else ''} frames")

    show(f"{output}: {synthesize(clean, output, options, progress)} frames")


def bench(
    model: Model = "swift",
    weights: Weights = None,
    device: Device = "auto",
    precision: Precision = "auto",
    engine: Engine = "auto",
    size: Annotated[
        list[str] | None,
        typer.Option(help="WIDTHxHEIGHT, both even; repeatable.", show_default="640x360"),
    ] = None,
    sizes: Annotated[bool, typer.Option("--sizes", help="360p, 720p, 1080p and 4K.")] = False,
    frames: Annotated[int, typer.Option(min=2, help="Of the clip.")] = 120,
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved; medians are kept.")] = 3,
    long: Annotated[
        int, typer.Option(help="Also memory and PSNR at both ends of so many frames.")
    ] = 0,
    against: Annotated[
        Path | None, typer.Option(help="An earlier --json: times as a share of its own.")
    ] = None,
    json: Json = None,
    debug: Debug = False,
) -> None:
    """Measure speed and memory: decode, network and encode apart, and the whole."""
    from derain.pipeline.evaluation.bench import BenchOptions, run_bench
    from derain.pipeline.evaluation.network_parts import ratios
    from derain.pipeline.evaluation.tables import read_bench, write_json

    before = read_bench(against) if against else {}
    results = {}
    for text in SIZES if sizes else size or ["640x360"]:
        options = BenchOptions(
            model=model,
            weights=weights,
            device=device,
            precision=precision,
            engine=engine,
            size=parse_size(text, "--size", 32),
            frames=frames,
            rounds=rounds,
            long=long,
        )
        found = results[text] = run_bench(options, say)
        _show_bench(found)
        for name, share in ratios(found, before.get(text, {})).items():
            show(f"{name.replace('_', ' ')}: {share:.2f} of {against}")
    if json is not None:
        write_json(results, json)


def _show_bench(found: dict[str, object]) -> None:
    for name, value in found.items():
        if name == "network_cpu_ms" and isinstance(value, dict):
            value = ", ".join(f"{part} {ms:.1f}" for part, ms in value.items())
        elif isinstance(value, dict):
            value = f"{1e3 * value['wall']:.1f} ms a frame, CPU time {1e3 * value['cpu']:.1f} ms"
        elif isinstance(value, float):
            value = f"{value:.2f}"
        show(f"{name.replace('_', ' ')}: {value}")


def add_commands(app: typer.Typer) -> None:
    """Register the commands on `app`."""
    panel = "Measure and train"
    app.command("demo", rich_help_panel=panel)(demo)
    app.command("eval", rich_help_panel=panel)(evaluate)
    app.command("synth", rich_help_panel=panel)(synth)
    app.command("bench", rich_help_panel=panel)(bench)
