"""Frames of a camera that sways a little, put onto one of them.

A shift and a turn are fitted by ECC (Evangelidis and Psarakis, "Parametric Image Alignment Using
Enhanced Correlation Coefficient Maximization", PAMI 2008). A homography, with eight numbers for
three, fits the rain in front of small images as well as the scene.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from derain.pipeline.background.frames import Image

LONGEST = 640  # pixels of the longer side at which is fitted
STEPS, ENOUGH, BLUR = 60, 1e-5, 9  # iterations of ECC, and pixels of its blur
LEAST_CORRELATION = 0.4  # of the two images once fitted; rain takes some
MOST_SWAY = 0.08  # of the longer side, by which a corner may move


class Registration:
    """Puts frames onto a template, each fit beginning where the last one ended.

    Args:
        template: (H, W, 3) RGB.
    """

    def __init__(self, template: Image) -> None:
        height, width = template.shape[:2]
        self.scale = min(1.0, LONGEST / max(height, width))
        self.template = self._small(template)
        self.last = np.eye(2, 3, dtype=np.float32)

    def _small(self, frame: Image) -> NDArray[np.float32]:
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(grey, None, fx=self.scale, fy=self.scale, interpolation=cv2.INTER_AREA)
        return small.astype(np.float32)

    def register(self, frame: Image) -> Image | None:
        """The frame as the template's camera saw it; None where nothing fits."""
        criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, STEPS, ENOUGH)
        try:
            correlation, found = cv2.findTransformECC(
                self.template,
                self._small(frame),
                self.last.copy(),
                cv2.MOTION_EUCLIDEAN,
                criteria,
                None,
                BLUR,
            )
        except cv2.error:  # it did not converge
            return None
        matrix = found.astype(np.float64)
        matrix[:, 2] /= self.scale
        height, width = frame.shape[:2]
        corners = np.array([[[0, 0], [width, 0], [0, height], [width, height]]], np.float32)
        moved = cv2.transform(corners, matrix) - corners
        sway = float(np.linalg.norm(moved, axis=-1).max())
        if correlation < LEAST_CORRELATION or sway > MOST_SWAY * max(height, width):
            return None
        self.last = found
        how = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        put = cv2.warpAffine(
            frame, matrix, (width, height), flags=how, borderMode=cv2.BORDER_REFLECT_101
        )
        return np.asarray(put, np.uint8)
