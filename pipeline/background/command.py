"""`derain background`: the background of a video as an image, and training pairs from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from derain.models.errors import DerainError
from derain.models.log import Log, say_nothing
from derain.pipeline.background.estimate import (
    SWAY,
    Background,
    camera_shift,
    estimate_background,
    take_percentile,
    vote,
)
from derain.pipeline.background.frames import FrameSample, Image, read_frames
from derain.pipeline.background.pairs import save_image, write_pairs
from derain.pipeline.background.registration import Registration

GAIN = 1.2  # of the share of pixels that agree, from which frames are put onto one another


@dataclass(frozen=True, slots=True)
class BackgroundSettings:
    """How much is looked at, and what a person decided."""

    frames: int = 200  # most frames kept; they are spread over the whole clip
    memory: int = 1 << 30  # bytes that kept frames may take
    percentile: int | None = None  # 0 to 100, in place of the vote


def background_command(
    source: str | Path,
    output: str | Path | None = None,
    *,
    pairs: str | Path | None = None,
    settings: BackgroundSettings = BackgroundSettings(),
    every: int = 1,
    overwrite: bool = False,
    notice: Log = say_nothing,
) -> Background:
    """Write the background of a video as an image, and training pairs if a folder is given.

    The video is decoded once, and once more for pairs; memory does not grow with its length.

    Args:
        source: a file, or `-` where no pairs are asked for.
        output: the image to write, lossless for .png; None writes pairs alone.
        pairs: a folder for training pairs, see pairs.py.
        settings: how many frames are looked at, and what a person decided.
        every: pair only each so many-th frame.
        overwrite: whether what is there already is replaced.
        notice: called with every sentence the user should read.

    Raises:
        DerainError: the video cannot be read, or something to be written is there already.
    """
    target = None if output is None else Path(output)
    if target is None and pairs is None:
        raise DerainError("There is nothing to write; name an image with -o, or --pairs.")
    if target is not None and target.exists() and not overwrite:
        raise DerainError(f"{target} exists; give -y to replace it.")
    if pairs is not None and str(source) == "-":
        raise DerainError("Pairs need a file that can be read twice; save the input to one first.")
    sample = FrameSample(settings.frames)
    for _, image in read_frames(source, sample.due):
        fitting = max(2, settings.memory // image.nbytes)
        if fitting < sample.capacity:
            sample.capacity = fitting
            notice(f"Frames of this size leave room for {fitting} frames of the clip.")
        sample.add(image)
    kept, sways = steadied(sample.frames, notice)
    background = estimate_background(kept, settings.percentile)
    for warning in background.warnings:
        notice(warning)
    if target is not None:
        save_image(target, background.image)
    if pairs is not None:
        write_pairs(
            source, Path(pairs), background, kept, sways=sways,
            every=every, overwrite=overwrite, elected=settings.percentile is None, notice=notice,
        )  # fmt: skip
    return background


def steadied(frames: list[Image], notice: Log) -> tuple[list[Image], bool]:
    """The frames as one camera that stands still would have seen them; whether theirs sways.

    Frames that fit nowhere are left out. All stay as they are where most fit nowhere, or where the
    background gains nothing: the camera stands still, and some frames are of another scene.
    """
    shift = camera_shift(frames)
    if shift <= SWAY:
        return frames, False
    template, found = frames[len(frames) // 2], list[Image]()
    for _ in range(2):  # once more onto what they have in common, which has less rain
        registration = Registration(template)
        found = [image for frame in frames if (image := registration.register(frame)) is not None]
        if len(found) <= len(frames) // 2:
            return frames, False
        template = take_percentile(found, 50)
    before, after = (float(vote(each)[0].max()) for each in (frames, found))
    if after < GAIN * before:
        return frames, False
    notice(
        f"The camera sways by about {shift:.1f} pixels: {len(found)} of {len(frames)} frames were "
        "put onto one of them first."
    )
    return found, True
