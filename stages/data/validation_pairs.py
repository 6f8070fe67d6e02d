"""Validation pairs: clean clips with rain whose amount is fixed, rendered when they are needed.

The settings are data (configs/validation.yaml, schema in `derain.configs.validation`). A pair is
made of 8-bit frames, as a video file would hold them. Figures belong to metrics.py.

Under a condition another scene stands before the rain, or a codec after it; the rain stays as it is
recorded, and its PSNR is another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from derain.configs.validation import ClipEntry, Level, PairEntry, ValidationSet, read_validation
from derain.models.errors import DerainError
from derain.models.log import Log, say_nothing
from derain.models.ops.image_arrays import quantised
from derain.stages.data.codec import CameraSettings, CodecSettings, film_clip
from derain.stages.data.rain import RainSettings, StreakLayer, render_rain
from derain.stages.losses.metrics import psnr

DEFAULT_PAIRS = Path(__file__).parents[2] / "configs" / "validation.yaml"
DRIFT = 0.05  # dB by which a rendered pair may leave the recorded PSNR before eval complains
STRONGEST, THICKEST = 4.0, 4.0  # ends of the searches
SEARCHED = 3  # frames that settle a search; the PSNR recorded is that of the whole clip

ReadClip = Callable[[Path], Tensor]  # a file -> (T, 3, H, W) uint8 RGB
Condition = Literal["crf23", "crf30", "pan", "night"]

PAN = 16  # pixels a frame


@dataclass(frozen=True, slots=True)
class Conditions:
    """What is done to a pair.

    scene: to the clean clip (T, 3, H, W) in [0, 1], before rain falls.
    codec: through which the rainy clip and its truth go alike, after the rain.
    """

    scene: Callable[[Tensor], Tensor] | None = None
    codec: CodecSettings | None = None

    def filmed(self, clip: Tensor) -> Tensor:
        """A clip (T, 3, H, W) as the codec leaves it."""
        return clip if self.codec is None else film_clip(clip, CameraSettings(), self.codec)


def panned(clip: Tensor) -> Tensor:
    """A pan over the middle frame, PAN pixels a frame, there and back: (T, 3, H, W / 2)."""
    frames, _, _, width = clip.shape
    still, part = clip[frames // 2], width // 4 * 2
    room = max(1, width - part)
    way = np.abs((np.arange(frames) * PAN + room) % (2 * room) - room)
    return torch.stack([still[:, :, left : left + part] for left in map(int, way)])


def darkened(clip: Tensor) -> Tensor:
    """A clip as if taken at night; lamps stay half as bright."""
    lamps = ((clip - 0.85) / 0.15).clamp(0, 1)
    return torch.lerp(0.35 * clip**1.7, clip, 0.5 * lamps)


CONDITIONS: dict[Condition, Conditions] = {
    "crf23": Conditions(codec=CodecSettings(options={"crf": "23", "preset": "medium"})),
    "crf30": Conditions(codec=CodecSettings(options={"crf": "30", "preset": "medium"})),
    "pan": Conditions(scene=panned),
    "night": Conditions(scene=darkened),
}


@dataclass(frozen=True, slots=True)
class Pair:
    """A rainy clip and its truth, (T, 3, H, W) float32 in [0, 1]."""

    clip: str
    camera: str
    level: str
    rainy: Tensor
    clean: Tensor


def load_pairs(path: Path) -> ValidationSet:
    """Read a pairs file, as `derain.configs.validation.read_validation`, with errors for users."""
    try:
        return read_validation(path)
    except OSError as error:
        raise DerainError(f"The pairs file {path} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise DerainError(f"The pairs file {path} is not valid: {error}") from error


def rain_settings(pairs: ValidationSet, entry: PairEntry) -> RainSettings:
    """The rain of one pair at its recorded strength and haze."""
    fields: dict[str, Any] = dict(pairs.rains[entry.rain])
    try:
        fields["layers"] = tuple(StreakLayer(**layer) for layer in fields["layers"])
        if entry.airlight or "airlight" in fields:
            fields["airlight"] = tuple(entry.airlight or fields["airlight"])
        return replace(RainSettings(**fields), strength=entry.strength, haze=entry.haze)
    except (KeyError, TypeError) as error:
        raise DerainError(
            f"The rain '{entry.rain}' of the pairs file does not fit RainSettings ({error})."
        ) from error


def to_float(frames: Tensor) -> Tensor:
    """uint8 -> float32 in [0, 1]."""
    return frames.float() / 255


def digest(frames: Tensor) -> str:
    """SHA-256 of decoded frames (T, 3, H, W) uint8, in the order height, width, channel."""
    sha = hashlib.sha256()
    for frame in frames:
        sha.update(frame.permute(1, 2, 0).contiguous().numpy().tobytes())
    return sha.hexdigest()


def render_pair(clean: Tensor, settings: RainSettings, seed: int) -> Tensor:
    """The rainy clip of a pair: (T, 3, H, W) in [0, 1], rounded to 8 bits.

    Args:
        clean: (T, 3, H, W) in [0, 1].
        settings: angle, layers and haze of the rain.
        seed: recorded with the pair.
    """
    return quantised(render_rain(clean, settings, seed).rainy)


def under_condition(
    clean: Tensor, settings: RainSettings, seed: int, condition: Condition
) -> tuple[Tensor, Tensor]:
    """A rainy clip and its truth, (T, 3, H, W) in [0, 1], rounded to 8 bits.

    Args:
        clean: (T, 3, H, W) in [0, 1].
        settings, seed: of the rain.
        condition: what is done to the scene, and which codec comes after the rain.
    """
    how = CONDITIONS[condition]
    scene = clean if how.scene is None else quantised(how.scene(clean))
    return how.filmed(render_pair(scene, settings, seed)), how.filmed(scene)


def iterate_pairs(
    pairs: ValidationSet,
    folder: Path,
    read_clip: ReadClip,
    *,
    levels: tuple[Level, ...] | None = None,
    frames: int | None = None,
    condition: Condition | None = None,
    notice: Log = say_nothing,
) -> Iterator[Pair]:
    """Render pair after pair, checking clips and rain against what the file recorded.

    Args:
        pairs: as `load_pairs` reads them.
        folder: where the clean clips lie.
        read_clip: decodes a file to frames.
        levels: only these.
        frames: only the first so many of each clip; the rain is that of the whole clip.
        condition: of all pairs; their level says so.
        notice: told where decoding or rendering differs from the recorded hash or PSNR.

    Raises:
        DerainError: a clip is missing or has another number of frames.
    """
    if pairs.sha256 != pairs.digest():
        notice("The pairs file was edited after it was calibrated: its hash does not fit.")
    for clip in pairs.clips:
        decoded = read_checked(clip, folder, read_clip)
        if digest(decoded) != clip.sha256:
            notice(f"{clip.file} decodes to other bytes than those the pairs were made from.")
        clean = to_float(decoded)
        for level, entry in clip.pairs.items():
            if levels and level not in levels:
                continue
            settings, place = rain_settings(pairs, entry), (Path(clip.file).stem, clip.camera)
            if condition is not None:
                rainy, scene = under_condition(clean, settings, entry.seed, condition)
                yield Pair(*place, f"{level} {condition}", rainy[:frames], scene[:frames])
                continue
            rainy = render_pair(clean, settings, entry.seed)
            found = mean_psnr(rainy, clean)
            if abs(found - entry.psnr) > DRIFT:
                notice(
                    f"{clip.file}, {level}: the rainy input has {found:.2f} dB, recorded are "
                    f"{entry.psnr:.2f} dB; figures do not compare with earlier ones."
                )
            yield Pair(*place, level, rainy[:frames], clean[:frames])


def read_checked(clip: ClipEntry, folder: Path, read_clip: ReadClip) -> Tensor:
    """Decode a clip, (T, 3, H, W) uint8, and hold it to its recorded number of frames.

    Args:
        clip: its entry.
        folder: of the clean clips.
        read_clip: decodes a file to frames.
    """
    path = folder / clip.file
    if not path.is_file():
        raise DerainError(f"There is no {path}; name the folder of clean clips with --clips.")
    decoded = read_clip(path)
    if clip.frames and len(decoded) != clip.frames:
        raise DerainError(f"{path} has {len(decoded)} frames, not {clip.frames}: another clip?")
    return decoded


def mean_psnr(rainy: Tensor, clean: Tensor) -> float:
    """RGB PSNR, mean over frames."""
    return psnr(rainy, clean).mean().item()


def bisect(figure: Callable[[float], float], target: float, high: float, steps: int = 8) -> float:
    """The x in [0, high], rounded to 4 digits, where a falling `figure` comes nearest `target`.

    Args:
        figure: takes x to a number that falls as x grows.
        target: the value to reach.
        high: largest x that is tried.
        steps: halvings: each doubles the precision.
    """
    low = 0.0
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if figure(middle) > target else (low, middle)
    return round((low + high) / 2, 4)


def _figure(
    pairs: ValidationSet, clean: Tensor, at: Callable[[float], PairEntry], x: float
) -> float:
    """PSNR of the rainy clip with the search's variable at x."""
    entry = at(x)
    return mean_psnr(render_pair(clean, rain_settings(pairs, entry), entry.seed), clean)


def calibrate(
    pairs: ValidationSet,
    folder: Path,
    read_clip: ReadClip,
    progress: Log = say_nothing,
    levels: tuple[Level, ...] | None = None,
) -> ValidationSet:
    """Find strength (light, heavy) and haze (on top of heavy) so that every level's PSNR holds.

    Deterministic: bisection over renderings with the recorded seeds. Levels other than `levels`
    keep what was found for them before.

    Args:
        pairs: to find strengths for.
        folder: of the clean clips.
        read_clip: decodes a file to frames.
        progress: told which pair is being rendered.
        levels: only these.

    Raises:
        DerainError: a rain cannot reach its level; the text names the pair.
    """
    clips = []
    for clip in pairs.clips:
        decoded = read_checked(clip.model_copy(update={"frames": 0}), folder, read_clip)
        clean = to_float(decoded)
        entries: dict[Level, PairEntry] = {}
        for level, entry in clip.pairs.items():
            if levels and level not in levels:
                entries[level] = entry
                continue
            target = pairs.levels[level]
            heavy = entries.get("heavy") if level == "haze" else None
            name, high = ("haze", THICKEST) if level == "haze" else ("strength", STRONGEST)
            start = entry.model_copy(
                update={"strength": heavy.strength if heavy else entry.strength, "haze": 0.0}
            )

            def at(x: float, start: PairEntry = start, name: str = name) -> PairEntry:
                return start.model_copy(update={name: x})

            found = bisect(partial(_figure, pairs, clean[:SEARCHED], at), target.psnr, high)
            reached = round(_figure(pairs, clean, at, found), 3)
            if abs(reached - target.psnr) > target.tolerance:
                raise DerainError(
                    f"{clip.file}, {level}: {reached:.2f} dB at {name} {found:g} is not "
                    f"{target.psnr:g} dB; change the rain '{entry.rain}' of the pairs file."
                )
            entries[level] = at(found).model_copy(update={"psnr": reached})
            progress(f"{clip.file} {level}: {name} {found:g}, {reached:.2f} dB")
        clips.append(
            clip.model_copy(
                update={"frames": len(decoded), "sha256": digest(decoded), "pairs": entries}
            )
        )
    return pairs.model_copy(update={"clips": clips})
