"""The window: the last five frames of a shot and the flows between them, aligned to one of them.

Shared by every model that looks at neighbours. The window is all a model needs of the input; what
it remembers of its own outputs is another part of its state.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from derain.models.ops.image_arrays import single
from derain.models.ops.optical_flow import FLOW_SCALE, FlowFunction, compose_flows, warp
from derain.models.runtime.tiles import Tile

REACH = 2  # frames looked at on each side; also the latency
LENGTH = 2 * REACH + 1


class Window(NamedTuple):
    """The last five frames of a shot in fixed slots, oldest first; the last `filled` of them count.

    frames: LENGTH of them, each (B, 3, H, W), all float32 in [0, 1] or all uint8.
    forward: flow from each frame to the next, LENGTH - 1 of (B, 2, H / 2, W / 2).
    backward: flow from each frame to the one before it.
    coming: flow from the newest frame to the one that comes, and back, where `ahead` is 1.
    filled, ahead: () int64 on the CPU, so that nobody waits for another device to read them.
    """

    frames: tuple[Tensor, ...]
    forward: tuple[Tensor, ...]
    backward: tuple[Tensor, ...]
    coming: tuple[Tensor, Tensor]
    filled: Tensor
    ahead: Tensor


Neighbours = tuple[Tensor, Tensor, Tensor, Tensor]


class Fetched(NamedTuple):
    """One frame and its neighbours, fetched to it along the flow.

    frame: (B, 3, H, W).
    neighbours: two before, one before, one after, two after; (B, 3, H, W) each.
    unmoved: the same frames as they are, (B, 3, H, W) each.
    to_previous: (B, 2, H / 2, W / 2) flow from this frame to the one before it in the shot.
    """

    frame: Tensor
    neighbours: Neighbours
    unmoved: Neighbours
    to_previous: Tensor


def empty_window(
    batch: int,
    height: int,
    width: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> Window:
    """The window at the start of a shot. Slots without a frame share one of zeros.

    Args:
        batch: streams side by side.
        height: of the frames, pixels.
        width: of the frames, pixels.
        device: where the window lies.
        dtype: of the frames; all floats become float32.
    """
    dtype = torch.uint8 if dtype == torch.uint8 else torch.float32
    frame = torch.zeros((batch, 3, height, width), device=device, dtype=dtype)
    flow = torch.zeros((batch, 2, height // FLOW_SCALE, width // FLOW_SCALE), device=device)
    flows, no = (flow,) * (LENGTH - 1), torch.tensor(0, device="cpu")
    return Window((frame,) * LENGTH, flows, flows, (flow, flow), no, no)


def look_ahead(window: Window, flows: tuple[Tensor, Tensor]) -> Window:
    """The window that knows the flow between its newest frame and the next one, and back."""
    return window._replace(coming=flows, ahead=torch.ones_like(window.ahead))


def push(window: Window, frame: Tensor, flow: FlowFunction) -> Window:
    """The window with `frame` (B, 3, H, W) at its end; flow is computed where it is not known.

    Args:
        window: of the frames before.
        frame: (B, 3, H, W), RGB, in [0, 1] or uint8, as the window's other frames.
        flow: gives the flows between two frames, both ways.
    """
    frame = single(frame)
    flows = window.coming
    if int(window.filled) and not int(window.ahead):
        flows = flow(window.frames[-1], frame)
    return Window(
        frames=(*window.frames[1:], frame),
        forward=(*window.forward[1:], flows[0]),
        backward=(*window.backward[1:], flows[1]),
        coming=window.coming,
        filled=(window.filled + 1).clamp_max(LENGTH),
        ahead=torch.zeros_like(window.ahead),
    )


def ready(window: Window) -> int | None:
    """Slot of the frame that the newest one completes, or None while there is none."""
    return LENGTH - 1 - REACH if int(window.filled) > REACH else None


def unfinished(window: Window) -> range:
    """Slots of the frames that still wait for their output when the shot ends."""
    return range(LENGTH - min(REACH, int(window.filled)), LENGTH)


def fetch(window: Window, centre: int, tile: Tile | None = None) -> Fetched:
    """Fetch the neighbours of frame `centre` to it.

    Where the shot has no neighbour on one side, the one as far away on the other side stands in,
    else the nearest there is; a shot of one frame is its own neighbour. With `tile` everything is
    that part of what the whole frame has.

    Args:
        window: with the frame and what it has of neighbours.
        centre: the slot of the frame.
        tile: the part of the frame to fetch to; None is all of it.
    """
    tile = tile or Tile.whole(window.frames[centre])
    frame = tile.crop(window.frames[centre])
    first = LENGTH - int(window.filled)
    offsets = [_stand_in(offset, centre, first) for offset in (-2, -1, 1, 2)]
    corner = tile.corner(window.frames[centre])
    fetched = {0: frame}
    for offset in set(offsets) - {0}:
        flow = _flow_to(window, centre, offset, tile)
        fetched[offset] = warp(window.frames[centre + offset], flow, frame, corner)
    a, b, c, d = (fetched[offset] for offset in offsets)
    e, f, g, h = (tile.crop(window.frames[centre + offset]) for offset in offsets)
    previous = _flow_to(window, centre, -1, tile) if centre > first else _no_flow(frame)
    return Fetched(frame, (a, b, c, d), (e, f, g, h), previous)


def rank(frame: Tensor, neighbours: Sequence[Tensor]) -> tuple[Neighbours, Tensor]:
    """The neighbours sorted for each value, darkest first, and the median of all five.

    Args:
        frame: (B, 3, H, W), in [0, 1] or uint8.
        neighbours: four, fetched to it, (B, 3, H, W) each.
    """
    a, b, c, d = neighbours
    low1, high1 = _darker(a, b), _brighter(a, b)
    low2, high2 = _darker(c, d), _brighter(c, d)
    middle1, middle2 = _brighter(low1, low2), _darker(high1, high2)
    second, third = _darker(middle1, middle2), _brighter(middle1, middle2)
    ranked = (_darker(low1, low2), second, third, _brighter(high1, high2))
    # The median of five is the frame itself, held between the middle two of the other four.
    return ranked, _brighter(_darker(frame, third), second)


def stillness(frame: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Largest change to the nearest neighbours *without* alignment, (B, 1, H, W).

    It is near zero for captions, logos and borders that do not move with the scene.

    Args:
        frame: (B, 3, H, W), in [0, 1] or uint8.
        before: the frame before it, as it is.
        after: the frame after it, as it is.
    """
    return _brighter(_difference(before, frame), _difference(after, frame))


def change_that_stays(frame: Tensor, unmoved: Sequence[Tensor], still: Tensor) -> Tensor:
    """How much of a change there is however one looks at it, (B, 1, H, W).

    It is small for what stands on the frame before, in and after it. Frames that are nearly the
    same, as where a recording repeats them, say little of rain; so one of the next ones must agree.

    Args:
        frame: (B, 3, H, W), in [0, 1] or uint8.
        unmoved: two before, before, after and two after it, as they are.
        still: of the nearest two, from `stillness`.
    """
    further = _darker(_difference(unmoved[0], frame), _difference(unmoved[3], frame))
    return _brighter(still, further)


# Bytes on the CPU by NumPy or OpenCV, in this thread: waking torch's for so little takes longer.


def _darker(a: Tensor, b: Tensor) -> Tensor:
    if a.dtype == torch.uint8:
        return torch.from_numpy(np.minimum(a.numpy(), b.numpy()))
    return torch.minimum(a, b)


def _brighter(a: Tensor, b: Tensor) -> Tensor:
    if a.dtype == torch.uint8:
        return torch.from_numpy(np.maximum(a.numpy(), b.numpy()))
    return torch.maximum(a, b)


def _difference(a: Tensor, b: Tensor) -> Tensor:
    """The largest of the three colours', (B, 1, H, W)."""
    if a.dtype == torch.uint8:
        change = torch.from_numpy(cv2.absdiff(a.numpy(), b.numpy()))
    else:
        change = (a - b).abs()
    return reduce(_brighter, change.split(1, 1))


def _stand_in(offset: int, centre: int, first: int) -> int:
    sign = 1 if offset > 0 else -1
    for candidate in (offset, -offset, sign, -sign):
        if first <= centre + candidate < LENGTH:
            return candidate
    return 0


def _flow_to(window: Window, centre: int, offset: int, tile: Tile) -> Tensor:
    if offset > 0:
        flows = window.forward[centre : centre + offset]
    else:
        flows = window.backward[centre + offset : centre][::-1]
    flow = tile.crop(flows[0])
    for following in flows[1:]:
        flow = compose_flows(flow, following, tile.corner(following))
    return flow


def _no_flow(frame: Tensor) -> Tensor:
    height, width = frame.shape[-2:]
    shape = frame.shape[0], 2, height // FLOW_SCALE, width // FLOW_SCALE
    return torch.zeros(shape, device=frame.device)
