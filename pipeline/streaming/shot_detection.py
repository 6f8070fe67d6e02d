"""Where shots end and which frames repeat: causal, from the brightness of frames alone.

A cut is a frame whose structure does not fit the last one's, wherever the camera may have turned.
Local contrast is compared, not brightness: flashes and fades keep it, cuts do not. What a cut means
for the network is in shot_runner.py.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from derain.pipeline.video.frames import Frame

WIDTH, HEIGHT = 64, 36  # of the image that is compared
REACH = 8, 5  # its pixels by which the camera may turn between two frames, across and down
FIT = 0.4  # least correlation of two frames of a shot; unrelated ones have 0.17, 0.33 at 95 %
JUMP = 2.0  # times the misfit of the frames before that a cut has: fast motion is no cut
FLAT = 2.0  # contrast below which an image (black, white, fog) says nothing about its shot
REPEAT_MEAN, REPEAT_BLOCK = 0.1, 3.0  # differences of a repeated frame, of 255: all, and 16x16


@dataclass(slots=True)
class ShotDetector:
    """Mark frames that begin a shot (`cut`) or show the frame before them (`repeat`).

    Args:
        scenes: look for cuts; gaps in time and changes of size end a shot in any case.
    """

    scenes: bool = True
    _structure: NDArray[np.float32] | None = None  # of the last frame that was not flat
    _fed: NDArray[np.uint8] | None = None  # brightness of the last frame that was no repeat
    _misfit: float = 0.2  # running mean over the shot
    _intervals: deque[float] = field(default_factory=lambda: deque(maxlen=31))
    _time: float | None = None
    _size: tuple[int, int] | None = None

    def mark(self, frame: Frame) -> None:
        """Set `frame.cut` and `frame.repeat`."""
        luma = frame.luma()
        size = (frame.image.width, frame.image.height)
        resized = self._size is not None and size != self._size
        self._size = size
        frame.cut = self._gap(frame.time) or resized
        frame.repeat = not frame.cut and self._same(luma)
        if frame.repeat:
            return
        self._fed = luma.copy()
        if self.scenes and self._is_cut(luma):
            frame.cut = True

    def _gap(self, time: float) -> bool:
        """Whether more time passed than a dropped frame or a variable rate explains."""
        interval = 0.0 if self._time is None else time - self._time
        usual = median(self._intervals) if self._intervals else interval
        if self._time is not None:
            self._intervals.append(interval)
        self._time = time
        return interval > max(0.5, 3 * usual)

    def _same(self, luma: NDArray[np.uint8]) -> bool:
        if self._fed is None or self._fed.shape != luma.shape:
            return False
        # Most frames differ by far more: every eighth row says so already.
        for every in (8, 1):
            apart = cv2.norm(luma[::every], self._fed[::every], cv2.NORM_L1)
            if apart > REPEAT_MEAN * luma.size:
                return False
        # A small thing may move where all else stands still.
        difference = cv2.absdiff(luma, self._fed)
        blocks = (max(1, luma.shape[1] // 16), max(1, luma.shape[0] // 16))
        blocked = cv2.resize(difference, blocks, interpolation=cv2.INTER_AREA)
        return bool(blocked.max() < REPEAT_BLOCK)

    def _is_cut(self, luma: NDArray[np.uint8]) -> bool:
        small = cv2.resize(luma, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float32)
        structure = small - cv2.GaussianBlur(small, (0, 0), 5)
        if cv2.meanStdDev(structure)[1].item() < FLAT:
            return False
        before, self._structure = self._structure, structure
        if before is None:
            return False
        across, down = REACH
        middle = np.ascontiguousarray(structure[down:-down, across:-across])
        fits = cv2.matchTemplate(before, middle, cv2.TM_CCORR_NORMED)
        # Where one of the two is flat there is no number; that is no fit.
        misfit = 1 - float(np.fmax.reduce(fits, axis=None, initial=0))
        if misfit > 1 - FIT and misfit > JUMP * self._misfit:
            self._misfit = 0.2
            return True
        self._misfit += 0.2 * (misfit - self._misfit)
        return False
