"""Sound of the source: where it waits for its frames, and its encoder.

The network delays frames, and sound must not overtake them: what was heard waits until the first
frame that is due after it has come out.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from fractions import Fraction

import av
from av.container import OutputContainer

RATE = 48000  # samples a second that are sent
BLOCK = 1024  # samples of a packet of AAC
BIT_RATE = 160_000
SLIP = Fraction(30, 1000)  # seconds off its time from which sound is put right
HELD = 15.0  # seconds of sound that may wait


@dataclass(frozen=True, slots=True)
class Heard:
    """Some sound and when it is due, in seconds of the session."""

    frame: av.AudioFrame
    time: float


class WaitingSound:
    """Sound on its way past the network. Any thread may use it."""

    def __init__(self) -> None:
        self._items: deque[Heard] = deque()
        self._lock = threading.Lock()

    def put(self, heard: Heard) -> None:
        """Let it wait. The oldest goes where no frame comes for long, so that memory stays."""
        with self._lock:
            self._items.append(heard)
            while heard.time - self._items[0].time > HELD:
                self._items.popleft()

    def until(self, time: float) -> list[Heard]:
        """What is due up to a time, in order."""
        due = []
        with self._lock:
            while self._items and self._items[0].time <= time:
                due.append(self._items.popleft())
        return due


class SoundEncoder:
    """AAC in a container, kept at its time.

    A clock of sound and one of frames drift apart, and sound may miss a piece: whenever it is
    `SLIP` off, it goes on at its true time.
    """

    def __init__(self, container: OutputContainer) -> None:
        self.stream = container.add_stream("aac", rate=RATE, layout="stereo")
        self.stream.bit_rate = BIT_RATE
        self.stream.time_base = Fraction(1, RATE)
        self._resampler: av.AudioResampler | None = None
        self._kind: tuple[str, str, int] | None = None
        self._due = Fraction(0)  # seconds: the end of what was taken
        self._next = 0  # time stamp of the next block

    def encode(self, heard: av.AudioFrame, time: Fraction) -> list[av.Packet]:
        """Packets that are ready after this sound, due at `time` in seconds, 0 or later."""
        kind = (heard.format.name, heard.layout.name, heard.sample_rate)
        late = time - self._due
        if late < -SLIP:
            return []  # it would come a second time
        if self._resampler is None or kind != self._kind or late > SLIP:
            self._resampler = av.AudioResampler("fltp", "stereo", RATE, frame_size=BLOCK)
            self._kind, self._due = kind, time
            self._next = max(self._next, round(time * RATE))
        self._due += Fraction(heard.samples, heard.sample_rate)
        heard.pts = None
        packets = []
        for block in self._resampler.resample(heard):
            if block.samples == BLOCK:
                packets += self._encode(block)
        return packets

    def flush(self) -> list[av.Packet]:
        """What the encoder holds."""
        return list(self.stream.encode(None))

    def _encode(self, block: av.AudioFrame) -> list[av.Packet]:
        block.pts, block.time_base = self._next, Fraction(1, RATE)
        self._next += BLOCK
        return list(self.stream.encode(block))
