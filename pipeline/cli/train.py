"""The commands of training: `train`, and to look before and after, `data` and `plot`.

Heavy imports stay inside the commands.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from derain.configs.schema import nearest
from derain.models.errors import UsageError
from derain.pipeline.cli.common import Debug, Device, Overwrite, say, show

if TYPE_CHECKING:
    from derain.configs.training import TrainingConfig


def train(
    config: Annotated[str, typer.Argument(help="A preset: swift, or a YAML file of your own.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder of the run.", show_default="runs/PRESET"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it stopped.")] = False,
    init: Annotated[Path | None, typer.Option(help="Weight file to start from.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override: data.batch=8; repeatable.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="As --set steps=N.")] = None,
    wandb: Annotated[
        str | None,
        typer.Option(metavar="PROJECT", help="Show the run at Weights & Biases, too."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Three steps that leave a sheet of the first batch alone."),
    ] = False,
    device: Device = "auto",
    debug: Debug = False,
) -> None:
    """Train a network; see configs/ for presets.

    --resume goes on with the settings that the run began with; --set changes them.

    On several GPUs: torchrun --nproc-per-node N --no-python derain train ...
    """
    from derain.stages.training.dry_run import try_run
    from derain.stages.training.loop import train as run

    output = output or Path("runs") / Path(config).stem
    if resume and init is not None:
        raise UsageError("--init starts a run and --resume goes on with one; give one.")
    started = output / "config.yaml"
    # What the run began with, --set and all: other clips or steps would make it another run.
    preset = started if resume and started.exists() else find_preset(config)
    loaded = load(preset, [*(settings or []), *([f"steps={steps}"] if steps else [])])
    if init is not None:
        loaded = loaded.model_copy(update={"init": str(init)})
    if dry_run:
        try_run(loaded, output.with_name(f"{output.name}.png"), device, show)
        return
    with training_bar(loaded.steps) as progress:
        made = run(
            loaded,
            output,
            device=device,
            resume=resume,
            wandb=wandb,
            report=say,
            progress=progress,
        )
    show(str(made))


def data(
    sheet: Annotated[Path, typer.Argument(help="Image to write: SHEET.png.")],
    config: Annotated[str, typer.Option("--preset", help="As of derain train.")] = "swift",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override: data.clips=CLIPS; repeatable.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Samples to draw.")] = 6,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Draw what a network learns from: samples, their layers, what each augmentation does."""
    from derain.stages.training.dry_run import look_at_data

    keep(sheet, overwrite)
    look_at_data(load(find_preset(config), settings or []), sheet, count, show)


def plot(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Image to write.")] = Path(
        "curves.png"
    ),
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Draw learning curves of runs, loss and validation, into one image."""
    from derain.stages.training.reports.curves import plot_runs

    keep(output, overwrite)
    plot_runs(runs, output)
    show(str(output))


def keep(path: Path, overwrite: bool) -> None:
    """Refuse to write over a file.

    Raises:
        UsageError: it is there, and -y is not given.
    """
    if path.exists() and not overwrite:
        raise UsageError(f"{path} is there already; add -y to replace it, or name another.")


def load(preset: Path, settings: list[str]) -> TrainingConfig:
    """A preset with what --set says.

    Raises:
        UsageError: something in either does not fit.
    """
    from derain.configs.training import load_training

    try:
        return load_training(preset, settings)
    except ValueError as error:
        raise UsageError(str(error)) from error


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
    raise UsageError(f"There is no preset '{name}'; {nearest(name, sorted(shipped))}")


def add_commands(app: typer.Typer) -> None:
    """Register the commands on `app`."""
    for name, command in (("train", train), ("data", data), ("plot", plot)):
        app.command(name, rich_help_panel="Measure and train")(command)
