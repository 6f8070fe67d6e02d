"""Films of VR cameras: how two views lie in a frame, and what sphere the frame is the map of."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import av

from derain.pipeline.video.copying.ebml import element, number
from derain.pipeline.video.copying.side_data import side_data

# Matroska's numbers for FFmpeg's kinds of stereo, in the usual order of views and inverted.
STEREO_MODES = {1: (1, 11), 2: (3, 2), 3: (13, 14), 4: (5, 4), 6: (7, 6), 7: (9, 8)}
IN_MP4 = {1, 3}  # side by side and one above the other, the left view first
EQUIRECTANGULAR, CUBEMAP, TILE = 0, 1, 2  # FFmpeg's numbers
MATROSKA_PROJECTION = {EQUIRECTANGULAR: 1, CUBEMAP: 2, TILE: 1}
ONE_DEGREE = 1 << 16


@dataclass(frozen=True, slots=True)
class Immersive:
    """How a frame is to be seen with a headset."""

    stereo_mode: int = 0  # Matroska's number; 0: one view
    projection: int | None = None  # FFmpeg's number; None: flat
    angles: tuple[float, float, float] = (0.0, 0.0, 0.0)  # yaw, pitch, roll in degrees
    bounds: tuple[int, int, int, int] = (0, 0, 0, 0)  # left, top, right, bottom, in 2**-32
    padding: int = 0  # of a cube's faces, in pixels

    @property
    def names(self) -> set[str]:
        """What it holds, as `side_data.LOST` calls it."""
        stereo = {"the stereo mode"} if self.stereo_mode else set()
        return stereo | ({"the spherical projection"} if self.projection is not None else set())

    def in_mp4(self) -> bool:
        """Whether FFmpeg's muxer of MP4 writes it."""
        return self.stereo_mode in {0, *IN_MP4}

    def elements(self) -> bytes:
        """What Matroska's header says of it."""
        stereo = number("53B8", self.stereo_mode) if self.stereo_mode else b""
        return stereo + (_projection(self) if self.projection is not None else b"")


def immersive(image: av.VideoFrame) -> Immersive | None:
    """What a frame says of its views and its sphere that Matroska can say, too; None: nothing."""
    mode = 0
    stereo, sphere = side_data(image, "STEREO3D"), side_data(image, "SPHERICAL")
    if stereo:
        kind, flags = struct.unpack("<2i", stereo[:8])
        mode = STEREO_MODES.get(kind, (0, 0))[flags & 1]
    if sphere:
        projection, yaw, pitch, roll, *edges = struct.unpack("<4i5I", sphere[:36])
        if projection in MATROSKA_PROJECTION:
            left, top, right, bottom, padding = edges
            angles = (yaw / ONE_DEGREE, pitch / ONE_DEGREE, roll / ONE_DEGREE)
            return Immersive(mode, projection, angles, (left, top, right, bottom), padding)
    return Immersive(mode) if mode else None


def _projection(view: Immersive) -> bytes:
    left, top, right, bottom = view.bounds
    content = number("7671", MATROSKA_PROJECTION[view.projection or EQUIRECTANGULAR])
    if view.projection == TILE:
        content += element("7672", struct.pack(">5I", 0, top, bottom, left, right))
    elif view.projection == CUBEMAP:
        content += element("7672", struct.pack(">3I", 0, 0, view.padding))
    for code, degrees in zip(("7673", "7674", "7675"), view.angles, strict=True):
        content += element(code, struct.pack(">d", degrees))
    return element("7670", content)
