"""What can be planned, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from derain.models.errors import DerainError
from derain.pipeline.distributed.plan import Job, read_plan
from derain.pipeline.distributed.planning import make_plan
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.video import Encoding


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (VideoOptions(layers="there"), "--layers and --resume go with derain video alone"),
        (VideoOptions(start=90.0), "No frame of .* can be decoded"),
        (VideoOptions(encoding=Encoding(codec="libx264", preset="none")), "libx264 cannot start"),
    ],
)
def test_what_cannot_be_planned_is_said(
    make_clip: Callable[..., Path], identity: nn.Module, options: VideoOptions, sentence: str
) -> None:
    source = make_clip("in.mp4")
    with pytest.raises(DerainError, match=sentence):
        make_plan(source, Job(source.with_name("job")), options, model=identity)


def test_a_source_that_cannot_be_read_twice_is_refused(tmp_path: Path, identity: nn.Module) -> None:
    with pytest.raises(DerainError, match="never gives the same frames again"):
        make_plan("-", Job(tmp_path / "job"), VideoOptions(), model=identity)


def test_a_plan_is_not_written_over(planned: Job, identity: nn.Module) -> None:
    source = read_plan(planned).source
    with pytest.raises(DerainError, match=r"There is a plan in .* already"):
        make_plan(source, planned, VideoOptions(), model=identity)
