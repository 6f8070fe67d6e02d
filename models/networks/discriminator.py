"""Discriminators of the adversarial stage: which images look real?

`PatchDiscriminator` is the one to train with: it judges overlapping patches of short aligned clips
(Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, with
the spectral normalisation of Miyato et al., ICLR 2018). `ReferenceDiscriminator` is that of Yang et
al., "Recurrent Multi-Frame Deraining" (TPAMI 2022), one frame and one score. Losses belong to
derain.stages.losses.refinement.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from derain.models.errors import DerainError
from derain.models.ops.layers import leaky_relu


class PatchDiscriminator(nn.Module):
    """Scores for patches of a clip; no batch statistics, so real and fake need not share a batch.

    Args:
        frames: T, of a clip; the others are aligned to one of them before they come here.
        width: channels of the first layer, doubled up to eight times that.
        layers: halvings of the size. With 3, a score sees 70 x 70 pixels.
    """

    def __init__(self, frames: int = 3, width: int = 32, layers: int = 3) -> None:
        super().__init__()
        self.frames = frames
        widths = [3 * frames] + [width * min(2**k, 8) for k in range(layers + 1)]
        strides = [2] * layers + [1]
        self.convs = nn.ModuleList(
            spectral_norm(nn.Conv2d(inputs, outputs, 4, stride, padding=1))
            for (inputs, outputs), stride in zip(pairwise(widths), strides, strict=True)
        )
        self.score = spectral_norm(nn.Conv2d(widths[-1], 1, 4, padding=1))

    def forward(self, clip: Tensor) -> Tensor:
        """clip (B, T, 3, H, W) in [0, 1] -> unbounded scores (B, 1, h, w), higher for real.

        Raises:
            DerainError: the clip has another number of frames.
        """
        if clip.shape[1] != self.frames:
            raise DerainError(
                f"The discriminator judges clips of {self.frames} frames, not {clip.shape[1]}; "
                "set its `frames` to what the training gives."
            )
        x = 2 * clip.flatten(1, 2) - 1
        for conv in self.convs:
            x = leaky_relu(conv(x), 0.2)
        return self.score(x)


class ReferenceDiscriminator(nn.Module):
    """The authors' discriminator: one score in [0, 1] for a frame.

    Args:
        width: channels of the first layer, doubled up to eight times that. The authors have 64.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        widths = [3, *(width * 2**k for k in range(4) for _ in range(2))]
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, stride=1 + index % 2, padding=1)
            for index, (inputs, outputs) in enumerate(pairwise(widths))
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs) for outputs in widths[2:])
        self.score = nn.Conv2d(widths[-1], 1, 1, padding=1)  # the padding is the authors' as well

    def logits(self, frames: Tensor) -> Tensor:
        """frames (B, 3, H, W) in [0, 1] -> (B, 1, H/16 + 2, W/16 + 2)."""
        x = F.relu(self.convs[0](frames))
        for conv, norm in zip(self.convs[1:], self.norms, strict=True):
            x = F.relu(norm(conv(x)))
        return self.score(x)

    def forward(self, frames: Tensor) -> Tensor:
        """frames (B, 3, H, W), or a clip (B, T, 3, H, W) frame by frame -> (B or B T, 1)."""
        frames = frames.flatten(0, 1) if frames.ndim == 5 else frames
        return torch.sigmoid(self.logits(frames).mean((2, 3)))


def recognises(keys: Collection[str]) -> bool:
    """Whether these are the keys of the authors' discriminator."""
    return set(keys) >= {"conv1.weight", "bn2.running_mean", "bn8.weight", "conv9.weight"}


def convert_reference(
    state_dict: dict[str, Tensor], channel_order: str = "rgb", **settings: object
) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Settings and state dict for `ReferenceDiscriminator` from the authors' weights.

    Args:
        state_dict: tensors under the authors' names.
        channel_order: of the images the weights were trained on; "bgr" weights are turned round.
        settings: override what is read from the shapes.

    Raises:
        DerainError: these are not the weights of the authors' discriminator.
    """
    if not recognises(state_dict):
        raise DerainError(
            "These are not the weights of the two-stage network's discriminator: "
            f"they begin with {sorted(state_dict)[:3]}."
        )
    result = {_renamed(key): value.clone() for key, value in state_dict.items()}
    if channel_order == "bgr":
        result["convs.0.weight"] = result["convs.0.weight"].flip(1)
    width = state_dict["conv1.weight"].shape[0]
    return {"width": width, **settings}, result


def _renamed(key: str) -> str:
    layer, _, rest = key.partition(".")
    if layer == "conv9":
        return f"score.{rest}"
    if layer.startswith("conv"):
        return f"convs.{int(layer[4:]) - 1}.{rest}"
    return f"norms.{int(layer[2:]) - 2}.{rest}"
