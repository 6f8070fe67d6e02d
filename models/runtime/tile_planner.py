"""Memory: how much there is, what frames take of it, and how its lack shows.

How a frame is cut into tiles is tiles.py's; trying again with smaller ones is derainer.py's.
"""

from __future__ import annotations

import math
from pathlib import Path

import psutil
import torch

from derain.models.errors import DerainError
from derain.models.log import Log
from derain.models.runtime.tiles import Tiles, round_up
from derain.models.video_model import VideoModel

SHARE = 0.7  # of the available memory that may be planned with
LEAST_SHARE = 0.05  # for tiles, whatever else takes
ELSEWHERE = 250  # bytes per pixel in the machine's memory: frames on their way, the encoder's
SHORT = "Memory is short for frames of this size; they are derained in tiles."
LACKS = (  # what torch, oneDNN, OpenCV, NumPy and C++ say
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "insufficient memory",
    "unable to allocate",
    "bad_alloc",
    "alloc_failed",  # cuBLAS and cuDNN
)


def is_exhausted(error: BaseException) -> bool:
    """Whether this error says that memory ran out, on a device or in the machine."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return any(words in text for words in LACKS)


def available(device: torch.device) -> int | None:
    """Bytes that can still be taken on `device`; None where nothing tells."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free) + int(kept)
    if device.type == "cpu":
        return _available_here()
    return None


def _available_here() -> int:
    """Of the machine, or of the container if that has less."""
    found = [psutil.virtual_memory().available]
    try:
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())  # "max" where there is none
        found.append(limit - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return min(found)


class TilePlanner:
    """Into what tiles a network's frames are cut, if any: `tiles`, which may change at any frame.

    Args:
        model: what is run.
        tile: `auto`, `off` or pixels a side.
        device: where the network runs.
        notice: called with a sentence when tiles are needed.

    Raises:
        DerainError: `tile` makes no sense for this network.
    """

    def __init__(
        self,
        model: VideoModel,
        tile: str | int,
        device: torch.device,
        notice: Log,
    ) -> None:
        self.tile, self.device, self.notice = tile, device, notice
        self.memory, self.able = model.memory_profile, model.supports_tiles
        self.multiple = model.multiple
        self.halo = round_up(model.halo, self.multiple)
        # Below it most of the work would be on halos.
        self.least = round_up(max(2 * self.halo, 16), self.multiple)
        self.tiles: Tiles | None = None
        self._planned: tuple[int, int] | None = None
        if tile in ("auto", "off"):
            return
        if not str(tile).isdecimal():
            raise DerainError(f"--tile is auto, off or a number of pixels, not '{tile}'.")
        if not self.able:
            raise DerainError("This network does not work in tiles; leave --tile out.")
        if int(tile) < self.least:
            raise DerainError(f"--tile is at least {self.least} for this network, not {tile}.")
        self.tiles = self._of(int(tile))

    def plan(self, height: int, width: int) -> None:
        """Before a shot: the largest tiles that the memory allows, or none where none are needed.

        Done once for each size, for what is free varies, and tiles show in the last bits.
        """
        if self.tile != "auto" or not self.able or self._planned == (height, width):
            return
        self._planned, self.tiles = (height, width), None
        there = available(self.device)
        if there is None:
            return
        held = self.memory.held + (ELSEWHERE if self.device.type == "cpu" else 0)
        # Where hardly anything is left, tiny tiles would save little more and take long.
        rest = max(SHARE * there - held * height * width, LEAST_SHARE * there)
        if self.memory.working * height * width > rest:
            outer = math.isqrt(int(rest) // self.memory.working)
            self.tiles = self._of(outer - 2 * self.halo)
            self.notice(SHORT)

    def shrink(self, height: int, width: int) -> None:
        """After the memory ran out: tiles of half the side.

        Raises:
            DerainError: they are as small as they get, or there are to be none.
        """
        size = max(height, width) if self.tiles is None else self.tiles.size
        if self.tile == "off" or not self.able or size <= self.least:
            advice = "leave out --tile off" if self.tile == "off" else "make them smaller first"
            raise DerainError(
                f"There is not enough memory for frames of {width}x{height}; {advice}."
            )
        if self.tiles is None:
            self.notice(SHORT)
        self.tiles = self._of(size // 2)

    def _of(self, size: int) -> Tiles:
        size = max(size // self.multiple * self.multiple, self.least)
        return Tiles(size, self.halo, self.multiple)
