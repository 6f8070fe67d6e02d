"""Engines: OpenVINO gives what torch gives, its cache heals, and what it lacks is a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from derain.models import Derainer, load_model

pytest.importorskip("openvino")


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "derain" / "openvino"


def clip(frames: int, height: int = 64, width: int = 96) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    wide = torch.rand(1, 3, height // 8, width // 4, generator=generator)
    wide = torch.nn.functional.interpolate(wide, (height, 2 * width), mode="bicubic").clamp(0, 1)
    drifting = torch.cat([0.7 * wide[..., t : t + width] for t in range(frames)])
    rain = torch.rand(frames, 1, height // 8, width, generator=generator) < 0.01
    return (drifting + 0.3 * rain.repeat_interleave(8, 2)).clamp(0, 1)


def test_layers_are_left_out_where_nobody_looks_at_them() -> None:
    model, frames = load_model("swift"), clip(4)
    found = Derainer(model, "cpu", "fp32", engine="openvino", layers=False).stream(frames)
    wanted = Derainer(model, "cpu", "fp32", engine="openvino").stream(frames)
    for a, b in zip(found, wanted, strict=True):
        assert torch.equal(a.image, b.image)
        assert a.streaks is None and a.recovered is None and a.occlusion is None
        assert b.streaks is not None and b.recovered is not None
