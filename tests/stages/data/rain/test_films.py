"""Rain cut out of films of real rain, and samples that are drawn from it."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from derain.models.errors import DerainError
from derain.stages.data.rain.films import film_piece, find_films, lay_rain_over, write_film
from derain.stages.data.rain.harvest import sample_layer, split_film


def _film(frames: int = 15) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """A standing scene with streaks that are elsewhere in each frame: frames, scene, streaks."""
    rng = np.random.default_rng(2)
    # Textured everywhere: where it is flat, optical flow would follow the streaks.
    scene = cv2.GaussianBlur(rng.integers(0, 256, (96, 144, 3)).astype(np.float32), (0, 0), 5)
    scene = cv2.normalize(scene, None, 20, 150, cv2.NORM_MINMAX).astype(np.uint8)
    found, streaks = [], np.zeros((frames, *scene.shape[:2]), bool)
    for k in range(frames):
        for _ in range(12):
            y, x = rng.integers(0, 70), rng.integers(2, 142)
            streaks[k, y : y + 14, x : x + 1] = True
        frame = scene.copy()
        frame[streaks[k]] += 50
        found.append(frame)
    return found, scene, streaks


def test_streaks_become_a_layer_and_the_scene_the_truth() -> None:
    frames, scene, streaks = _film()
    split = split_film(frames)
    assert len(split.rainy) == len(frames) - 6  # three neighbours on each side
    inner = streaks[3:-3]
    assert (split.opacity[inner] > 30).mean() > 0.8
    assert (split.opacity[~inner] > 30).mean() < 0.02
    assert np.abs(split.truth.astype(int) - scene)[inner].mean() < 4
    assert (split.certain > 0).mean() > 0.9


def test_what_passes_dark_as_often_as_bright_is_no_rain() -> None:
    rng = np.random.default_rng(3)
    frames = []
    for _ in range(13):
        frame = np.full((96, 144, 3), 100, np.uint8)
        for sign in (60, -60):
            for _ in range(12):
                y, x = rng.integers(0, 76), rng.integers(0, 140)
                frame[y : y + 20, x : x + 2] = 100 + sign
        frames.append(frame)
    assert (split_film(frames).opacity > 30).mean() < 0.005


def test_too_short_a_film_is_a_sentence() -> None:
    frames, _, _ = _film(5)
    with pytest.raises(DerainError, match="5 frames that differ"):
        split_film(frames)


def test_files_come_back_as_pairs_and_as_rain_for_others(tmp_path: Path) -> None:
    frames, _, _ = _film()
    write_film(split_film(frames), tmp_path, "yard")
    films = find_films(tmp_path)
    assert [film.name for film in films] == ["yard"]
    rng = np.random.default_rng(5)
    rainy, clean, certain, corner = film_piece(films, 6, 64, 0, rng)
    assert corner == (0, 0)
    assert rainy.shape == clean.shape == (6, 3, 64, 64)
    assert certain.shape == (6, 1, 64, 64)
    assert ((rainy - clean) > 0.1).any()
    wide = film_piece(films, 6, 32, 16, rng)
    y, x = wide.corner
    assert wide.rainy[..., y : y + 32, x : x + 32].shape == (6, 3, 32, 32)
    assert 32 < wide.rainy.shape[-1] <= 64
    dry = torch.full((6, 3, 64, 64), 0.3)
    wet = lay_rain_over(dry, films, rng)
    assert (wet >= dry - 1e-6).all()
    assert (wet - dry).max() > 0.03
    assert not torch.equal(wet[0], wet[1])


def test_layers_stay_opacities() -> None:
    film = np.random.default_rng(1).integers(0, 256, (9, 80, 120)).astype(np.uint8)
    layer = sample_layer(film, 5, 64, np.random.default_rng(2))
    assert layer.shape == (5, 64, 64)
    assert layer.min() >= 0
    assert layer.max() <= 1


def test_an_empty_folder_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(DerainError, match="derain background FILM --layers"):
        find_films(tmp_path)
