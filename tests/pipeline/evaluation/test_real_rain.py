"""The measure for real rain."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from derain.pipeline.evaluation.real_rain import film_motion, measure

Film = Callable[..., tuple[np.ndarray, np.ndarray]]  # conftest.py


def test_the_film_itself_has_all_its_streaks_and_the_truth_none(raining_film: Film) -> None:
    rainy, clean = raining_film()
    motions = film_motion(rainy)
    itself, truth = measure(rainy, rainy, motions), measure(rainy, clean, motions)
    assert itself.left == (1, 1, 1)
    assert itself.psnr_steady > 80
    assert max(truth.left) < 0.15
    half = measure(rainy, ((rainy.astype(int) + clean) // 2).astype(np.uint8), motions)
    assert truth.left[1] < half.left[2] < 0.95


def test_blur_removes_streaks_but_shows_in_the_steady_pixels(raining_film: Film) -> None:
    rainy, clean = raining_film()
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


def test_what_passes_dark_and_bright_alike_does_not_count_as_rain(raining_film: Film) -> None:
    """Of a film with as many specks as rain: rain taken, specks left, is no rain left."""
    rainy, clean = raining_film()
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


def test_films_without_rain_have_none_to_be_left(raining_film: Film) -> None:
    _, clean = raining_film()
    film = _noisy(clean, 2)
    assert measure(film, film, film_motion(clean)).rain_left == (None, None, None)


def test_repeated_frames_have_no_vote(raining_film: Film) -> None:
    rainy, _ = raining_film(7)
    doubled = rainy.repeat(2, 0)
    assert [motion.centre for motion in film_motion(doubled)] == [4, 6, 8]
    assert not film_motion(rainy[:4])
