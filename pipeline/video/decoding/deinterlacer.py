"""Deinterlacing: FFmpeg's bwdif, from the first interlaced frame on."""

from __future__ import annotations

from fractions import Fraction

import av
import av.filter

from derain.models.log import Log


class Deinterlacer:
    """One frame out for every frame in, those that are marked as interlaced deinterlaced.

    active: whether an interlaced frame was met; time stamps of frames are then the filter's.

    Args:
        keep: whether interlaced frames stay as they are.
        time_base: of the frames' time stamps.
        notice: told once that frames are deinterlaced.
    """

    def __init__(self, keep: bool, time_base: Fraction, notice: Log) -> None:
        self.keep, self.time_base, self.notice = keep, time_base, notice
        self._graph: av.filter.Graph | None = None
        self._form = (0, 0, "")

    @property
    def active(self) -> bool:
        return self._graph is not None

    def push(self, frame: av.VideoFrame | None) -> list[av.VideoFrame]:
        """Take a frame, or None at the stream's end; the frames that are finished."""
        if frame is None:
            return self._pull(None)
        if self._graph is None and (self.keep or not frame.interlaced_frame):
            return [frame]
        # A graph takes frames of one kind: at each change the old one gives what it holds.
        form = (frame.width, frame.height, frame.format.name)
        done = []
        if self._graph is None or form != self._form:
            done = self._pull(None)
            self._graph, self._form = self._build_graph(*form), form
            self.notice("The video is interlaced; it is deinterlaced (--interlaced keep: not).")
        return done + self._pull(frame)

    def _build_graph(self, width: int, height: int, format: str) -> av.filter.Graph:
        graph = av.filter.Graph()
        source = graph.add_buffer(
            width=width, height=height, format=format, time_base=self.time_base
        )
        # Only marked frames, one frame for one frame: nothing is doubled, nothing dropped.
        bwdif = graph.add("bwdif", "mode=send_frame:deint=interlaced")
        sink = graph.add("buffersink")
        source.link_to(bwdif)
        bwdif.link_to(sink)
        graph.configure()
        return graph

    def _pull(self, frame: av.VideoFrame | None) -> list[av.VideoFrame]:
        """Give the graph a frame, or its end, and take what is finished."""
        if self._graph is None:
            return []
        self._graph.push(frame)
        done = []
        while True:
            try:
                done.append(self._graph.pull())
            except (av.BlockingIOError, av.EOFError):
                return done
