"""Cropping frames to what their file's header shows of them: Matroska's PixelCrop, MP4's clap."""

from __future__ import annotations

import av
import av.filter

from derain.models.log import Log
from derain.pipeline.video.copying.track_header import Edges


class Cropper:
    """Cuts frames as players do.

    Args:
        edges: the pixels to cut off.
        notice: told once what is left of a frame.
    """

    def __init__(self, edges: Edges, notice: Log) -> None:
        self.edges, self.notice = edges, notice
        self._graph: av.filter.Graph | None = None
        self._form = (0, 0, "")

    def crop(self, frame: av.VideoFrame) -> av.VideoFrame:
        """What is shown of a frame: the frame itself where nothing is cut off.

        Subsampled chroma has no pixel for odd edges: there a row or column more stays.
        """
        edges = self.edges
        if edges == Edges():
            return frame
        across, down = _steps(frame)
        left, top = edges.left // across * across, edges.top // down * down
        right, bottom = edges.right // across * across, edges.bottom // down * down
        width, height = frame.width - left - right, frame.height - top - bottom
        if width <= 0 or height <= 0 or (width, height) == (frame.width, frame.height):
            return frame
        form = (frame.width, frame.height, frame.format.name)
        if self._graph is None or form != self._form:
            self._graph, self._form = _graph(frame, f"{width}:{height}:{left}:{top}"), form
            self.notice(
                f"The file's header shows {width}x{height} of its {frame.width}x{frame.height} "
                "pixels, as players do; the others are left out."
            )
        self._graph.push(frame)
        cropped = self._graph.pull()
        assert isinstance(cropped, av.VideoFrame)
        cropped.pts, cropped.time_base = frame.pts, frame.time_base
        return cropped


def _steps(frame: av.VideoFrame) -> tuple[int, int]:
    """Pixels across and down that share one value of chroma."""
    chroma = frame.format.components[1:2]
    if not chroma:
        return 1, 1
    return -(-frame.width // chroma[0].width), -(-frame.height // chroma[0].height)


def _graph(frame: av.VideoFrame, area: str) -> av.filter.Graph:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        template=None,
        width=frame.width,
        height=frame.height,
        format=frame.format.name,
        time_base=frame.time_base,
    )
    crop, sink = graph.add("crop", f"{area}:exact=1"), graph.add("buffersink")
    source.link_to(crop)
    crop.link_to(sink)
    graph.configure()
    return graph
