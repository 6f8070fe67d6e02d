"""Sound that goes along: it waits for its frame and stays at its time."""

from __future__ import annotations

from fractions import Fraction
from io import BytesIO

import av
import numpy as np
import pytest

from derain.pipeline.live.outputs.sound import HELD, Heard, SoundEncoder, WaitingSound


def test_sound_waits_for_its_frame_but_not_for_ever() -> None:
    waiting = WaitingSound()
    for index in range(4):
        waiting.put(Heard(av.AudioFrame(), index / 4))
    assert [heard.time for heard in waiting.until(0.5)] == [0, 0.25, 0.5]
    waiting.put(Heard(av.AudioFrame(), 1 + HELD))
    assert [heard.time for heard in waiting.until(1e9)] == [1 + HELD]


def clicks(rate: int, seconds: int) -> np.ndarray:
    """A click at each whole second."""
    wave = np.zeros(rate * seconds, np.float32)
    for second in range(seconds):
        wave[second * rate : second * rate + rate // 50] = 0.8
    return wave


@pytest.mark.parametrize("skew", [0.995, 1.0, 1.005])
def test_sound_of_a_clock_that_drifts_stays_at_its_time(skew: float) -> None:
    """A device says 44.1 kHz and is half a percent off: 75 ms in a quarter of a minute."""
    rate, seconds = 44100, 15
    wave, file = clicks(rate, seconds), BytesIO()
    container = av.open(file, "w", format="matroska")
    encoder = SoundEncoder(container)
    for start in range(0, len(wave), 441):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + 441], "fltp", "mono")
        frame.sample_rate = rate
        for packet in encoder.encode(frame, Fraction(start, rate) * Fraction(skew)):
            container.mux_one(packet)
    for packet in encoder.flush():
        container.mux_one(packet)
    container.close()
    file.seek(0)
    with av.open(file) as written:
        at, last = [], -1.0
        for frame in written.decode(audio=0):
            loud = np.abs(frame.to_ndarray()[0]) > 0.3
            if loud.any():
                time = frame.time + int(np.argmax(loud)) / frame.sample_rate
                if time > last + 0.5:
                    at.append(time)
                last = time
    truth = [second * skew for second in range(seconds)]
    assert len(at) == seconds
    assert np.abs(np.array(at) - truth).max() < 0.040
