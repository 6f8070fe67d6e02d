"""A tone beside frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from derain.pipeline.rendered.demo import RATE, read_8_bit, write_with_tone
from derain.pipeline.rendered.tone import write_tone
from derain.pipeline.video import VideoReader


def test_tone_is_as_long_as_the_frames(tmp_path: Path) -> None:
    write_tone(tmp_path / "tone.mkv", 1.0)
    target = tmp_path / "with_tone.mkv"
    frames = (np.full((32, 32, 3), 9 * t, np.uint8) for t in range(RATE))
    write_with_tone(target, frames, (32, 32), RATE)
    with VideoReader(target) as reader:
        packets = [p for p in reader if not hasattr(p, "image")]
        assert sum(p.duration * p.time_base for p in packets) == pytest.approx(1, abs=0.1)
    assert [p.mean() for p in read_8_bit(target)] == pytest.approx(
        [9 * t for t in range(RATE)], abs=2
    )
