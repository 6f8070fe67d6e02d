"""One line of time for a file whose time stamps jump."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import av

LATE = 1  # seconds by which time stamps must fall back to count as a jump of the whole file
STRAY = 10  # seconds that streams of a file may lie apart where it jumps


@dataclass(slots=True)
class Line:
    """How far one stream's time stamps have come, in its own ticks."""

    base: Fraction
    late: int  # LATE in ticks
    shift: int  # what is added
    end: int


class Timeline:
    """Time stamps that jump back (joined recordings, a wrapped counter) go on where they were.

    Gaps are left as they are. All streams are moved alike, so that they stay in step.
    """

    def __init__(self, notice: Callable[[str], None]) -> None:
        self.shift = Fraction(0)  # seconds, of the newest jump, for streams that jump after it
        self.lines: dict[int, Line] = {}
        self.notice = notice

    def place(self, packet: av.Packet) -> None:
        """Move a packet to its place, in place."""
        if packet.dts is None:
            return
        line = self.lines.get(packet.stream_index)
        if line is None:
            base = packet.time_base
            shift = round(self.shift / base)
            line = Line(base, round(LATE / base), shift, packet.dts + shift)
            self.lines[packet.stream_index] = line
        # Whole numbers as far as possible: this is done for each packet.
        if packet.dts + line.shift < line.end - line.late:
            line.shift = self._close(line, packet.dts)
        if line.shift:
            packet.dts += line.shift
            if packet.pts is not None:
                packet.pts += line.shift
        # A caption may be meant to stay for long.
        length = 0 if packet.stream.type == "subtitle" else packet.duration or 0
        line.end = max(line.end, packet.dts + length)

    def _close(self, line: Line, dts: int) -> int:
        """The shift, in ticks, of a stream that jumps back to `dts`."""
        own, end = dts * line.base, line.end * line.base
        if not -LATE <= own + self.shift - end <= STRAY:
            # The first stream that jumps; behind all others, so that none must go back.
            last = max(line.end * line.base for line in self.lines.values())
            self.shift = last - own
            self.notice(f"Time stamps jump back at {float(last):.2f} s; they go on from there.")
        return round(self.shift / line.base)
