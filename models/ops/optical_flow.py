"""Alignment: flow between frames, and warping along it. The one place where OpenCV is used here.

A flow `a -> b` is (B, 2, h, w) float32, in pixels of its own grid (x, then y): a(p) is seen again
at b(p + flow). It is computed at half size by OpenCV's DIS (Kroeger et al., ECCV 2016), which needs
no weights; `frame_window.push` takes any other function of two frames.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from derain.models.ops.image_arrays import as_float, single

FlowFunction = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

FLOW_SCALE = 2  # flow is computed and kept at 1/2 size; 1/4 costs about 1 dB on fine texture
SMALLEST = 24  # DIS wants at least this many pixels a side at its own size
BLUR = 1.0  # pixels at flow size: thins the streaks out before they can be matched
# Levels of the pyramid above flow size at which DIS stops. At 2, its default for large images,
# twigs in front of a street move with the street and are taken for rain: 2 dB less in light rain,
# 9 dB less where there is none. Small images hide it, for which DIS goes down to 0 by itself.
FINEST = 1
STEPS = 8  # of gradient descent for a patch; twice as many gain nothing
SMOOTHING = 2  # variational refinements at every level


def _grey(frame: Tensor) -> list[np.ndarray]:
    """(B, 3, H, W), uint8 or float in [0, 1] -> B uint8 images at flow size, lightly blurred."""
    images = []
    if frame.device.type != "cpu":  # a quarter of it to fetch
        frame = as_float(frame)
        frame = F.interpolate(frame, [n // FLOW_SCALE for n in frame.shape[-2:]], mode="area")
    for image in single(frame).detach().permute(0, 2, 3, 1).cpu().numpy():
        if frame.device.type == "cpu":
            size = image.shape[1] // FLOW_SCALE, image.shape[0] // FLOW_SCALE
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        grey = cv2.GaussianBlur(grey, (0, 0), BLUR)
        images.append(grey if grey.dtype == np.uint8 else cv2.convertScaleAbs(grey, alpha=255))
    return images


def dis_flow(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Flow both ways between two frames (B, 3, H, W), uint8 or in [0, 1]: (a -> b, b -> a).

    Returns:
        Two (B, 2, H // 2, W // 2) float32 tensors on the frames' device. Images too small to
        match get zero flow.
    """
    batch, _, height, width = a.shape
    size = (height // FLOW_SCALE, width // FLOW_SCALE)
    if min(size) < SMALLEST:
        zero = a.new_zeros((batch, 2, *size), dtype=torch.float32)
        return zero, zero
    first, second = _grey(a), _grey(b)
    # Both ways at once: OpenCV lets other threads run meanwhile.
    with ThreadPoolExecutor(1) as other:
        back = other.submit(_dis, second, first)
        there = _dis(first, second)

    def tensor(flows: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2).to(a.device)

    return tensor(there), tensor(back.result())


def _dis(a: list[np.ndarray], b: list[np.ndarray]) -> list[np.ndarray]:
    """Flow (h, w, 2) from each grey image of `a` to that of `b`."""
    # A new object for every call: DIS keeps buffers and is not safe to share between threads.
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    dis.setFinestScale(FINEST)
    dis.setGradientDescentIterations(STEPS)
    dis.setVariationalRefinementIterations(SMOOTHING)
    return [dis.calc(x, y, None) for x, y in zip(a, b, strict=True)]


def compose_flows(first: Tensor, second: Tensor, corner: tuple[int, int] = (0, 0)) -> Tensor:
    """Chain flows a -> b and b -> c to a -> c: f(p) + g(p + f(p)). Both (B, 2, h, w).

    Where `first` is of a tile, `corner` is the tile's (y, x) in `second`.

    Args:
        first: (B, 2, h, w), pixels, x before y.
        second: (B, 2, h, w), or of the whole frame.
        corner: (y, x) of the tile that `first` is of, in `second`.
    """
    y, x = corner
    nearest = second[..., y : y + first.shape[-2], x : x + first.shape[-1]]
    return first + warp(second, first, nearest, corner)


def warp(image: Tensor, flow: Tensor, fallback: Tensor, corner: tuple[int, int] = (0, 0)) -> Tensor:
    """Fetch `image` along `flow`: out(p) = image(p + flow(p)), bilinear.

    Args:
        image: (B, C, H, W), any resolution; the flow is scaled to it. On the CPU it may be uint8,
            which is as fast to fetch as a quarter of the bytes; then so is the fallback.
        flow: (B, 2, h, w) in pixels of its own grid.
        fallback: (B, C, H, W) used where the flow points outside the frame, so that a neighbour
            with nothing to offer offers nothing.
        corner: (y, x) in `image` of the tile that `flow` and `fallback` are of, where they are
            smaller; it may fetch from the whole image.
    """
    differentiable = torch.is_grad_enabled() and (image.requires_grad or fallback.requires_grad)
    if image.device.type == "cpu" and image.shape[1] <= 4 and not differentiable:
        return _warp_opencv(image, flow, fallback, corner)
    return _warp_torch(image, flow, fallback, corner)


def _warp_opencv(
    image: Tensor, flow: Tensor, fallback: Tensor, corner: tuple[int, int] = (0, 0)
) -> Tensor:
    """About three times as fast as grid_sample for images, and without a gradient."""
    height, width = fallback.shape[-2:]
    scale = flow.new_tensor([width / flow.shape[-1], height / flow.shape[-2]])
    flows = (flow.permute(0, 2, 3, 1) * scale).contiguous().numpy()
    image = single(image)
    sources = image.detach().permute(0, 2, 3, 1).contiguous().numpy()
    # BORDER_TRANSPARENT leaves what is there already where the source lies outside.
    out = torch.empty_like(fallback, dtype=image.dtype, memory_format=torch.channels_last)
    out.copy_(fallback)
    targets = out.permute(0, 2, 3, 1).numpy()
    for source, field, target in zip(sources, flows, targets, strict=True):
        if field.shape[:2] != (height, width):
            field = cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)
        if image.dtype == torch.uint8:
            # Maps of whole 1/32 pixels are faster, and as fine as bytes need.
            place = cv2.add(_grid(height, width, *corner), field)
            maps, how = cv2.convertMaps(place, None, cv2.CV_16SC2), cv2.INTER_LINEAR
        else:
            maps = field + np.array(corner[::-1], np.float32) if any(corner) else field, None
            how = cv2.INTER_LINEAR | cv2.WARP_RELATIVE_MAP
        cv2.remap(source, *maps, how, dst=target, borderMode=cv2.BORDER_TRANSPARENT)
    return out


@lru_cache(maxsize=4)
def _grid(height: int, width: int, top: int, left: int) -> NDArray[np.float32]:
    """(height, width, 2): where each pixel of a tile lies in its frame, x before y."""
    x = np.arange(left, left + width, dtype=np.float32)
    y = np.arange(top, top + height, dtype=np.float32)
    return np.stack(np.meshgrid(x, y), -1)


def _warp_torch(
    image: Tensor, flow: Tensor, fallback: Tensor, corner: tuple[int, int] = (0, 0)
) -> Tensor:
    height, width = fallback.shape[-2:]
    # Plain numbers: a tensor of them would be copied to the device, which waits for it each time.
    across, down = width / flow.shape[-1], height / flow.shape[-2]
    if flow.shape[-2:] != (height, width):
        flow = F.interpolate(flow, (height, width), mode="bilinear", align_corners=False)
    ys = torch.arange(height, device=flow.device, dtype=flow.dtype) + corner[0]
    xs = torch.arange(width, device=flow.device, dtype=flow.dtype) + corner[1]
    x = xs + across * flow[:, 0]
    y = ys[:, None] + down * flow[:, 1]
    height, width = image.shape[-2:]
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
    with torch.autocast(image.device.type, enabled=False):
        sampled = F.grid_sample(
            image.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False
        )
    # What of the four pixels around a place lies outside is the fallback's, as with OpenCV.
    covered = (x + 1).clamp(0, 1) * (width - x).clamp(0, 1)
    covered = (covered * (y + 1).clamp(0, 1) * (height - y).clamp(0, 1))[:, None]
    return torch.where(covered < 1, sampled + (1 - covered) * fallback.float(), sampled)
