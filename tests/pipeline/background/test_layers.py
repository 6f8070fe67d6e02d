"""`derain background FILM --layers OUT`."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from derain.models.errors import UsageError
from derain.pipeline.background.layers import write_layers
from derain.pipeline.video import write_rgb
from derain.stages.data.rain.films import find_films, read_part


def test_a_film_becomes_layers_that_are_not_overwritten(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    # Textured everywhere: where it is flat, optical flow would follow the streaks.
    scene = cv2.GaussianBlur(rng.integers(0, 256, (96, 128, 3)).astype(np.float32), (0, 0), 3)
    scene = cv2.normalize(scene, None, 20, 150, cv2.NORM_MINMAX).astype(np.uint8)
    frames = np.stack([scene] * 12)
    for frame in frames:
        for _ in range(12):
            y, x = rng.integers(0, 76), rng.integers(0, 124)
            frame[y : y + 20, x : x + 2] += 60
    film, folder = tmp_path / "rain.mkv", tmp_path / "layers"
    write_rgb(film, frames)
    cut = write_layers(str(film), folder, 10)
    assert cut.frames == 4
    assert 0.02 < cut.rainy < 0.1
    (found,) = find_films(folder)
    assert read_part(found, "opacity").shape == (4, 96, 128)
    with pytest.raises(UsageError, match="add -y"):
        write_layers(str(film), folder, 10)
    write_layers(str(film), folder, 8, overwrite=True)
    assert len(read_part(found, "rainy")) == 2
