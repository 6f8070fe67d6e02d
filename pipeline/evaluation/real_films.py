"""`derain eval --real FOLDER`: models over films of real rain, which have no truth.

The measure is real_rain.py's. Numbers of streaks left reward blur, so the change where nothing
passes stands beside them, and a sheet of every film is for the eyes, which come last.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from rich.table import Table

from derain.models import VideoModel
from derain.models.errors import DerainError
from derain.models.ops.image_arrays import to_tensor, to_uint8
from derain.pipeline.evaluation.clips import Record, Result, average
from derain.pipeline.evaluation.model_runs import INPUT, Options, run_model
from derain.pipeline.evaluation.real_rain import (
    THRESHOLDS,
    Frames,
    RealRainFigures,
    film_motion,
    measure,
)
from derain.pipeline.streaming.compare import contact_sheet
from derain.pipeline.streaming.inputs import expand
from derain.pipeline.video import read_rgb
from derain.pipeline.video.color import to_bytes

FRAMES = 60  # of each film, where nothing else is asked for
SPOTS = 4  # frames on a sheet
AMPLIFIED = 4  # times, the difference on a sheet
SHEET = 1920  # pixels of width
LEFT = tuple(f"left_{level}" for level in THRESHOLDS)
RAIN_LEFT = tuple(f"rain_left_{level}" for level in THRESHOLDS)
NO_RAIN = "no rain"  # to speak of


def evaluate_real(
    models: dict[str, VideoModel],
    folder: Path,
    options: Options,
    sheets: Path | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Result:
    """Every model over every film of a folder (or over the one film).

    Args:
        models: by the name of their row.
        folder: of films of real rain, or one film.
        options: `frames` of each film, FRAMES if None; `device`, `precision` and `boldness`.
        sheets: a folder for FILM.MODEL.png, before, after and what was removed at four moments.
        progress: called with a line.

    Raises:
        DerainError: there are no films, or a film has too few frames that differ.
    """
    result = Result()
    if sheets is not None:
        sheets.mkdir(parents=True, exist_ok=True)
    for source, _ in expand([str(folder)], recursive=False):
        film = Path(source)
        progress(film.name)
        rainy = read_frames(film, options.frames or FRAMES)
        motions = film_motion(rainy)
        if not motions:
            raise DerainError(f"{film} has too few frames that differ: five are needed.")
        place = {"clip": film.stem, "camera": "real", "level": "real"}
        result.records.append(place | {"row": INPUT} | as_record(measure(rainy, rainy, motions)))
        clip = to_tensor(rainy)
        for row, model in models.items():
            image = run_model(model, clip, options, result.notice)["image"]
            derained = to_uint8(image)
            figures = as_record(measure(rainy, derained, motions))
            result.records.append(place | {"row": row} | figures)
            if sheets is not None:
                write_film_sheet(sheets / f"{film.stem}.{row}.png", rainy, derained)
    return result


def read_frames(film: Path, count: int) -> Frames:
    """The first `count` frames of a film, (T, H, W, 3) uint8."""
    return np.stack([to_bytes(frame) for frame in read_rgb(film, count)])


def as_record(figures: RealRainFigures) -> Record:
    """Figures by the names that tables and JSON use; streaks and rain left in percent, or None."""
    left = {name: 100 * share for name, share in zip(LEFT, figures.left, strict=True)}
    rain = {
        name: None if share is None else 100 * share
        for name, share in zip(RAIN_LEFT, figures.rain_left, strict=True)
    }
    return left | rain | {"psnr_steady": figures.psnr_steady, "unsteady": figures.temporal}


def real_tables(result: Result) -> list[Table]:
    """One table of streaks and of rain left, above 12 levels, of every film; one of means."""
    rows = list(dict.fromkeys(record["row"] for record in result.records))
    films = list(dict.fromkeys(record["clip"] for record in result.records))
    by_film = Table(
        title="streaks left, % (of rain alone), more than 12 grey levels", title_justify="left"
    )
    by_film.add_column("film", no_wrap=True)
    means = Table(title=f"means over {len(films)} films", title_justify="left")
    means.add_column("model", no_wrap=True)
    for level in THRESHOLDS:
        means.add_column(f"left > {level}, %", justify="right")
    means.add_column("rain left > 12, %", justify="right")
    means.add_column("steady px, dB", justify="right")
    means.add_column("unsteady", justify="right")
    for row in rows:
        mine = [record for record in result.records if record["row"] == row]
        rain = average(mine, "rain_left_12")
        left, steady = ([average(mine, name) or 0.0 for name in x] for x in (LEFT, ["psnr_steady"]))
        figures = [f"{figure:.1f}" for figure in left]
        figures += [NO_RAIN if rain is None else f"{rain:.1f}", f"{steady[0]:.1f}"]
        means.add_row(row, *figures, f"{average(mine, 'unsteady') or 0.0:.2f}")
        if row != INPUT:
            by_film.add_column(row, justify="right", no_wrap=True)
    for film in films:
        found = {r["row"]: r for r in result.records if r["clip"] == film}
        by_film.add_row(film, *(_left(found[row]) for row in rows if row != INPUT))
    return [by_film, means]


def _left(record: Record) -> str:
    rain = record["rain_left_12"]
    return f"{record['left_12']:.0f} ({NO_RAIN if rain is None else f'{rain:.0f}'})"


def write_film_sheet(path: Path, rainy: Frames, derained: Frames) -> None:
    """Before, after and what was removed (amplified, on grey), at four moments of a film.

    Args:
        path: of the image to write.
        rainy: frames (T, H, W, 3) uint8.
        derained: the same, derained.
    """
    spots = np.linspace(0, len(rainy) - 1, SPOTS + 2).round().astype(int)[1:-1]
    removed = rainy[spots].astype(np.int16) - derained[spots]
    shown = (128 + AMPLIFIED * removed).clip(0, 255).astype(np.uint8)
    rows = {
        f"frame {spot}: before, after, removed x{AMPLIFIED}": [
            rainy[spot],
            derained[spot],
            residual,
        ]
        for spot, residual in zip(spots, shown, strict=True)
    }
    try:
        Image.fromarray(contact_sheet(rows, width=SHEET)).save(path)
    except OSError as error:
        raise DerainError(f"{path} cannot be written ({error}); name another folder.") from error
