"""Figures of quality, each with one definition that `derain eval` prints beside its numbers.

Functions of tensors only: what is compared with what, and averaging over clips, belongs to
`derain.pipeline.evaluation.clips`. Nothing is rounded to 8 bits and no border is cut.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from derain.models.errors import DerainError
from derain.models.ops.image_arrays import to_tensor
from derain.models.ops.optical_flow import warp
from derain.stages.losses.ssim import ssim_map

PSNR_CAP = 100.0  # dB; equal images would be infinite and swallow every average
# A pixel is rainy where the input leaves the clean frame by a level or more in a channel: half a
# level, since differences of float32 levels are often a little below one.
RAINY_FROM = 0.5 / 255
EXPLAINED = 10 / 255  # the flow counts where it explains the clean frames to this
_MISMATCH = "torchvision must be the one made for this torch."

DEFINITIONS = {
    "psnr": "10 log10(1 / MSE) in dB over RGB in [0, 1], mean over frames, at most 100",
    "psnr_worst": "PSNR of the worst frame",
    "psnr_focus": "RGB PSNR of the part of a scene that is easily taken for rain, pooled",
    "psnr_y": "the same on MATLAB's Y (BT.601, limited range: (65.481 R + 128.553 G + 24.966 B"
    " + 16) / 255)",
    "ssim": "Wang et al. 2004: 11x11 Gaussian, sigma 1.5, K1 0.01, K2 0.03, range 1, population"
    " covariance, valid region, mean over R, G, B and frames",
    "ssim_y": "the same on MATLAB's Y",
    "psnr_rainy": "RGB PSNR of the pixels where rain changed a channel by 1/255 or more, MSE over"
    " the whole clip",
    "psnr_clean": "RGB PSNR of all other pixels, MSE over the whole clip",
    "temporal": "mean |E[t] - warp(E[t-1])| in grey levels of 255, E = output - clean, warped by"
    " DIS flow of the clean frames, where that flow explains the clean frames to 10 levels",
    "lpips": "Zhang et al. 2018, AlexNet, version 0.1, mean over frames",
    "haarpsi": "Reisenhofer et al. 2018 (piq), mean over frames",
    "gmsd": "Xue et al. 2014 (piq), mean over frames, lower is better",
    "left_6": "share of the film's pixels more than 6 grey levels above the median of five aligned"
    " frames that is left, in percent",
    "left_12": "the same, 12 levels",
    "left_24": "the same, 24 levels",
    "rain_left_6": "pixels that pass more than 6 levels above that median less those as far below,"
    " of the result over the film, in percent; none where the film has hardly an excess",
    "rain_left_12": "the same, 12 levels",
    "rain_left_24": "the same, 24 levels",
    "psnr_steady": "RGB PSNR against the rainy film where it is within 2 levels of that median",
    "unsteady": "mean |O[t] - warp(O[t-1])| in grey levels, by DIS flow of the blurred rainy film",
}


def luma(rgb: Tensor) -> Tensor:
    """MATLAB's Y of (…, 3, H, W) RGB in [0, 1]: (…, 1, H, W) in [16/255, 235/255]."""
    weights = rgb.new_tensor([65.481, 128.553, 24.966]) / 255
    return (rgb * weights.view(3, 1, 1)).sum(-3, keepdim=True) + 16 / 255


def psnr(output: Tensor, clean: Tensor) -> Tensor:
    """PSNR of each frame in dB: (…, C, H, W) in [0, 1] twice -> (…)."""
    return to_decibel((output - clean).square().mean((-3, -2, -1)))


def masked_psnr(output: Tensor, clean: Tensor, mask: Tensor) -> float | None:
    """PSNR over the pixels of `mask`, bool (…, 1, H, W), pooled; None where there are none.

    Args:
        output: (…, 3, H, W) in [0, 1].
        clean: (…, 3, H, W) in [0, 1].
        mask: (…, 1, H, W), bool.
    """
    error = (output - clean).square().mean(-3, keepdim=True)[mask]
    return to_decibel(error.mean(dtype=torch.float64)).item() if error.numel() else None


def to_decibel(mse: Tensor) -> Tensor:
    """10 log10(1 / mse), at most PSNR_CAP."""
    return -10 * torch.log10(mse.clamp_min(10 ** (-PSNR_CAP / 10)))


def rainy_pixels(rainy: Tensor, clean: Tensor) -> Tensor:
    """Where rain changed the image: (…, 3, H, W) twice -> bool (…, 1, H, W)."""
    return (rainy - clean).abs().amax(-3, keepdim=True) >= RAINY_FROM


def ssim(output: Tensor, clean: Tensor) -> Tensor:
    """SSIM of each frame (Wang et al., IEEE TIP 13(4), 2004): (T, C, H, W) in [0, 1] twice -> (T,).

    Raises:
        DerainError: the images are smaller than the 11x11 window.
    """
    if min(clean.shape[-2:]) < 11:
        raise DerainError("SSIM needs images of at least 11x11 pixels; use larger ones.")
    # Frame by frame: five moments of a whole clip would not fit the memory of a small machine.
    pairs = zip(output[:, None], clean[:, None], strict=True)
    return torch.stack([ssim_map(a, b).mean() for a, b in pairs])


def clean_flows(clean: Tensor) -> Tensor:
    """Dense flow from each frame to the one before: (T, 3, H, W) -> (T - 1, 2, H, W), x then y.

    OpenCV's DIS, medium preset, on the full-size grey frame. `frame[t](p)` is near
    `frame[t-1](p + flow)`.
    """
    import cv2

    grey = (luma(clean)[:, 0] * 255).round().byte().cpu().numpy()
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flows = [estimator.calc(grey[t], grey[t - 1], None) for t in range(1, len(grey))]
    if not flows:
        return clean.new_zeros(0, 2, *clean.shape[-2:])
    return to_tensor(np.stack(flows)).to(clean.device)


def temporal_error(output: Tensor, clean: Tensor, flows: Tensor | None = None) -> float:
    """How much the error changes along the motion, in grey levels of 255; 0 for one frame.

    With E = output - clean it is the mean of |E[t] - warp(E[t-1])|, which equals the warped
    difference of the output minus that of the clean frames: flicker and left-over streaks count,
    a constant error and the scene's own changes do not, and blur gains nothing.

    Args:
        output, clean: (T, 3, H, W) in [0, 1].
        flows: `clean_flows(clean)`, where several outputs are compared with one clip.
    """
    flows = clean_flows(clean) if flows is None else flows
    total, count = 0.0, 0
    for t in range(1, len(clean)):
        before, now = (output[k : k + 1] - clean[k : k + 1] for k in (t - 1, t))
        earlier = torch.cat([before, clean[t - 1 : t]], 1)
        outside = torch.full_like(earlier, torch.nan)  # NaN is below no bound, so it never counts
        warped, earlier_clean = warp(earlier, flows[t - 1 : t], outside).split(3, 1)
        explained = (earlier_clean - clean[t]).abs().amax(1, keepdim=True) <= EXPLAINED
        difference = (now - warped).abs().mean(1, keepdim=True)[explained]
        total += difference.sum(dtype=torch.float64).item()
        count += difference.numel()
    return 255 * total / max(count, 1)


@cache
def load_lpips(weights: Path | None = None) -> nn.Module:
    """LPIPS with AlexNet's trained backbone; it never downloads and never uses random weights.

    Args:
        weights: torchvision's AlexNet file; without it the one in torch's own cache is taken.

    Raises:
        DerainError: no such file, or not AlexNet's weights; its text says what to do.
    """
    name = "alexnet-owt-7be5be79.pth"
    path = weights or Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.is_file():
        where = f"{path} is not there" if weights else "AlexNet's weights are not in torch's cache"
        raise DerainError(
            f"LPIPS is left out: {where}; name torchvision's {name} with --lpips-weights."
        )
    try:
        features = torch.load(path, map_location="cpu", weights_only=True)
        backbone = {
            k.partition(".")[2]: v for k, v in features.items() if k.startswith("features.")
        }
        torch.nn.Conv2d(3, 64, 11).load_state_dict(
            {"weight": backbone["0.weight"], "bias": backbone["0.bias"]}
        )
    except Exception as error:  # pickle, zip, key and shape errors: a foreign file fails anyhow
        raise DerainError(
            f"LPIPS is left out: {path} does not hold AlexNet's weights; name torchvision's {name}."
        ) from error
    try:
        import lpips
    except (ImportError, RuntimeError) as error:  # a torchvision of another torch: RuntimeError
        raise DerainError(f"LPIPS is left out: lpips does not import; {_MISMATCH}") from error
    # pnet_rand only keeps the constructor from downloading; the backbone is filled in below.
    metric = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    metric.net.load_state_dict(
        {key: backbone[key.partition(".")[2]] for key in metric.net.state_dict()}
    )
    return metric.eval()


@torch.inference_mode()
def lpips_distance(metric: nn.Module, output: Tensor, clean: Tensor) -> float:
    """Mean LPIPS of frames (T, 3, H, W) in [0, 1] by `load_lpips()`.

    Args:
        metric: as `load_lpips` gives it.
        output: (T, 3, H, W).
        clean: (T, 3, H, W).
    """
    pairs = zip(output.split(4), clean.split(4), strict=True)
    return torch.cat([metric(a, b, normalize=True).flatten() for a, b in pairs]).mean().item()


def structural(output: Tensor, clean: Tensor) -> dict[str, float]:
    """HaarPSI and GMSD by piq (the extra `metrics`), means over frames (T, 3, H, W) in [0, 1].

    Raises:
        DerainError: piq is missing or does not import.
    """
    try:
        from piq import gmsd, haarpsi
    except (ImportError, RuntimeError) as error:  # a torchvision of another torch: RuntimeError
        raise DerainError(
            "HaarPSI and GMSD are left out: piq does not import; "
            f"pip install 'derain[metrics]', and {_MISMATCH}"
        ) from error
    pairs = list(zip(output.clamp(0, 1).split(4), clean.split(4), strict=True))

    def mean(metric: Callable[..., Tensor]) -> float:
        return torch.cat([metric(a, b, reduction="none") for a, b in pairs]).mean().item()

    return {"haarpsi": mean(haarpsi), "gmsd": mean(gmsd)}
