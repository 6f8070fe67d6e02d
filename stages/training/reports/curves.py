"""Learning curves of several runs in one image."""

from __future__ import annotations

from pathlib import Path

from derain.models.errors import DerainError
from derain.stages.training.reports.run_log import Row, read_metrics

SMOOTH = 0.1  # of the log's lines: so many are averaged for the thick line


def plot_runs(folders: list[Path], output: Path) -> None:
    """Draw the loss and the figures of validation of runs against their steps.

    Args:
        folders: of runs, with their metrics.jsonl.
        output: image to write, of any kind that Matplotlib knows.

    Raises:
        DerainError: Matplotlib is missing, a folder has no figures, or the image cannot be
            written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DerainError("Plots want Matplotlib: pip install 'derain[train]'.") from error
    runs = {folder: read_metrics(folder / "metrics.jsonl") for folder in folders}
    for folder, rows in runs.items():
        if not rows:
            raise DerainError(f"{folder} holds no figures of a run; name folders of derain train.")
    levels = watched_levels([row for rows in runs.values() for row in rows])
    figure = Figure(figsize=(5.5 * (1 + len(levels)), 4), layout="constrained")
    for place, name in enumerate(["loss", *levels], 1):
        axes = figure.add_subplot(1, 1 + len(levels), place)
        for folder, rows in runs.items():
            points = [(row["step"], row[name]) for row in rows if name in row]
            steps, values = [step for step, _ in points], [value for _, value in points]
            if name == "loss":
                (line,) = axes.plot(steps, values, alpha=0.3)
                axes.plot(steps, smooth(values), color=line.get_color(), label=folder.name)
            else:
                axes.plot(steps, values, marker=".", label=folder.name)
        axes.set(xlabel="step", title=name if name == "loss" else f"{name}, PSNR in dB")
        axes.grid(alpha=0.3)
        axes.legend()
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(output, dpi=120)
    except (OSError, ValueError) as error:
        raise DerainError(f"{output} cannot be written ({error}); name a .png.") from error


def watched_levels(rows: list[Row]) -> list[str]:
    """The levels of rain that runs were validated on."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if f"{name} input" in names]


def smooth(values: list[float]) -> list[float]:
    """Every value as the mean of those around it, fewer towards the ends."""
    reach = int(SMOOTH * len(values) / 2)
    spans = [values[max(0, i - reach) : i + reach + 1] for i in range(len(values))]
    return [sum(span) / len(span) for span in spans]
