"""A virtual camera as the target of a session."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch import nn

from derain.models.errors import DerainError
from derain.pipeline.live.options import LiveOptions
from derain.pipeline.live.session import Live

PATIENCE = 60.0


def test_a_virtual_camera_shows_the_derained_frames(
    make_clip: Any, invert: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[np.ndarray] = []

    class Camera:
        def __init__(self, width: int, height: int, fps: float, device: str | None) -> None:
            assert (width, height, round(fps), device) == (64, 48, 25, "/dev/video9")

        def send(self, rgb: np.ndarray) -> None:
            shown.append(rgb.copy())

        def close(self) -> None:
            shown.append(np.zeros(0))

    package = ModuleType("pyvirtualcam")
    package.Camera = Camera  # type: ignore[attr-defined]
    package.__spec__ = SimpleNamespace()  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "pyvirtualcam", package)
    clip = str(make_clip(frames=5))
    options = LiveOptions(clip, resolution="source", to=("camera:/dev/video9",))
    with Live(options, invert) as live:
        while not live.ended:
            live.broadcaster.wait(10**6, 0.05)
        newest = live.broadcaster.newest
    assert newest is not None
    (sending,) = live.outputs.pushes
    assert len(shown) == sending.frames + 1 > 1 and shown[-1].size == 0
    assert np.abs(shown[-2].astype(int) - newest.image()).max() <= 1


def test_a_camera_without_package_or_driver_is_a_sentence(
    make_clip: Any, identity: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = LiveOptions(str(make_clip(frames=5)), resolution="source", to=("camera:",))
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(DerainError, match=r"pip install 'derain\[camera\]'"):
        Live(options, identity)

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no device\nmore")

    package = ModuleType("pyvirtualcam")
    package.Camera = refuse  # type: ignore[attr-defined]
    package.__spec__ = SimpleNamespace()  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "pyvirtualcam", package)
    live = Live(options, identity)
    with pytest.raises(DerainError, match=r"\(no device\).*v4l2loopback"), live:
        live._broken.wait(PATIENCE)
