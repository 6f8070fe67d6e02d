"""An even sample of a film of unknown length."""

from __future__ import annotations

import numpy as np

from derain.pipeline.background.frames import FrameSample


def test_sample_is_spread_evenly_and_bounded() -> None:
    for length in (1, 7, 8, 9, 100, 1000):
        sample = FrameSample(8)
        most = 0
        for i in range(length):
            if sample.due():
                sample.add(np.full((2, 2, 3), i % 251, np.uint8))
            most = max(most, len(sample.frames))
        kept = [int(f[0, 0, 0]) for f in sample.frames]
        assert kept == [i % 251 for i in range(0, length, sample.stride)]
        assert most <= 8
        assert len(kept) >= min(length, 4)
