"""The process that decodes frames for the page: it is started anew where it dies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from derain.models.errors import DerainError
from derain.pipeline.serve.folders import Folders
from derain.pipeline.serve.frame_process import FrameProcess


def test_a_process_that_dies_is_started_anew(
    make_clip: Callable[..., Path], tmp_path: Path, monkeypatch: Any
) -> None:
    frames = FrameProcess(Folders(tmp_path))
    path = make_clip("a.mp4")
    assert frames.probe(path, "a.mp4").frames == 12
    assert frames._process is not None
    frames._process.kill()
    frames._process.wait()
    assert frames.probe(path, "a.mp4").frames == 12
    monkeypatch.setattr("derain.pipeline.serve.frame_process.PATIENCE", 0.0)
    with pytest.raises(DerainError, match="cannot be decoded"):
        frames.probe(path, "a.mp4")
    frames.close()
