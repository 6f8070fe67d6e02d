"""What several tests of the pipeline share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import Report, VideoOptions


@pytest.fixture
def run() -> Callable[..., tuple[Path, Report]]:
    """`run(source, name, model)`: derain a file into one of that name beside it."""

    def derain(
        source: Path, name: str, model: nn.Module, options: VideoOptions | None = None
    ) -> tuple[Path, Report]:
        target = source.parent / name
        options = options or VideoOptions(precision="fp32")
        return target, derain_video(source, target, options, model=model)

    return derain
