"""The command `derain train`: a preset and settings in, a folder of the run out.

Heavy imports stay inside the command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from derain.configs.schema import nearest
from derain.models.errors import UsageError
from derain.pipeline.cli.common import Debug, Device, say, show


def train(
    config: Annotated[str, typer.Argument(help="A preset: swift, or a YAML file of your own.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it stopped.")] = False,
    init: Annotated[Path | None, typer.Option(help="Weight file to start from.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override: data.batch=8; repeatable.")
    ] = None,
    device: Device = "auto",
    debug: Debug = False,
) -> None:
    """Train a network; see configs/ for presets.

    --resume goes on with the settings that the run began with; --set changes them.

    On several GPUs: torchrun --nproc-per-node N --no-python derain train ...
    """
    from derain.configs.training import load_training
    from derain.stages.training.loop import train as run

    if resume and init is not None:
        raise UsageError("--init starts a run and --resume goes on with one; give one.")
    started = output / "config.yaml"
    # What the run began with, --set and all: other clips or steps would make it another run.
    preset = started if resume and started.exists() else find_preset(config)
    try:
        loaded = load_training(preset, settings or [])
    except ValueError as error:
        raise UsageError(str(error)) from error
    if init is not None:
        loaded = loaded.model_copy(update={"init": str(init)})
    with training_bar(loaded.steps) as progress:
        made = run(loaded, output, device=device, resume=resume, report=say, progress=progress)
    show(str(made))


@contextmanager
def training_bar(steps: int) -> Iterator[Callable[[int, int, str], None]]:
    """A bar with loss and time left; on a terminal alone, and of the first process alone."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    hidden = not sys.stderr.isatty() or os.environ.get("RANK", "0") != "0"
    with Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=hidden,
    ) as bar:
        task = bar.add_task("", total=steps)
        yield lambda step, steps, doing: bar.update(task, completed=step, description=doing)


def find_preset(name: str) -> Path:
    """A preset by its path, or by its name among those that come along: `swift`.

    Raises:
        UsageError: there is neither.
    """
    import derain.configs

    room = Path(derain.configs.__path__[0])
    found = {p.relative_to(room).with_suffix("").as_posix(): p for p in room.rglob("*.yaml")}
    shipped = {word: path for word, path in found.items() if word != "validation"}
    if Path(name).is_file():
        return Path(name)
    if name in shipped:
        return shipped[name]
    raise UsageError(f"There is no preset '{name}'; {nearest(name, sorted(shipped))}.")


def add_commands(app: typer.Typer) -> None:
    """Register the command on `app`."""
    app.command("train", rich_help_panel="Measure and train")(train)
