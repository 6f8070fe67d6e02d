"""What several tests of training share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from derain.configs.training import (
    DataConfig,
    RefinementConfig,
    TrainingConfig,
    load_training,
)
from derain.stages.data.rendered_clips import cached_clip, find_clips
from derain.stages.training.loop import train

ROOT = Path(__file__).resolve().parents[2]
Runs = Callable[[TrainingConfig, int], tuple[Path, Path]]


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8: smooth noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


@pytest.fixture(scope="session")
def make_walk() -> Callable[..., Path]:
    """`make_walk(folder, frames)`: a folder `walk` of frames there, of a drifting texture."""

    def make(folder: Path, frames: int, seed: int = 0) -> Path:
        wide = texture(100, 150 + 2 * frames, seed)
        (folder / "walk").mkdir(parents=True)
        for t in range(frames):
            cv2.imwrite(str(folder / f"walk/{t:02d}.png"), wide[:, 2 * t : 2 * t + 150])
        return folder

    return make


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory, make_walk: Callable[..., Path]) -> Path:
    """A folder with one frame folder of a moving texture."""
    return make_walk(tmp_path_factory.mktemp("clips"), 14)


@pytest.fixture
def files(clips: Path) -> list[Path]:
    """The clip, decoded."""
    return [cached_clip(p, clips / "cache") for p in find_clips(clips)]


@pytest.fixture
def config(clips: Path) -> TrainingConfig:
    """Six steps of a tiny `swift`."""
    data = DataConfig(clips=str(clips), validation=None, frames=4, crop=48, batch=2, workers=0)
    return TrainingConfig(
        model="swift",
        settings={"widths": (8, 8, 8), "blocks": (1, 1), "hidden": 4},
        data=data,
        steps=6,
        warmup=2,
        precision="fp32",
        log_every=2,
        validate_every=100,
        save_every=3,
    )


@pytest.fixture(scope="session")
def still(tmp_path_factory: pytest.TempPathFactory, make_walk: Callable[..., Path]) -> Path:
    """A folder with one frame folder of three frames, for networks of single images."""
    return make_walk(tmp_path_factory.mktemp("clips"), 3)


@pytest.fixture
def small_preset(still: Path) -> Callable[..., TrainingConfig]:
    """`small_preset(name, settings, **changes)`: a shipped preset on a tiny network and data."""

    def make(name: str, settings: dict[str, Any], **changes: object) -> TrainingConfig:
        preset = load_training(ROOT / "configs" / f"{name}.yaml", [])
        small = {"clips": str(still), "validation": None, "crop": 32, "batch": 2, "workers": 0}
        tiny = {
            "settings": settings,
            "data": preset.data.model_copy(update=small),
            "precision": "fp32",
            "steps": 4,
            "log_every": 1,
            "save_every": 2,
            "validate_every": 100,
        }
        return preset.model_copy(update=tiny | changes)

    return make


@pytest.fixture(scope="session")
def clean_and_real(
    tmp_path_factory: pytest.TempPathFactory, make_walk: Callable[..., Path]
) -> Path:
    """Folders of frames: `clean` and `real`, one clip in each."""
    folder = tmp_path_factory.mktemp("clips")
    for seed, name in enumerate(("clean", "real")):
        make_walk(folder / name, 12, seed)
    return folder


@pytest.fixture
def refining(config: TrainingConfig, clean_and_real: Path) -> TrainingConfig:
    """Four steps of stage 2 of a tiny `swift`, with real rain."""
    places = {"clips": str(clean_and_real / "clean"), "real": str(clean_and_real / "real")}
    refinement = RefinementConfig(settings={"width": 4, "layers": 2}, critic_warmup=1)
    changes = {"data": config.data.model_copy(update=places), "refinement": refinement}
    changes |= {"steps": 4, "warmup": 0, "log_every": 1, "save_every": 2}
    return config.model_copy(update=changes)


@pytest.fixture
def moving() -> Callable[..., torch.Tensor]:
    """`moving(frames)`: a texture that moves sideways, `speed` pixels a frame."""

    def make(frames: int, size: int = 96, speed: int = 2) -> torch.Tensor:
        """(1, T, 3, size, size)."""
        wide = texture(size, size + speed * frames)
        views = [wide[:, speed * t : speed * t + size] for t in range(frames)]
        return torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2)[None].float() / 255

    return make


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches of clips are the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def whole_and_resumed(tmp_path: Path) -> Runs:
    """`whole_and_resumed(config, step)`: weights of a run, and of one killed after `step`."""

    class KilledError(Exception):
        pass

    def run(config: TrainingConfig, step: int) -> tuple[Path, Path]:
        def kill(done: int, steps: int, doing: str) -> None:
            if done == step:
                raise KilledError

        resumed: list[int] = []

        def note(done: int, steps: int, doing: str) -> None:
            resumed.append(done)

        whole = train(config, tmp_path / "whole", device="cpu")
        with pytest.raises(KilledError):
            train(config, tmp_path / "cut", device="cpu", progress=kill)
        cut = train(config, tmp_path / "cut", device="cpu", resume=True, progress=note)
        assert 1 < resumed[0] <= step  # from the checkpoint, not from the start
        return whole, cut

    return run
