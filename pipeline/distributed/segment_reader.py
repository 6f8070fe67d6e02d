"""Reading one segment of a planned film: exactly the frames that the plan counts, marked by it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np

from derain.models.errors import VideoError
from derain.models.log import Log, say_nothing
from derain.pipeline.distributed.plan import Plan, Segment
from derain.pipeline.distributed.planning import thumbnail
from derain.pipeline.streaming.derain_video import reader_settings
from derain.pipeline.video import VideoReader
from derain.pipeline.video.frames import Frame

# Seconds before a segment to wind to: behind a seek some decoders give broken frames, and some
# containers lie about where they are. What no seek finds is found from the beginning.
MARGINS = (Fraction(1), Fraction(15), None)
ALIKE = 2  # of 255, thumbnails of one frame that two machines decoded


class PlannedMarks:
    """Marks frames as the plan does, in place of a `ShotDetector`."""

    def __init__(self, plan: Plan) -> None:
        self.shots, self.repeats = set(plan.shots), set(plan.repeats)

    def mark(self, frame: Frame) -> None:
        """Set `frame.cut` and `frame.repeat`."""
        frame.cut = frame.index > 0 and frame.index in self.shots
        frame.repeat = frame.index in self.repeats


class SegmentReader(VideoReader):
    """The frames of one segment and those around it, numbered as the plan numbers them.

    Args:
        plan: of the film.
        segment: which part.
        threads: of the decoder; None chooses.
        notice: told what was done differently.
    """

    def __init__(
        self, plan: Plan, segment: Segment, *, threads: int | None, notice: Log = say_nothing
    ) -> None:
        settings = reader_settings(plan.options)
        super().__init__(plan.source, threads=threads, notice=notice, **settings)
        self.plan, self.segment = plan, segment

    def find(self, margin: Fraction | None) -> bool:
        """Go to the first frame; whether it is there.

        Args:
            margin: seconds before it to wind to, None to read from the beginning.
        """
        wanted = self.plan.pts[self.segment.context_from]
        if margin is not None:
            try:
                self.seek(max(Fraction(0), wanted * self.plan.time_base + self.origin - margin))
            except VideoError:
                return False
        for item in super().__iter__():
            if isinstance(item, Frame) and item.pts >= wanted:
                self._peeked.appendleft(item)
                return item.pts == wanted and self._is_alike(item)
        return False

    def _is_alike(self, frame: Frame) -> bool:
        planned = np.frombuffer(bytes.fromhex(self.segment.thumbnail), np.uint8)
        apart = np.abs(thumbnail(frame).ravel().astype(int) - planned)
        return bool(apart.max() <= ALIKE)

    def __iter__(self) -> Iterator[Frame | av.Packet]:
        """The segment's frames, each with the index that the plan gives it."""
        segment = self.segment
        index = segment.context_from
        for item in super().__iter__():
            if not isinstance(item, Frame):
                continue
            if item.pts != self.plan.pts[index]:
                break
            item.index, item.warm_up = index, False
            item.context = not segment.first <= index < segment.end
            yield item
            index += 1
            if index == segment.context_to:
                return
        raise changed(self.plan)


def open_segment(
    plan: Plan, segment: Segment, *, threads: int | None = None, notice: Log = say_nothing
) -> SegmentReader:
    """A reader that stands at the first frame of a segment's context.

    Args:
        plan: of the film, with the options for opening it.
        segment: which frames, and which around them.
        threads: of the decoder; None chooses.
        notice: told what was done differently.

    Raises:
        VideoError: the source does not give that frame any more.
    """
    begins = segment.context_from == 0
    for margin in MARGINS[-1:] if begins else MARGINS:
        reader = SegmentReader(plan, segment, threads=threads, notice=notice)
        try:
            if reader.find(margin):
                return reader
        except BaseException:
            reader.close()
            raise
        reader.close()
    raise changed(plan)


def changed(plan: Plan) -> VideoError:
    """What to say of a source that gives other frames than planned."""
    return VideoError(
        f"{plan.source} gives other frames than when it was planned; plan it again in a new folder."
    )
