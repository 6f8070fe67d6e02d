"""Rain on clean video: `derain synth`, and the rain that demo and bench put on their scene.

The rain itself is `derain.stages.data.rain`; here it is rendered frame by frame along a video.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from derain.configs.validation import PairEntry
from derain.models.errors import DerainError
from derain.models.ops.image_arrays import to_tensor, to_uint8
from derain.pipeline.storage.stores import require_local
from derain.pipeline.video import Encoding, Frame, VideoReader, VideoWriter, upright_rgb
from derain.pipeline.video.frames import as_stored, is_turned
from derain.stages.data.rain import Rain, RainSettings, render_rain, sample_settings
from derain.stages.data.validation_pairs import DEFAULT_PAIRS, load_pairs, rain_settings

RANDOM = "random"
LINES = 400  # the height of image that rains are described for


@dataclass(frozen=True, slots=True)
class SynthOptions:
    """What rain falls.

    Args:
        rain: a name of configs/validation.yaml's rains, or "random" to draw one from the seed.
        density, strength: scale the number of streaks and their brightness.
        haze: optical thickness at the far end; 0 is none.
        layers: a folder for the layers of every frame, as PNG.
    """

    rain: str = "downpour"
    seed: int = 0
    density: float = 1.0
    strength: float = 1.5
    haze: float = 0.0
    layers: Path | None = None
    encoding: Encoding = Encoding()  # noqa: RUF009 (frozen)
    overwrite: bool = False


def named_rain(options: SynthOptions, height: int) -> RainSettings:
    """The settings of the rain for images of `height` lines.

    Raises:
        DerainError: unknown name, or a negative amount.
    """
    for name in ("density", "strength", "haze"):
        if getattr(options, name) < 0:
            raise DerainError(f"--{name} is 0 or more, not {getattr(options, name):g}.")
    if options.rain == RANDOM:
        settings = sample_settings(torch.Generator().manual_seed(options.seed), haze_prob=0)
    else:
        pairs = load_pairs(DEFAULT_PAIRS)
        if options.rain not in pairs.rains:
            raise DerainError(
                f"There is no rain '{options.rain}'; choose one of "
                f"{', '.join([*pairs.rains, RANDOM])}."
            )
        settings = rain_settings(pairs, PairEntry(rain=options.rain, seed=options.seed))
    return replace(
        settings, density=options.density, strength=options.strength, haze=options.haze
    ).scaled(height / LINES)


def rain_on(
    frames: Iterable[NDArray[np.float32]], settings: RainSettings, seed: int
) -> Iterator[Rain]:
    """Rain on frames (H, W, 3) in [0, 1], one at a time: it falls on from frame to frame.

    Args:
        frames: (H, W, 3) float32, RGB in [0, 1], all of one size.
        settings: layers, angle and haze of the rain.
        seed: another seed, other drops.
    """
    for index, frame in enumerate(frames):
        clean = to_tensor(frame)[None]
        yield render_rain(clean, settings, seed, start=index)


def synthesize(
    source: str | Path,
    target: str | Path,
    options: SynthOptions = SynthOptions(),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Put rain on a clean video; sound and everything else of the file goes along.

    Args:
        source: the clean video.
        target: the file to make.
        options: which rain, and how to encode.
        progress: called with the frames done and the frames the file declares (0: unknown).

    Returns:
        The number of frames.

    Raises:
        DerainError: source or target cannot be used, or the options make no rain.
    """
    require_local(target)
    count = 0
    try:
        with VideoReader(source) as reader:
            matrix = reader.video.display_matrix
            # Rain falls down the image that players show, not the one that the file holds.
            lines = reader.video.width if is_turned(matrix) else reader.video.height
            settings = named_rain(options, lines)
            if options.layers is not None:
                options.layers.mkdir(parents=True, exist_ok=True)
            writer = VideoWriter(
                target, reader.video, options.encoding, source=reader, overwrite=options.overwrite
            )
            with writer:
                for item in reader:
                    if not isinstance(item, Frame):
                        writer.copy(item)
                        continue
                    clean = to_tensor(upright_rgb(reader, item))[None]
                    rain = render_rain(clean, settings, options.seed, start=count)
                    added = (rain.rainy - clean)[0].permute(1, 2, 0).numpy()
                    writer.write(item, np.ascontiguousarray(as_stored(added, matrix)))
                    if options.layers is not None:
                        save_layers(rain, options.layers, count)
                    count += 1
                    progress(count, reader.video.frames)
    except OSError as error:
        raise DerainError(str(error)) from error
    return count


def save_layers(rain: Rain, folder: Path, index: int) -> None:
    """Write streaks, occlusion and transmission of one frame as 8-bit PNG.

    Args:
        rain: of one frame.
        folder: for the images; made where it is missing.
        index: of the frame, which names the files.
    """
    for name in ("streaks", "occlusion", "transmission"):
        image = to_uint8(getattr(rain, name)[0])
        path = folder / f"{name}_{index:06d}.png"
        if not cv2.imwrite(str(path), image[..., ::-1]):
            raise DerainError(f"{path} cannot be written; choose another folder for --layers.")
