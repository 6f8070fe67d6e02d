"""Tiles: a frame too large for the memory, computed one rectangle at a time.

What a stream carries stays whole. A tile is cut out of it with the model's halo around it, and what
it computes is put back without the halo: so tiles of any size may follow one another inside a shot,
and a saved state does not tell whether there were any. Alignment is whole, too: flow is computed
on the frame, and a tile fetches its neighbours from anywhere in it.

Means over the frame are the one thing that a tile cannot know. Networks take them by `Tile.mean`:
a first round over all tiles, each with its own means, notes the frame's, and a second one uses
them. Networks without such means need one round. How large tiles are is derainer.py's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from derain.models.output import Output

Mean = Callable[[Tensor], Tensor]
Result = TypeVar("Result")


def spatial_mean(x: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C)."""
    return x.mean((2, 3))


@dataclass(slots=True)
class Means:
    """Means over the frame in the order in which a network asks for them.

    known: of the round before, or None in the first one.
    noted: sums of the tiles' shares in this round.
    asked: how many the tile at work has asked for.
    """

    known: list[Tensor] | None = None
    noted: list[Tensor] = field(default_factory=list)
    asked: int = 0

    def note(self, own: Tensor, share: float) -> Tensor:
        """Take a tile's own mean (B, C), `share` of the frame; give the frame's where known."""
        if self.asked == len(self.noted):
            self.noted.append(torch.zeros_like(own, dtype=torch.float32))
        self.noted[self.asked] += share * own.float()
        self.asked += 1
        return own if self.known is None else self.known[self.asked - 1].to(own.dtype)


@dataclass(frozen=True, slots=True)
class Tile:
    """A rectangle of the frame; bounds are (top, bottom, left, right) in the frame's pixels.

    frame: height and width of the frame.
    outer: with the halo, as far as the frame goes.
    inner: without, what this tile alone gives.
    """

    frame: tuple[int, int]
    outer: tuple[int, int, int, int]
    inner: tuple[int, int, int, int]
    means: Means | None = None

    @classmethod
    def whole(cls, frame: Tensor) -> Tile:
        """The one tile that a frame (…, H, W) is by itself."""
        height, width = frame.shape[-2:]
        bounds = (0, height, 0, width)
        return cls((height, width), bounds, bounds)

    def crop(self, x: Tensor) -> Tensor:
        """The part of the frame's (…, h, w), at any stride, that this tile works on."""
        top, bottom, left, right = _shrunk(self.outer, self.frame[0] // x.shape[-2])
        return x[..., top:bottom, left:right]

    def corner(self, x: Tensor) -> tuple[int, int]:
        """(y, x) of the tile in the frame's (…, h, w), at any stride."""
        stride = self.frame[0] // x.shape[-2]
        return self.outer[0] // stride, self.outer[2] // stride

    def core(self, x: Tensor) -> Tensor:
        """The part of this tile's (…, h, w), at any stride, that is inside of the halo."""
        y, x0 = self.outer[0], self.outer[2]
        top, bottom, left, right = self.inner
        stride = (self.outer[1] - y) // x.shape[-2]
        own = _shrunk((top - y, bottom - y, left - x0, right - x0), stride)
        return x[..., own[0] : own[1], own[2] : own[3]]

    def mean(self, x: Tensor) -> Tensor:
        """The mean of (B, C, h, w) over the whole frame, (B, C), where only the tile's is given."""
        if self.means is None:
            return spatial_mean(x)
        top, bottom, left, right = self.inner
        share = (bottom - top) * (right - left) / (self.frame[0] * self.frame[1])
        return self.means.note(spatial_mean(self.core(x)), share)


@dataclass(frozen=True, slots=True)
class Tiles:
    """How frames are cut: tiles of at most `size` pixels a side, and `halo` more on each side.

    All bounds are multiples of `multiple`, as the frame's size is.
    """

    size: int
    halo: int
    multiple: int = 1

    def cut(self, height: int, width: int, means: Means | None = None) -> list[Tile]:
        """Tiles of nearly equal size that cover the frame.

        Args:
            height: of the frame, pixels.
            width: of the frame, pixels.
            means: over the frame, where the network asks for some.
        """
        halo = round_up(self.halo, self.multiple)

        def spans(length: int) -> list[tuple[int, int]]:
            count = -(-length // self.size)
            step = round_up(-(-length // count), self.multiple)
            return [(a, min(a + step, length)) for a in range(0, length, step)]

        def widened(a: int, b: int, length: int) -> tuple[int, int]:
            return max(a - halo, 0), min(b + halo, length)

        return [
            Tile(
                (height, width),
                (*widened(*rows, height), *widened(*columns, width)),
                (*rows, *columns),
                means,
            )
            for rows in spans(height)
            for columns in spans(width)
        ]


def compute(
    work: Callable[[Tile], Result], frame: Tensor, tiles: Tiles | None, *, means: bool = False
) -> Result:
    """Do `work` on a frame (…, H, W): once, or for each of its tiles.

    Args:
        work: gives an `Output`, tensors, or tuples and dictionaries of them. Layers in it are the
            tile's, (…, h, w) at any stride; what has one pixel, such as the airlight, is the
            frame's.
        frame: (…, H, W), of which the size counts.
        tiles: how to cut it; None computes it whole.
        means: whether `work` asks for means over the frame.

    Returns:
        What `work` gives for the whole frame.
    """
    height, width = frame.shape[-2:]
    if tiles is None or tiles.size >= max(height, width):
        return work(Tile.whole(frame))
    known = None
    if means:
        noting = Means()
        for tile in replace(tiles, halo=0).cut(height, width, noting):
            noting.asked = 0
            work(tile)
        known = noting.noted
    whole: Any = None
    using = Means(known)
    for tile in tiles.cut(height, width, using):
        using.asked = 0
        whole = _put(whole, work(tile), tile)
    return whole


def _put(whole: Any, part: Any, tile: Tile) -> Any:
    """Put a tile's result into the frame's, which is made with the first one."""
    if part is None:
        return None
    if isinstance(part, Output):
        return _put_output(whole, part, tile)
    if isinstance(part, dict):
        return {name: _put(whole and whole[name], value, tile) for name, value in part.items()}
    if isinstance(part, tuple):
        before = whole or [None] * len(part)
        return tuple(_put(w, p, tile) for w, p in zip(before, part, strict=True))
    if part.ndim < 4 or part.shape[-2:] == (1, 1):
        return part
    if whole is None:
        stride = (tile.outer[1] - tile.outer[0]) // part.shape[-2]
        shape = (*part.shape[:-2], *(n // stride for n in tile.frame))
        # As the networks have it: nothing is rearranged when it is read.
        layout = torch.channels_last if part.ndim == 4 else torch.contiguous_format
        whole = torch.empty(shape, dtype=part.dtype, device=part.device, memory_format=layout)
    stride = tile.frame[0] // whole.shape[-2]
    top, bottom, left, right = _shrunk(tile.inner, stride)
    whole[..., top:bottom, left:right] = tile.core(part)
    return whole


def _put_output(whole: Output | None, part: Output, tile: Tile) -> Output:
    """`_put` for every layer; features are for training, which knows no tiles."""
    before = whole or Output(part.image[:0])  # a dummy: nothing of it is used
    return Output(
        image=_put(whole and whole.image, part.image, tile),
        recovered=_put(before.recovered, part.recovered, tile),
        streaks=_put(before.streaks, part.streaks, tile),
        occlusion=_put(before.occlusion, part.occlusion, tile),
        transmission=_put(before.transmission, part.transmission, tile),
        airlight=_put(before.airlight, part.airlight, tile),
        hazy=_put(before.hazy, part.hazy, tile),
        layers=_put(before.layers, part.layers, tile),
    )


def _shrunk(bounds: tuple[int, int, int, int], stride: int) -> tuple[int, int, int, int]:
    top, bottom, left, right = bounds
    return top // stride, bottom // stride, left // stride, right // stride


def round_up(value: int, multiple: int) -> int:
    """The next multiple that is not smaller."""
    return -(-value // multiple) * multiple
