"""`derain convert` and `derain background`: options in, files and sentences out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from derain.models import load_model

Command = Callable[..., Any]  # conftest.py
State = dict[str, torch.Tensor]


def test_convert_writes_weights_that_load(
    derain: Command, rescan_state: State, tmp_path: Path
) -> None:
    source, target = tmp_path / "latest", tmp_path / "ours.safetensors"
    torch.save({"net": rescan_state, "clock": 7}, source)
    result = derain("convert", str(source), "-o", str(target), "--set", "stages=3")
    assert result.code == 0, result.out
    assert "rescan" in result.out
    assert "stages 3" in result.out
    converted, direct = load_model(target), load_model(source)
    assert converted.net.stages == 3
    rainy = torch.rand(1, 3, 12, 10)
    with torch.inference_mode():
        three = converted.net(rainy)
        assert not torch.allclose(three, direct.net(rainy))
        torch.testing.assert_close(three, direct.net.forward_stages(rainy)[2])


def test_convert_takes_either_order_of_channels(
    derain: Command, rescan_state: State, tmp_path: Path
) -> None:
    source = tmp_path / "net.pth"
    torch.save(rescan_state, source)
    for order in ("bgr", "rgb"):
        target = str(tmp_path / f"{order}.safetensors")
        assert derain("convert", str(source), "-o", target, "--channels", order).code == 0
    rainy = torch.rand(1, 3, 9, 9)
    bgr, rgb = (load_model(tmp_path / f"{order}.safetensors").net for order in ("bgr", "rgb"))
    with torch.inference_mode():
        torch.testing.assert_close(bgr(rainy), rgb(rainy.flip(1)).flip(1))


def test_convert_refuses_in_sentences(derain: Command, rescan_state: State, tmp_path: Path) -> None:
    source, target = tmp_path / "net.pth", tmp_path / "ours.safetensors"
    torch.save(rescan_state, source)
    target.touch()
    for arguments, words in (
        (["-o", str(target)], "exists"),
        (["-o", str(tmp_path / "x.safetensors"), "--set", "storeys=3"], "--set does not fit"),
        (["-o", str(tmp_path / "x.safetensors"), "--channels", "grb"], "'grb' is not one of"),
    ):
        answer = derain("convert", str(source), *arguments)
        assert answer.code == (2 if "grb" in arguments else 1)
        assert words in answer.err
    wrong = derain("convert", str(source), "-o", str(tmp_path / "x"), "--set", "stages")
    assert wrong.code == 2


def raining(index: int, width: int, height: int) -> np.ndarray:
    """A still scene; each frame has bright dots in other places."""
    scene = np.random.default_rng(1).integers(20, 160, (height, width, 3), np.uint8)
    drops = np.random.default_rng(100 + index).random((height, width)) < 0.1
    scene[drops] = 250
    return scene


@pytest.fixture
def rain(make_clip: Callable[..., Path]) -> Path:
    return make_clip(
        "rain.mkv", frames=30, codec="ffv1", pixel_format="bgr0", color=None, draw=raining
    )


def test_background_finds_the_scene_and_writes_pairs(
    derain: Command, rain: Path, tmp_path: Path
) -> None:
    image, pairs = tmp_path / "clean.png", tmp_path / "pairs"
    arguments = ["background", str(rain), "-o", str(image), "--pairs", str(pairs)]
    result = derain(*arguments, "--every", "10")
    assert result.code == 0, result.out
    assert "of 30 frames" in result.out
    found = cv2.imread(str(image))[..., ::-1].astype(int)
    scene = np.random.default_rng(1).integers(20, 160, (48, 64, 3), np.uint8)
    assert np.abs(found - scene).max() <= 1
    lines = (pairs / "rain.txt").read_text().splitlines()
    assert len(lines) == 3
    from derain.stages.data.image_pairs import find_pairs, read_pair

    read = [read_pair(pair) for pair in find_pairs(pairs / "rain.txt", "list")]
    assert all(rainy.mean() > clean.mean() for rainy, clean in read if clean is not None)
    assert "exists" in derain(*arguments).err


def test_background_needs_something_to_write(derain: Command, rain: Path) -> None:
    answer = derain("background", str(rain))
    assert answer.code == 1
    assert "-o" in answer.err


def test_the_cache_is_listed_trimmed_and_cleared(
    derain: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "derain" / "clips"
    assert "0 clips" in derain("cache").out
    folder.mkdir(parents=True)
    for name in "ab":
        np.save(folder / f"{name}.npy", np.zeros(10_000))
    assert derain("cache").out.count("last used") == 2
    assert "1 clips, 0.1 MB" in derain("cache", "trim", "--limit", "0.0001").out
    cleared = derain("cache", "clear")
    assert "1 clips deleted, 0.1 MB freed" in cleared.err
    assert list(folder.iterdir()) == []
    assert derain("cache", "burn").code == 2
