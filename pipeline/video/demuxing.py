"""The packets of a source as they come: damage, drops, a look ahead, and where each stream ends."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from fractions import Fraction

import av
from av.container import InputContainer
from av.stream import Stream

from derain.models.log import Log

KINDS = ("video", "audio", "subtitle")
FIRST = 3  # packets of a stream that are tried in an output
FAR = 4  # seconds of a file to look ahead for the first packets of its sound
HEAVY = 16 * 2**20  # bytes to hold while looking ahead
PATIENCE = 20  # failures in a row


class PacketReader:
    """Iterate over the packets of all streams of video, sound and captions.

    Args:
        container: an open source.
        name: of the source, for sentences.
        notice: told where it ends before its end.
    """

    def __init__(self, container: InputContainer, name: str, notice: Log) -> None:
        self.container, self.name, self.notice = container, name, notice
        self.damaged = 0
        self.broken = ""  # the sentence, where it ended in an error
        self.counts: dict[int, int] = {}  # packets, by the number of their stream
        self.ends: dict[int, int] = {}  # where each stream has come to, in its own ticks
        self.first: dict[int, list[av.Packet]] = {}  # copies
        self.whole = True  # read from its beginning, none of it twice
        self._ahead: deque[av.Packet] = deque()
        self._packets = self._read()

    def __iter__(self) -> Iterator[av.Packet]:
        while True:
            if self._ahead:
                yield self._ahead.popleft()
                continue
            packet = next(self._packets, None)
            if packet is None:
                return
            yield packet

    def rewound(self) -> None:
        """The source was wound: forget what was read ahead."""
        self.whole = False
        self._ahead.clear()
        self._packets = self._read()

    def look_ahead(self) -> dict[int, list[av.Packet]]:
        """Copies of the first packets of each stream; captions may come too late for it."""
        streams = [s for s in self.container.streams if s.type == "audio"]
        held, start = 0, None
        while any(len(self.first.get(s.index, ())) < FIRST for s in streams):
            packet = next(self._packets, None)
            if packet is None:
                break
            self._ahead.append(packet)
            held += packet.size
            if packet.dts is not None and packet.time_base:
                due = packet.dts * packet.time_base
                start = due if start is None else start
                if due - start > FAR:
                    break
            if held > HEAVY:
                break
        return self.first

    def end_of(self, stream: Stream) -> Fraction | None:
        """Where a stream has come to, in seconds of the file; None without a packet."""
        ticks = self.ends.get(stream.index)
        return None if ticks is None else ticks * stream.time_base

    def _read(self) -> Iterator[av.Packet]:
        streams = [s for s in self.container.streams if s.type in KINDS]
        failures = 0
        while failures < PATIENCE:
            try:
                for packet in self.container.demux(streams):
                    failures = 0
                    self._see(packet)
                    yield packet
                return
            except av.BlockingIOError:
                time.sleep(0.002)  # a device has nothing yet
            except (TimeoutError, ConnectionError, av.ExitError):
                # Asking again would wait as long again.
                return self._break_off(f"{self.name} sends nothing more; it ends there.")
            except av.FFmpegError:
                # Demuxers often go on behind a damaged place; they must not try for ever.
                self.damaged += 1
                failures += 1
        self._break_off(f"{self.name} cannot be read to its end.")

    def _break_off(self, text: str) -> None:
        self.broken = text
        self.notice(text)

    def _see(self, packet: av.Packet) -> None:
        if not packet.size:
            return
        index = packet.stream_index
        count = self.counts[index] = self.counts.get(index, 0) + 1
        if count <= FIRST:
            self.first.setdefault(index, []).append(copy_of(packet))
        ticks = packet.pts if packet.pts is not None else packet.dts
        if ticks is not None:
            self.ends[index] = max(self.ends.get(index, ticks), ticks + (packet.duration or 0))


def copy_of(packet: av.Packet, payload: bytes | None = None) -> av.Packet:
    """A packet of the same payload, or another one, and the same times; it may be changed."""
    copy = av.Packet(bytes(packet) if payload is None else payload)
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    copy.time_base, copy.is_keyframe = packet.time_base, packet.is_keyframe
    return copy
