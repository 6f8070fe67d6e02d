"""The measure for real rain, and `derain eval --real`."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from derain.models import load_model
from derain.models.errors import DerainError
from derain.pipeline.evaluation.model_runs import INPUT, Options
from derain.pipeline.evaluation.real_films import evaluate_real, real_tables
from derain.pipeline.evaluation.real_rain import film_motion, measure
from derain.pipeline.video import write_rgb


def _film(frames: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """A smooth scene that the camera pans over, with streaks and without: (T, H, W, 3)."""
    rng = np.random.default_rng(4)
    wide = cv2.GaussianBlur(rng.integers(0, 256, (96, 200, 3)).astype(np.float32), (0, 0), 5)
    wide = cv2.normalize(wide, None, 40, 160, cv2.NORM_MINMAX).astype(np.uint8)
    clean = np.stack([wide[:, 2 * k : 2 * k + 160] for k in range(frames)])
    rainy = clean.copy()
    for frame in rainy:
        for _ in range(10):
            y, x = rng.integers(0, 80), rng.integers(5, 155)
            frame[y : y + 14, x : x + 1] += 50
    return rainy, clean


def test_the_film_itself_has_all_its_streaks_and_the_truth_none() -> None:
    rainy, clean = _film()
    motions = film_motion(rainy)
    itself, truth = measure(rainy, rainy, motions), measure(rainy, clean, motions)
    assert itself.left == (1, 1, 1)
    assert itself.psnr_steady > 80
    assert max(truth.left) < 0.15
    half = measure(rainy, ((rainy.astype(int) + clean) // 2).astype(np.uint8), motions)
    assert truth.left[1] < half.left[2] < 0.95


def test_blur_removes_streaks_but_shows_in_the_steady_pixels() -> None:
    rainy, clean = _film()
    motions = film_motion(rainy)
    blurred = np.stack([cv2.GaussianBlur(frame, (0, 0), 3) for frame in rainy])
    smeared, truth = measure(rainy, blurred, motions), measure(rainy, clean, motions)
    assert smeared.left[1] < 0.3
    assert smeared.psnr_steady < truth.psnr_steady - 10


def _noisy(film: np.ndarray, seed: int) -> np.ndarray:
    """A film with grain, and specks that pass dark as often as bright."""
    rng = np.random.default_rng(seed)
    specks = rng.choice([-40, 0, 40], film.shape[:3], p=[0.006, 0.988, 0.006])[..., None]
    grain = specks + rng.normal(0, 3, (*film.shape[:3], 1))
    return (film + grain).clip(0, 255).astype(np.uint8)


def test_what_passes_dark_and_bright_alike_does_not_count_as_rain() -> None:
    """Of a film with as many specks as rain: rain taken, specks left, is no rain left."""
    rainy, clean = _film()
    motions = film_motion(rainy)  # specks would throw the flow off, which is not the matter here
    film, without_rain = _noisy(rainy, 1), _noisy(clean, 1)
    itself, derained = measure(film, film, motions), measure(film, without_rain, motions)
    assert itself.rain_left == (None, 1, 1)  # at 6 levels grain passes, too
    assert derained.left[1] > 0.3
    assert derained.rain_left[1] is not None
    assert abs(derained.rain_left[1]) < 0.2
    half = measure(film, ((film.astype(int) + without_rain) // 2).astype(np.uint8), motions)
    assert half.rain_left[1] is not None
    assert half.rain_left[1] > 0.6  # streaks of 25 levels pass still


def test_films_without_rain_have_none_to_be_left() -> None:
    _, clean = _film()
    film = _noisy(clean, 2)
    assert measure(film, film, film_motion(clean)).rain_left == (None, None, None)


def test_repeated_frames_have_no_vote() -> None:
    rainy, _ = _film(7)
    doubled = rainy.repeat(2, 0)
    assert [motion.centre for motion in film_motion(doubled)] == [4, 6, 8]
    assert not film_motion(rainy[:4])


def test_a_folder_of_films_is_measured_and_drawn(tmp_path: Path) -> None:
    rainy, _ = _film()
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


def test_too_few_frames_are_a_sentence(tmp_path: Path) -> None:
    rainy, _ = _film(3)
    write_rgb(tmp_path / "short.mkv", rainy)
    with pytest.raises(DerainError, match="five are needed"):
        evaluate_real({}, tmp_path / "short.mkv", Options())
