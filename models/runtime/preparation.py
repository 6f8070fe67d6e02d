"""What can be done with a frame before its turn: padding, and the flow to the frame before it.

Neither needs what the network makes of earlier frames, so another thread may do it meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from derain.models.ops.image_arrays import as_kind
from derain.models.runtime.frame_input import FrameLike, as_frame
from derain.models.video_model import VideoModel


@dataclass(frozen=True, slots=True)
class Prepared:
    """A frame that is ready for its step.

    frame: (B, 3, H, W) on the network's device, float32 in [0, 1] or uint8.
    padded: the same, padded to the network's multiple.
    flows: from the frame before it in the shot to this one, and back; None where that is not known.
    """

    frame: Tensor
    padded: Tensor
    flows: tuple[Tensor, Tensor] | None = None


class Preparer:
    """Prepares the frames of one stream, in order.

    Args:
        model: the network that they are for.
        device: where it runs.
    """

    def __init__(self, model: VideoModel, device: torch.device) -> None:
        self.model, self.device = model, device
        self._previous: Tensor | None = None

    def cut(self) -> None:
        """The next frame begins a shot."""
        self._previous = None

    @torch.inference_mode()
    def take(self, image: FrameLike) -> Prepared:
        """The next frame of the shot, prepared; images as `Derainer.push` takes them.

        Raises:
            DerainError: it is no such frame.
        """
        previous = self._previous
        frame = as_frame(image, check_range=previous is None)
        frame = frame.to(self.device, non_blocking=True)
        kept = frame.dtype if self.model.takes_uint8 and self.device.type == "cpu" else None
        # A shot's frames are of one type.
        kept = kept if previous is None else previous.dtype
        frame = as_kind(frame, kept or torch.float32)
        padded = pad_to_multiple(frame, self.model.multiple)
        padded = padded.contiguous(memory_format=torch.channels_last)
        self._previous = padded
        if previous is None or (previous.shape, previous.dtype) != (padded.shape, padded.dtype):
            return Prepared(frame, padded)
        return Prepared(frame, padded, self.model.flow_between(previous, padded))


def pad_to_multiple(frame: Tensor, multiple: int) -> Tensor:
    """Pad (B, C, H, W) at the right and bottom; mirrored, or replicated where it is too small."""
    height, width = frame.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    if not bottom and not right:
        return frame
    mode = "reflect" if bottom < height and right < width else "replicate"
    # Not every way of padding knows bytes.
    return F.pad(frame.float(), (0, right, 0, bottom), mode=mode).to(frame.dtype)
