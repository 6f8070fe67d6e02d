"""What a run reports of itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor, nn

from derain.models.networks.per_frame import PerFrame
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import Report, VideoOptions


@pytest.mark.parametrize(
    ("shares", "unchanged"),
    [
        ([0.0] * 24, False),  # too short to say
        ([0.0] * 25, True),
        ([0.002] * 500, True),
        ([0.06] * 100, False),
        ([0.0] * 90_000 + [0.03] * 50, False),  # it rains at the end of an hour
        ([0.0] * 50 + [0.05] + [0.0] * 50, True),  # one frame, as at a cut
    ],
)
def test_a_film_is_unchanged_if_every_second_of_it_is(shares: list[float], unchanged: bool) -> None:
    report = Report("in", "out")
    for share in shares:
        report.measure(share)
    assert report.unchanged == unchanged
    assert report.changed == pytest.approx(sum(shares) / len(shares))


def test_what_to_do_is_said_where_nothing_was_changed(
    make_clip: Callable[..., Path], identity: nn.Module, tmp_path: Path
) -> None:
    class Darker(nn.Module):
        def forward(self, rainy: Tensor) -> Tensor:
            return rainy * 0.8

    clip = make_clip("dry.mp4", frames=26)
    told = derain_video(clip, tmp_path / "o.mp4", VideoOptions(), model=identity).notices
    assert len(told) == 1
    assert told[0].startswith("Next to nothing was changed: at most 0.00%")
    assert "--boldness" in told[0]
    darker = PerFrame(Darker())
    assert derain_video(clip, tmp_path / "d.mp4", VideoOptions(), model=darker).notices == []
