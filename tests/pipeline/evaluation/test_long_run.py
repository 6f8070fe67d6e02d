"""Long runs: how a short clip is played for long, and what is measured at both ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from derain.models import load_model
from derain.models.errors import DerainError
from derain.pipeline.evaluation import long_run
from derain.pipeline.evaluation.long_run import forth_and_back
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.video import Encoding

SETTINGS = VideoOptions(device="cpu", precision="fp32", encoding=Encoding(crf=12))


def clip(seed: int) -> list[np.ndarray]:
    """Six frames (48, 64, 3) that hardly differ."""
    rng = np.random.default_rng(seed)
    still = rng.integers(60, 180, (6, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    return [still + np.uint8(t) for t in range(6)]


def test_both_ends_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_run, "EARLY", 6)
    monkeypatch.setattr(long_run, "WINDOW", 3)
    said: list[str] = []
    clean = clip(0)
    run = long_run.long_run(tmp_path, load_model("median"), clean, clean, SETTINGS, 20, said.append)
    assert run["long_frames"] == 20
    assert 30 < run["psnr_early"] < 60
    assert run["psnr_late"] == pytest.approx(run["psnr_early"], abs=6)
    if long_run.memory("VmRSS") is not None:
        assert run["resident_mib_early"] > 50 and run["resident_mib_late"] > 50
    assert said == ["6 of 20 frames", "12 of 20 frames", "18 of 20 frames"]


def test_quality_is_that_against_the_clean_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_run, "EARLY", 3)
    monkeypatch.setattr(long_run, "WINDOW", 3)
    settings = replace(SETTINGS, overwrite=True)
    model = load_model("median")
    near, far = (
        long_run.long_run(tmp_path, model, clean, clip(0), settings, 6, lambda _: None)
        for clean in (clip(0), clip(1))
    )
    assert near["psnr_late"] > far["psnr_late"] + 10


def test_a_run_too_short_to_tell_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DerainError, match="at least 300 frames"):
        long_run.long_run(
            tmp_path, load_model("median"), clip(0), clip(0), SETTINGS, 299, lambda _: None
        )


def test_forth_and_back_never_jumps() -> None:
    path = list(forth_and_back([0, 1, 2, 3], 14))
    assert path == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]
    assert list(forth_and_back([5], 3)) == [5, 5, 5]
