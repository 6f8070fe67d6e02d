"""The camera and the codec in the loop: files are compressed after the rain fell.

A short clip is encoded and decoded again in memory, at settings that stand for phones, dashcams,
surveillance and streaming. The same settings go to the rainy clip and to its truth, so that a
network learns to see rain through compression and not to undo compression.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from derain.models.ops.image_arrays import to_tensor, to_uint8

Rng = np.random.Generator
Clip = NDArray[np.uint8]  # (T, H, W, 3) RGB

DECODERS = {"libx264": "h264", "libx265": "hevc", "mpeg2video": "mpeg2video", "mjpeg": "mjpeg"}


@dataclass(frozen=True, slots=True)
class CodecSettings:
    """An encoder as PyAV names it, with its options; `bit_rate` in bits a second, or 0."""

    encoder: str = "libx264"
    options: dict[str, str] = field(default_factory=dict)
    bit_rate: int = 0
    frame_rate: int = 25
    pixel_format: str = "yuv420p"


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """What a camera does to an image before it is encoded."""

    blur: float = 0.0  # sigma in pixels
    sharpen: float = 0.0  # share of the unsharp mask that is added; leaves halos
    shrink: float = 1.0  # the image was this much smaller once

    def apply(self, clip: Clip) -> Clip:
        """The clip as this camera gives it."""
        return np.stack([self._frame(frame) for frame in clip])

    def _frame(self, frame: Clip) -> Clip:
        height, width = frame.shape[:2]
        if self.blur > 0:
            frame = cv2.GaussianBlur(frame, (0, 0), self.blur)
        if self.shrink < 1:
            size = max(8, round(width * self.shrink)), max(8, round(height * self.shrink))
            small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
            frame = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        if self.sharpen > 0:
            soft = cv2.GaussianBlur(frame, (0, 0), 1.0)
            frame = cv2.addWeighted(frame, 1 + self.sharpen, soft, -self.sharpen, 0)
        return frame


def sample_camera(rng: Rng) -> CameraSettings:
    """Draw a camera; half of them do nothing."""
    if rng.random() < 0.5:
        return CameraSettings()
    return CameraSettings(
        blur=float(rng.uniform(0.3, 0.9)) if rng.random() < 0.4 else 0.0,
        sharpen=float(rng.uniform(0.2, 1.2)) if rng.random() < 0.4 else 0.0,
        shrink=float(rng.uniform(0.5, 0.95)) if rng.random() < 0.4 else 1.0,
    )


def sample_codec(rng: Rng, pixels: int) -> CodecSettings:
    """Draw a codec: mostly H.264 at CRF 15 to 34 or at a low constant rate.

    Args:
        pixels: of a frame, to which constant rates are scaled.
    """
    rate = int(rng.choice([8, 15, 25, 25, 30, 30, 60]))
    # Bits a pixel of a frame, from starving (web streams, cheap dashcams) to plenty (phones).
    bit_rate = int(10 ** rng.uniform(-1.5, -0.3) * pixels * rate)
    kind = rng.random()
    if kind < 0.78:
        preset = str(rng.choice(["ultrafast", "veryfast", "veryfast", "faster", "medium"]))
        options = {"preset": preset, "g": str(rng.choice([12, 30, 250]))}
        if rng.random() < 0.4:
            options["tune"] = str(rng.choice(["film", "zerolatency", "fastdecode"]))
        if kind < 0.6:
            options["crf"] = f"{rng.uniform(15, 34):.1f}"
            return CodecSettings("libx264", options, frame_rate=rate)
        return CodecSettings("libx264", options, bit_rate, rate)
    if kind < 0.88:
        options = {"qmin": "2", "qmax": "31", "g": "12", "bf": str(rng.integers(0, 3))}
        return CodecSettings("mpeg2video", options, bit_rate * 2, 25)
    if kind < 0.95:
        quality = str(rng.integers(2, 16))
        return CodecSettings("mjpeg", {"qmin": quality, "qmax": quality}, 0, rate, "yuvj420p")
    options = {
        "preset": "ultrafast",
        "crf": f"{rng.uniform(20, 34):.1f}",
        "x265-params": "log-level=none:pools=none:frame-threads=1:wpp=0",
    }
    return CodecSettings("libx265", options, frame_rate=rate)


def transcode(clip: Clip, settings: CodecSettings) -> Clip:
    """Encode and decode a clip in memory.

    Args:
        clip: (T, H, W, 3) with even sides.
    """
    height, width = clip.shape[1:3]
    encoder = av.CodecContext.create(settings.encoder, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height = width, height
    encoder.pix_fmt = settings.pixel_format
    encoder.time_base = Fraction(1, settings.frame_rate)
    encoder.framerate = Fraction(settings.frame_rate)
    encoder.thread_count = 1
    if settings.bit_rate:
        encoder.bit_rate = settings.bit_rate
    encoder.options = settings.options
    packets = []
    for number, image in enumerate(clip):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame = frame.reformat(format=settings.pixel_format)
        frame.pts, frame.time_base = number, encoder.time_base
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoder = av.CodecContext.create(DECODERS[settings.encoder], "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count = 1
    frames = [frame for packet in packets for frame in decoder.decode(packet)]
    frames += decoder.decode(None)
    return np.stack([frame.to_ndarray(format="rgb24") for frame in frames])


def film_clip(clip: Tensor, camera: CameraSettings, codec: CodecSettings) -> Tensor:
    """A clip (T, 3, H, W) in [0, 1] as a camera and a codec leave it.

    Args:
        clip: (T, 3, H, W), RGB in [0, 1].
        camera: blur, sharpening and resizing.
        codec: which one, and how hard.
    """
    return to_tensor(transcode(camera.apply(to_uint8(clip)), codec))
