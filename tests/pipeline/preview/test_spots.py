"""A few spots of a film, derained as all of it will be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from derain.models.errors import DerainError
from derain.pipeline.preview import spots
from derain.pipeline.preview.spots import derain_spots
from derain.pipeline.streaming.options import VideoOptions

OPTIONS = VideoOptions(precision="fp32", device="cpu")


@pytest.fixture
def film(make_clip: Callable[..., Path]) -> str:
    """Three seconds of 25 frames a second."""
    return str(make_clip(frames=75))


def test_each_spot_shows_the_same_frame_before_and_after(film: str, invert: nn.Module) -> None:
    done = derain_spots(film, invert, OPTIONS, [0.4, 1.2])
    assert [spot.time for spot in done.spots] == [0.4, 1.2]
    for spot in done.spots:
        assert spot.before.shape == spot.after.shape == (48, 64, 3)
        assert np.abs(spot.before.astype(int) + spot.after - 255).mean() < 12
    assert not np.array_equal(done.spots[0].before, done.spots[1].before)
    assert done.changed > 0.5


def test_pace_and_size_are_those_of_the_spots(film: str, identity: nn.Module) -> None:
    done = derain_spots(film, identity, OPTIONS, [0.0, 1.0])
    assert done.pace.rate > 0 and done.changed == 0
    for packets in (done.made, done.given):
        assert min(packets.keys + packets.others) > 0
    assert all(len(second) > 5 for second in done.seconds)


def test_without_time_the_spots_are_as_short_as_they_may_be(
    film: str, identity: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spots, "BUDGET", 0.0)
    frames: list[int] = []
    right = spots._derain

    def note(*arguments: object) -> object:
        report = right(*arguments)  # type: ignore[arg-type]
        frames.append(report.frames_out)
        return report

    monkeypatch.setattr(spots, "_derain", note)
    derain_spots(film, identity, OPTIONS, [0.0, 1.0, 2.0])
    assert frames == [spots.LEAST, spots.LEAST, spots.LAST_LEAST]


def test_what_cannot_be_decoded_is_a_sentence(tmp_path: Path, identity: nn.Module) -> None:
    (tmp_path / "film.mp4").write_bytes(b"no film")
    with pytest.raises(DerainError, match=r"film\.mp4"):
        derain_spots(str(tmp_path / "film.mp4"), identity, OPTIONS, [0.0])
