"""Data sets on disk: every layout is read, and a wrong one is told what was found and expected."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from derain.configs.training import DataConfig
from derain.models import DerainError
from derain.stages.data import image_pairs
from derain.stages.data.clip_pairs import ClipPair, find_clip_pairs, frames_of
from derain.stages.data.image_pairs import DATA_SETS, DataSet, ImagePair, find_pairs, read_pair
from derain.stages.data.paired_samples import PairedClips, clip_validation_clip, decoded, spread
from derain.stages.data.rendered_clips import frame_files

RAINY, CLEAN = 200, 100  # grey levels


def image(path: Path, level: int = CLEAN, size: tuple[int, int] = (6, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((size[1], size[0], 3), level, np.uint8))


def side_by_side(path: Path, left: int, right: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    both = np.full((4, 12, 3), left, np.uint8)
    both[:, 6:] = right
    cv2.imwrite(str(path), both)


def levels(pairs: list[ImagePair]) -> list[tuple[int, int]]:
    read = [read_pair(pair) for pair in pairs]
    return [(int(r.mean()), int(c.mean())) for r, c in read if c is not None]


def make_numbered(root: Path) -> None:
    for i in (1, 2, 10):
        image(root / f"rain-{i}.png", RAINY + i)
        image(root / f"norain-{i}.png", CLEAN + i)
        image(root / f"rainstreak-{i}.png", 0)


def make_folders(root: Path) -> None:
    for i in (1, 2, 10):
        image(root / f"rain/{i}.png", RAINY + i)
        image(root / f"norain/{i}.png", CLEAN + i)


def make_republished(root: Path) -> None:
    for i in (1, 2, 10):
        image(root / f"rain/X2/norain-{i}x2.png", RAINY + i)
        image(root / f"norain/norain-{i}.png", CLEAN + i)


def make_inputs(root: Path) -> None:
    for i in (1, 2, 10):
        image(root / f"input/rain-{i}.png", RAINY + i)
        image(root / f"target/norain-{i}.png", CLEAN + i)


def make_list(root: Path) -> None:
    make_folders(root)
    text = "".join(f"/rain/{i}.png norain/{i}.png\n" for i in (1, 2, 10))
    (root / "list.txt").write_text(text.rstrip("\n"))  # the last line needs no end


@pytest.mark.parametrize(
    ("make", "place", "layout"),
    [
        (make_numbered, "", "numbered"),
        (make_folders, "", "folders"),
        (make_republished, "", "folders"),
        (make_inputs, "", "folders"),
        (make_list, "list.txt", "list"),
    ],
)
def test_layouts_pair_what_belongs_together(
    make: Callable[[Path], None], place: str, layout: str, tmp_path: Path
) -> None:
    make(tmp_path)
    notices: list[str] = []
    pairs = find_pairs(tmp_path / place, layout, notice=notices.append)
    assert levels(pairs) == [(RAINY + i, CLEAN + i) for i in (1, 2, 10)]
    assert not notices


@pytest.mark.parametrize("side", ["left", "right"])
def test_halves_of_one_image_are_told_apart_by_name(side: image_pairs.Side, tmp_path: Path) -> None:
    """Also in folders below, as Rain1200 is."""
    for i, place in enumerate(("Rain_Heavy/a.png", "Rain_Light/b.png")):
        values = (CLEAN + i, RAINY + i) if side == "left" else (RAINY + i, CLEAN + i)
        side_by_side(tmp_path / place, *values)
    pairs = find_pairs(tmp_path, "side-by-side", side)
    assert levels(pairs) == [(RAINY, CLEAN), (RAINY + 1, CLEAN + 1)]
    with pytest.raises(DerainError, match="needs clean_side"):
        find_pairs(tmp_path, "side-by-side")


def test_swapped_sides_and_lossy_files_are_noticed(tmp_path: Path) -> None:
    for i in range(3):
        side_by_side(tmp_path / f"{i}.jpg", CLEAN, RAINY)
    notices: list[str] = []
    find_pairs(tmp_path, "side-by-side", "right", notices.append)
    assert any("In 3 of 3 pairs" in text and "swapped" in text for text in notices)
    assert any("JPEG" in text for text in notices)
    notices.clear()
    find_pairs(tmp_path, "side-by-side", "left", notices.append)
    assert not any("swapped" in text for text in notices)


def test_one_clean_image_serves_many_rainy_ones(tmp_path: Path) -> None:
    """Rain1400: 901_3.jpg belongs to 901.jpg."""
    for i in (901, 902):
        image(tmp_path / f"ground_truth/{i}.png", CLEAN + i - 900)
        for k in range(1, 15):
            image(tmp_path / f"rainy_image/{i}_{k}.png", RAINY + i - 900)
    pairs = find_pairs(tmp_path, "folders")
    assert levels(pairs) == [(201, 101)] * 14 + [(202, 102)] * 14
    assert [pair.name for pair in pairs[:2]] == ["901_1", "901_2"]


def test_images_without_truth_are_a_set_too(tmp_path: Path) -> None:
    image(tmp_path / "a.png", RAINY)
    (pair,) = find_pairs(tmp_path, "alone")
    rainy, clean = read_pair(pair)
    assert clean is None
    assert rainy.shape == (4, 6, 3)


def test_published_sets_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (DATA_SETS["rain100h"].train, DATA_SETS["rain100h"].test) == (1800, 100)
    assert (DATA_SETS["rain100h-new"].train, DATA_SETS["rain100h-new"].test) == (1800, 200)
    make_numbered(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DerainError, match=r"3 pairs, but rain100l has 200 .* 100 .*'numbered'"):
        find_pairs(tmp_path, "rain100l")
    with pytest.raises(DerainError, match="a folder of rainy images"):
        find_pairs(tmp_path, "rain100l-new")
    with pytest.raises(
        DerainError, match=r"0 files \(nothing\); expected are the pairs of rain800"
    ):
        find_pairs(empty, "rain800")
    monkeypatch.setitem(DATA_SETS, "tiny", DataSet(("folders", "numbered"), 7, 3))
    assert len(find_pairs(tmp_path, "tiny")) == 3


def test_a_wrong_layout_says_what_is_there_and_what_should_be(tmp_path: Path) -> None:
    make_folders(tmp_path / "a")
    make_numbered(tmp_path / "b")
    (tmp_path / "empty").mkdir()
    for place, layout, words in [
        ("a", "numbered", r"holds 2 folders and 0 files \(norain/, rain/\); expected are images"),
        ("b", "folders", r"holds 0 folders and 9 files \(norain-1.png, .*, …\); expected are a"),
        ("empty", "alone", r"0 files \(nothing\); expected are images"),
        ("missing", "folders", r"There is no folder .*missing; expected is one with a folder of"),
        ("a", "list", "a text file with a rainy and a clean path in each line; .* is a folder"),
        ("a", "lists", "There is no layout 'lists'; choose one of side-by-side, numbered"),
    ]:
        with pytest.raises(DerainError, match=words):
            find_pairs(tmp_path / place, layout)


def test_nothing_is_left_out_silently(tmp_path: Path) -> None:
    make_folders(tmp_path)
    image(tmp_path / "norain/99.png")
    with pytest.raises(DerainError, match=r"3 rainy and 4 clean files, of which 1 .* 99.png"):
        find_pairs(tmp_path, "folders")


def test_lists_name_their_faults(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    for text, words in [
        ("a.png b.png\n", "2 files that .* are not there, such as .*a.png"),
        ("a.png b.png c.png\n", "Line 1 .* has 3 paths"),
        ("\n", "names no pairs"),
    ]:
        file.write_text(text)
        with pytest.raises(DerainError, match=words):
            find_pairs(file, "list")


def test_images_of_a_pair_have_one_size(tmp_path: Path) -> None:
    image(tmp_path / "a.png", size=(7, 4))
    image(tmp_path / "b.png", size=(6, 4))
    with pytest.raises(DerainError, match=r"is 7x4 and .* is 6x4"):
        read_pair(ImagePair("x", tmp_path / "a.png", tmp_path / "b.png"))
    with pytest.raises(DerainError, match="7 pixels wide and has no two equal halves"):
        read_pair(ImagePair("x", tmp_path / "a.png", tmp_path / "a.png", "left"))
    (tmp_path / "c.png").write_text("no image")
    with pytest.raises(DerainError, match="cannot be read as an image"):
        read_pair(ImagePair("x", tmp_path / "c.png", None))


def make_clip(folder: Path, level: int, frames: int = 11) -> None:
    for n in range(1, frames + 1):  # not padded: 10 comes after 9
        image(folder / f"{n}.png", level + n, (40, 36))


def test_frames_are_in_order_of_their_numbers(tmp_path: Path) -> None:
    make_clip(tmp_path, CLEAN)
    assert [p.stem for p in frame_files(tmp_path)] == [str(n) for n in range(1, 12)]


def test_the_two_stage_papers_five_folders(tmp_path: Path) -> None:
    made = {"Rain_Haze": 150, "Haze": 140, "Trans": 128, "Alpha": 178, "GT": 100}
    for name, level in made.items():
        make_clip(tmp_path / f"set/{name}/0001", level)
    (pair,) = find_clip_pairs(tmp_path / "set", "five-folders")
    data = PairedClips(
        [decoded(pair, tmp_path / "cache")], DataConfig(frames=11, crop=32), seed=0, length=4
    )
    batch = data[0]
    assert batch.rainy.shape == (11, 3, 32, 32)
    steps = torch.arange(1, 12).view(-1, 1, 1, 1) / 255

    def constant(level: int, channels: int = 3, size: int = 32) -> torch.Tensor:
        return (level / 255 + steps).expand(11, channels, size, size)

    torch.testing.assert_close(batch.rainy, constant(150))
    torch.testing.assert_close(batch.clean, constant(100))
    torch.testing.assert_close(batch.transmission, constant(128, 1))
    torch.testing.assert_close(batch.airlight, constant(178, 3, 1))
    torch.testing.assert_close(batch.streaks, torch.full((11, 3, 32, 32), 10 / 255))
    probe = clip_validation_clip(data.clips[0])
    assert probe.rainy.shape == probe.clean.shape == (1, 11, 3, 32, 32)
    (tmp_path / "set/Haze/0001/3.png").unlink()
    with pytest.raises(DerainError, match=r"11 in Rain_Haze, 10 in Haze"):
        find_clip_pairs(tmp_path / "set", "five-folders")


def test_ntu_folders_and_their_frames(tmp_path: Path) -> None:
    for name in ("a1", "b2"):
        make_clip(tmp_path / f"{name}_Rain", RAINY, 2)
        make_clip(tmp_path / f"{name}_GT", CLEAN, 2)
    pairs = find_clip_pairs(tmp_path, "ntu")
    assert [pair.name for pair in pairs] == ["a1", "b2"]
    frames = frames_of(pairs)
    assert levels(frames) == [(201, 101), (202, 102)] * 2
    next((tmp_path / "b2_GT").iterdir()).unlink()
    with pytest.raises(DerainError, match="b2_Rain has 2 frames and b2_GT has 1"):
        find_clip_pairs(tmp_path, "ntu")
    for file in (tmp_path / "b2_GT").iterdir():
        file.unlink()
    (tmp_path / "b2_GT").rmdir()
    with pytest.raises(DerainError, match="no b2_GT beside it"):
        find_clip_pairs(tmp_path, "ntu")


def test_pairs_of_videos(tmp_path: Path) -> None:
    for name in ("rainy", "clean"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "walk.mp4").touch()
    (pair,) = find_clip_pairs(tmp_path, "videos")
    assert (pair.rainy.parent.name, pair.clean.parent.name) == ("rainy", "clean")
    assert pair.hazy is None
    with pytest.raises(DerainError, match="is a video; single-image networks learn from folders"):
        frames_of([pair])
    for layout, words in [
        ("five-folders", "expected are the folders Rain_Haze"),
        ("ntu", "expected are folders of frames called NAME_Rain"),
        ("film", "choose one of five-folders, ntu, videos"),
    ]:
        with pytest.raises(DerainError, match=re.escape(words)):
            find_clip_pairs(tmp_path, layout)


def test_clips_that_are_too_small_or_differ_are_named(tmp_path: Path) -> None:
    for name, frames in (("a_Rain", 3), ("a_GT", 4)):
        make_clip(tmp_path / name, CLEAN, frames)
    pair = ClipPair("a", tmp_path / "a_Rain", tmp_path / "a_GT")
    files = [decoded(pair, tmp_path / "cache")]
    with pytest.raises(DerainError, match="as many frames of one size"):
        _ = PairedClips(files, DataConfig(frames=3, crop=32), 0, 1)[0]
    same = [{"rainy": files[0]["rainy"], "clean": files[0]["rainy"]}]
    with pytest.raises(DerainError, match=r"3 frames of 40x36 is too small for data.frames 5"):
        _ = PairedClips(same, DataConfig(frames=5, crop=32), 0, 1)[0]


def test_few_of_many_are_evenly_chosen() -> None:
    assert spread(list(range(5))) == [0, 1, 2, 3, 4]
    assert spread(list(range(100)))[:3] == [0, 13, 26]
    assert len(spread(list(range(100)))) == 8
    assert spread([]) == []
