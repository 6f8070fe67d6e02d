"""Turning the images of a source whose camera was turned, so that rain falls down in them."""

from __future__ import annotations

from fractions import Fraction

import av
import av.filter

from derain.pipeline.video.frames import Frame, is_turned, mirrored

TICKS = Fraction(1, 1000)  # a graph wants a unit of time; the frames keep their own


class Turner:
    """Turn and mirror images by quarters of a turn, as players show them.

    Pixels are moved, not converted, but for formats whose colours are coarser one way than the
    other (4:2:2), which become 4:4:4 where rows become columns.

    Args:
        matrix: that of `Video.display_matrix`.
    """

    def __init__(self, matrix: tuple[int, ...]) -> None:
        across, down = mirrored(matrix)
        # Of a mirrored image FFmpeg counts the rows backwards; a copy has them in order.
        asked = {"transpose": is_turned(matrix), "hflip": across, "vflip": down, "copy": down}
        self.filters = [name for name, wanted in asked.items() if wanted]
        self._graph: av.filter.Graph | None = None
        self._form = (0, 0, "")

    def turn(self, frame: Frame) -> None:
        """Put the upright image in the place of the stored one."""
        image = frame.image
        form = (image.width, image.height, image.format.name)
        if not self.filters:
            return
        if self._graph is None or form != self._form:
            self._graph, self._form = self._build_graph(*form), form
        self._graph.push(image)
        turned = self._graph.pull()
        assert isinstance(turned, av.VideoFrame)
        frame.image = turned

    def _build_graph(self, width: int, height: int, format: str) -> av.filter.Graph:
        graph = av.filter.Graph()
        last = graph.add_buffer(width=width, height=height, format=format, time_base=TICKS)
        for name in [*self.filters, "buffersink"]:
            # The default of transpose turns and mirrors: rows become columns.
            following = graph.add(name)
            last.link_to(following)
            last = following
        graph.configure()
        return graph
