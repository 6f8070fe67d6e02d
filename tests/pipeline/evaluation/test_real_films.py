"""`derain eval --real`: films of real rain, their figures, tables and sheets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from derain.models import load_model
from derain.models.errors import DerainError
from derain.pipeline.evaluation.model_runs import INPUT, Options
from derain.pipeline.evaluation.real_films import evaluate_real, real_tables
from derain.pipeline.video import write_rgb

Film = Callable[..., tuple[np.ndarray, np.ndarray]]  # conftest.py


def test_a_folder_of_films_is_measured_and_drawn(raining_film: Film, tmp_path: Path) -> None:
    rainy, _ = raining_film()
    films, sheets = tmp_path / "films", tmp_path / "sheets"
    films.mkdir()
    write_rgb(films / "street.mkv", rainy)
    result = evaluate_real({"median": load_model("median")}, films, Options(), sheets)
    rows = {record["row"]: record for record in result.records}
    assert rows[INPUT]["left_12"] == pytest.approx(100)
    assert rows["median"]["left_12"] < 40
    assert (sheets / "street.median.png").stat().st_size > 1000
    assert rows[INPUT]["rain_left_12"] == pytest.approx(100)
    assert rows["median"]["rain_left_12"] < 20
    assert len(real_tables(result)) == 2


def test_too_few_frames_are_a_sentence(raining_film: Film, tmp_path: Path) -> None:
    rainy, _ = raining_film(3)
    write_rgb(tmp_path / "short.mkv", rainy)
    with pytest.raises(DerainError, match="five are needed"):
        evaluate_real({}, tmp_path / "short.mkv", Options())
