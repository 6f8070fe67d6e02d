"""The commands of the workshop: demo, eval, synth, bench, train.

Thin: options in, one call, tables out. Heavy imports stay inside the commands.
"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")]
Precision = Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write everything measured there.")]


class LevelName(StrEnum):
    """The levels of configs/validation.yaml."""

    light = "light"
    heavy = "heavy"
    haze = "haze"


def say(text: str) -> None:
    """A line to standard error; standard output is for results."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


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
    frames: Annotated[int | None, typer.Option(min=1, help="Of each clip; all if absent.")] = None,
    clean: Annotated[bool, typer.Option("--clean", help="The clips without rain instead.")] = False,
    scenes: Annotated[
        bool, typer.Option("--scenes", help="Captions, stems, snow … instead: no rain in them.")
    ] = False,
    wipe_memory: Annotated[
        bool, typer.Option("--wipe-memory", help="Also with the memory wiped every frame.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="PSNR alone.")] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    lpips_weights: Annotated[Path | None, typer.Option(help="AlexNet's file, for LPIPS.")] = None,
    json: Json = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Find strengths again and rewrite --pairs.")
    ] = False,
) -> None:
    """Measure models on validation pairs; rows `input` and `median` are always there."""
    from derain.configs.validation import write_validation
    from derain.stages.pairs import DEFAULT_PAIRS, load_pairs
    from derain.stages.pairs import calibrate as find_strengths
    from rich.console import Console

    from . import report
    from .evaluate import (
        Options,
        Result,
        evaluate_clean,
        evaluate_pairs,
        evaluate_scenes,
        load_models,
        read_clip,
    )

    pairs, clips = pairs or DEFAULT_PAIRS, clips or default_clips()
    if calibrate:
        write_validation(find_strengths(load_pairs(pairs), clips, read_clip, say), pairs)
        return
    options = Options(
        device=device,
        precision=precision,
        levels=tuple(x.value for x in level or ()),
        frames=frames,
        wipe_memory=wipe_memory,
        quick=quick,
        lpips_weights=lpips_weights,
    )
    loaded = load_models(models or ["swift"], weights)
    results: dict[str, Result] = {}
    console = Console(width=None if sys.stdout.isatty() else 160)
    if clean:
        results["clean"] = evaluate_clean(loaded, pairs, clips, options, say)
        console.print(report.harm_table(results["clean"], "clean clips: PSNR against themselves"))
    if scenes:
        results["scenes"] = evaluate_scenes(loaded, options, say)
        console.print(report.harm_table(results["scenes"], "things that are not rain"))
    if not clean and not scenes:
        results["pairs"] = evaluate_pairs(loaded, pairs, clips, options, say)
        for table in report.pair_tables(results["pairs"]):
            console.print(table)
    for result in results.values():
        console.print(report.definitions(result), highlight=False)
        if result.pairs_sha256:
            console.print(f"pairs: {pairs.name}, sha256 {result.pairs_sha256}", highlight=False)
        for notice in result.notices:
            say(f"notice: {notice}")
    if json is not None:
        report.write_json(results, options, json)


def add_commands(app: typer.Typer) -> None:
    """Register the commands on `app`."""
    app.command("eval")(evaluate)
