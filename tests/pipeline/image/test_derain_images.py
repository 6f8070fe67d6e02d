"""`derain image`: which file becomes which, streaks go, and one bad input ends that input alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from derain.models.errors import DerainError, UsageError
from derain.models.registry import list_models, weights_file
from derain.pipeline.image.derain_images import Task, derain_images, plan_images
from derain.pipeline.image.image_file import count_images, read_image
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.streaming.quality import choose_model
from derain.stages.data.rain import RainSettings, StreakLayer, render_rain
from derain.stages.losses.metrics import psnr

Draw = Callable[..., NDArray[np.uint8]]
DEFAULT, _ = choose_model("image")
NOTHING = VideoOptions(model="median", device="cpu", streaks=0, haze=0)


def save(path: Path, pixels: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


# Which file becomes which


def test_two_inputs_of_one_name_are_refused(tmp_path: Path, draw: Draw) -> None:
    first, second = (save(tmp_path / name / "x.png", draw()) for name in "ab")
    with pytest.raises(UsageError, match="Two inputs would become"):
        plan_images([str(first), str(second)], str(tmp_path / "out"), False)


def test_a_pattern_may_be_absolute_and_means_files(tmp_path: Path, draw: Draw) -> None:
    source = save(tmp_path / "a.png", draw())
    (tmp_path / "folder.png").mkdir()
    tasks = plan_images([str(tmp_path / "*.png")], str(tmp_path / "out"), False)
    assert tasks == [Task(source, tmp_path / "out" / "a.png", in_folder=True)]


@pytest.mark.parametrize(("source", "target"), [("", "new"), ("*.png", "new"), ("a.png", "new/")])
def test_one_image_makes_the_folder_it_goes_into(
    tmp_path: Path, draw: Draw, source: str, target: str
) -> None:
    save(tmp_path / "in" / "a.png", draw())
    inputs = [f"{tmp_path}/in/{source}"]
    assert derain_images(inputs, f"{tmp_path}/{target}", NOTHING) == 0
    assert (tmp_path / "new" / "a.png").is_file()
    # What is there is skipped, as for several.
    assert derain_images(inputs, f"{tmp_path}/{target}", NOTHING) == 0


def test_a_folder_does_not_become_an_image(tmp_path: Path, draw: Draw) -> None:
    save(tmp_path / "in" / "a.png", draw())
    with pytest.raises(UsageError, match="need a folder"):
        plan_images([str(tmp_path / "in")], str(tmp_path / "out.png"), False)


def test_formats_that_are_read_alone_become_png(tmp_path: Path, draw: Draw) -> None:
    save(tmp_path / "in" / "a.gif", draw())
    assert derain_images([str(tmp_path / "in")], str(tmp_path / "out"), NOTHING) == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.png"]


# What becomes of them


def test_streaks_go_from_a_single_image(tmp_path: Path) -> None:
    if weights_file(DEFAULT) is None:
        pytest.skip(f"the trained weights of {DEFAULT} are not in models/weights")
    y, x = np.mgrid[:96, :128] / 20
    scene = np.stack([np.sin(x + k) * np.cos(y - k) for k in range(3)]) * 0.15 + 0.45
    scene[:, 30:60, 40:90] -= 0.2
    clean = torch.from_numpy(scene.astype(np.float32))
    layers = (StreakLayer(0.06, 14, 1.0, 0.5, 0.0, 2.0, 0.0),)
    rainy = render_rain(clean[None], RainSettings(layers=layers, angle=8), 3).rainy[0]
    save(tmp_path / "in.png", (rainy.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
    options = VideoOptions(model=DEFAULT, device="cpu", precision="fp32")
    assert derain_images([str(tmp_path / "in.png")], str(tmp_path / "out.png"), options) == 0
    found = torch.from_numpy(read_image(tmp_path / "out.png").rgb).permute(2, 0, 1)
    gain = float(psnr(found[None], clean[None]) - psnr(rainy[None], clean[None]))
    assert gain > 2


@pytest.mark.parametrize("model", [name for name in list_models() if weights_file(name)])
def test_every_network_takes_an_image_of_one_pixel(tmp_path: Path, model: str) -> None:
    for size in ((1, 1), (2, 3), (1, 40)):
        save(tmp_path / "in.png", np.full((*size, 3), 90, np.uint8))
        options = VideoOptions(model=model, device="cpu", overwrite=True)
        assert derain_images([str(tmp_path / "in.png")], str(tmp_path / "out.png"), options) == 0
        assert read_image(tmp_path / "out.png").rgb.shape == (*size, 3)


def test_says_when_a_network_needs_neighbours(
    tmp_path: Path, draw: Draw, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "in.png", draw())
    assert derain_images([str(tmp_path / "in.png")], str(tmp_path / "out.png"), NOTHING) == 0
    assert "--model rescan" in capsys.readouterr().err


def test_one_bad_input_ends_that_input_alone(
    tmp_path: Path, draw: Draw, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "b.jpg", "z.png"):
        save(tmp_path / "in" / name, draw(90, 120))
    data = (tmp_path / "in" / "b.jpg").read_bytes()
    (tmp_path / "in" / "b.jpg").write_bytes(data[:-200])
    (tmp_path / "in" / "n.png").write_text("none")
    assert derain_images([str(tmp_path / "in")], str(tmp_path / "out"), NOTHING) == 1
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "z.png"]
    said = capsys.readouterr().err
    assert "b.jpg is damaged or ends early" in said
    assert "n.png is not an image" in said


def test_lack_of_memory_for_one_leaves_the_others(
    tmp_path: Path,
    draw: Draw,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from derain.pipeline.image import derain_images as module

    def read(path: Path, page: int) -> object:
        if path.name == "a.png":
            raise MemoryError("no room")
        return read_image(path, page)

    monkeypatch.setattr(module, "read_image", read)
    for name in ("a.png", "z.png"):
        save(tmp_path / "in" / name, draw())
    assert derain_images([str(tmp_path / "in")], str(tmp_path / "out"), NOTHING) == 1
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["z.png"]
    assert "a.png cannot be done (MemoryError: no room)" in capsys.readouterr().err


# Animations and pages


def several(path: Path, draw: Draw) -> Path:
    images = [Image.fromarray(np.roll(draw(), k, 1)) for k in range(3)]
    images[0].save(path, save_all=True, append_images=images[1:])
    return path


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".avif", ".mpo", ".tif"])
def test_the_first_of_several_is_taken_and_said(
    tmp_path: Path, draw: Draw, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    source = several(tmp_path / f"in{suffix}", draw)
    assert derain_images([str(source)], str(tmp_path / "out.png"), NOTHING) == 0
    said = capsys.readouterr().err
    way = {".tif": "--pages all", ".mpo": "3 images"}.get(suffix, f"derain video {source} does all")
    assert way in said


def test_all_pages_of_a_tiff(tmp_path: Path, draw: Draw) -> None:
    source, target = several(tmp_path / "in.tif", draw), tmp_path / "out.tif"
    assert derain_images([str(source)], str(target), NOTHING, pages="all") == 0
    assert count_images(target) == (3, "TIFF")
    for page in range(3):
        np.testing.assert_array_equal(read_image(target, page).rgb, read_image(source, page).rgb)


def test_pages_need_a_format_that_has_them(
    tmp_path: Path, draw: Draw, capsys: pytest.CaptureFixture[str]
) -> None:
    source = several(tmp_path / "in.tif", draw)
    assert derain_images([str(source)], str(tmp_path / "out.png"), NOTHING, pages="all") == 1
    assert "write .tif for all 3 pages" in capsys.readouterr().err
    film = several(tmp_path / "in.gif", draw)
    assert derain_images([str(film)], str(tmp_path / "out.tif"), NOTHING, pages="all") == 1
    assert "derain video" in capsys.readouterr().err


def test_an_ending_nobody_writes_is_told_before_the_network_loads(
    tmp_path: Path, draw: Draw
) -> None:
    source = save(tmp_path / "in.png", draw())
    with pytest.raises(DerainError, match="no format to write"):
        derain_images([str(source)], str(tmp_path / "out.gif"), VideoOptions(model="none"))
