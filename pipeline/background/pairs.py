"""Training pairs from a rain video and its background: the layout of SPA-Data.

In the folder given, for a video called NAME:

    NAME.txt                     a line for each pair of crops: rainy and clean, relative paths
    NAME/clean.png               the background
    NAME/rain/NAME-FRAME.png     the frames, and NAME/mask/ where they differ from the background
    NAME/crops/{rain,clean}/     crops; their names carry video, frame and place
    NAME/candidates/             other backgrounds; NAME/sheet.png shows all, for a person to choose
    NAME/manifest.json           the figures, and what was chosen by whom

All images are lossless RGB. Split training from testing by videos, never by crops: crops of one
video share their clean side. The vote itself is in estimate.py.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from derain.models.errors import DerainError
from derain.models.log import Log, say_nothing
from derain.pipeline.background.estimate import Background, elect, take_percentile, vote
from derain.pipeline.background.frames import Image, read_frames
from derain.pipeline.background.registration import Registration

CROP = 256  # pixels, height and width
TOLERANCE = 8  # grey levels, of any channel, up to which a pixel counts as clean
LEAST_AGREEMENT = 0.5  # share of a crop's pixels that must be clean; else the scene is another
LEAST_RAIN = 0.005  # share of a crop's pixels; crops with less teach nothing
MOST_UNSTEADY = 0.1  # share of a crop where the scene itself changes; more would teach wrong
COUNTS = (20, 50, 100, 200)  # frames of the candidates


def write_pairs(
    source: str | Path,
    folder: Path,
    background: Background,
    kept: Sequence[Image],
    *,
    every: int = 1,
    overwrite: bool = False,
    elected: bool = True,
    sways: bool = False,
    notice: Log = say_nothing,
) -> int:
    """Write pairs of every frame of `source` and its background.

    Args:
        source: the video the background was made of.
        folder: where the list and the video's own folder go; made where it is missing.
        background: of the video, of its frames' size.
        kept: the frames the background was made of, for the candidates.
        every: only each so many-th frame, at least 1.
        overwrite: whether pairs of this video that are there already are replaced.
        elected: whether votes chose the background's percentile, not a person.
        sways: whether frames must be put onto the background first.
        notice: called with a sentence about crops that were left out.

    Returns:
        How many pairs of crops were written.

    Raises:
        DerainError: the video cannot be read, pairs of it are there already, or cannot be written.
    """
    name = "_".join(Path(source).stem.split()) or "video"  # blanks part the list's two paths
    home, listing = folder / name, folder / f"{name}.txt"
    if not overwrite and (listing.exists() or (home.is_dir() and any(home.iterdir()))):
        raise DerainError(f"{home} holds pairs already; give -y to replace them.")
    for old in ("rain", "mask", "crops", "candidates"):
        shutil.rmtree(home / old, ignore_errors=True)
    save_image(home / "clean.png", background.image)
    candidates = write_candidates(home, background, kept)
    areas = crop_areas(*background.image.shape[:2])
    steady = {k: a for k, a in areas.items() if background.unsteady[a].mean() <= MOST_UNSTEADY}
    found = _write_frames(source, home, background.image, steady, every, sways)
    listing.write_text("".join(found.agreement))
    unsteady = len(areas) - len(steady)
    manifest = describe(Path(source).name, background, elected) | found.counts()
    manifest |= {"unsteady_places": unsteady, "candidates": candidates}
    (home / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    for text in found.sentences(listing.name, unsteady, len(areas)):
        notice(text)
    return len(found.agreement)


@dataclass
class _Written:
    """What became of the crops: the lines of the list, with how far each agrees; what is left out.

    dry: crops without rain. other: of another scene. lost: frames that fit nowhere.
    """

    agreement: dict[str, float] = field(default_factory=dict)
    dry: int = 0
    other: int = 0
    lost: int = 0

    def counts(self) -> dict[str, object]:
        """What manifest.json says of them."""
        return {
            "pairs": len(self.agreement),
            "crops_without_rain": self.dry,
            "crops_that_disagree": self.other,
            "frames_that_fit_nowhere": self.lost,
            # Of each pair, in the order of the list: share of its pixels that are the background's.
            "agreement": [round(share, 3) for share in self.agreement.values()],
        }

    def sentences(self, listing: str, unsteady: int, places: int) -> list[str]:
        """What a user should know: crops that were left out, and how far the pairs agree."""
        found, shares = [], list(self.agreement.values())
        if self.dry or self.other or self.lost or unsteady:
            found.append(
                f"Left out of {listing}: {self.dry} crops without rain, {self.other} in which "
                f"less than {LEAST_AGREEMENT:.0%} is the background's, {self.lost} frames that "
                f"fit nowhere, {unsteady} of {places} places that are not still."
            )
        if shares:
            found.append(
                f"{len(shares)} pairs: {min(shares):.0%} to {max(shares):.0%} of their pixels are "
                f"the background's, {np.median(shares):.0%} in the middle."
            )
        return found


def _write_frames(
    source: str | Path,
    home: Path,
    clean: Image,
    areas: dict[str, tuple[slice, slice]],
    every: int,
    sways: bool,
) -> _Written:
    """Write frames, masks and crops of the areas by their names."""
    name = home.name
    for place, area in areas.items():
        save_image(home / f"crops/clean/{name}_{place}.png", clean[area])
    found, registration = _Written(), Registration(clean) if sways else None
    for index, seen in read_frames(source):
        if index % every:
            continue
        frame = seen if registration is None else registration.register(seen)
        if frame is None:
            found.lost += 1
            continue
        mask = rain_mask(frame, clean)
        save_image(home / f"rain/{name}-{index:06d}.png", frame)
        save_image(home / f"mask/{name}-{index:06d}.png", mask.astype(np.uint8) * 255)
        for place, area in areas.items():
            agreement = 1 - float(mask[area].mean())
            if 1 - agreement < LEAST_RAIN or agreement < LEAST_AGREEMENT:
                found.dry += agreement > LEAST_AGREEMENT
                found.other += agreement < LEAST_AGREEMENT
                continue
            rainy = f"{name}/crops/rain/{name}-{index:06d}_{place}.png"
            save_image(home.parent / rainy, frame[area])
            found.agreement[f"{rainy} {name}/crops/clean/{name}_{place}.png\n"] = agreement
    return found


def crop_areas(height: int, width: int) -> dict[str, tuple[slice, slice]]:
    """The crops of an image by their names "TOP_LEFT"; together they cover it."""
    return {
        f"{top}_{left}": np.s_[top : top + CROP, left : left + CROP]
        for top in grid(height)
        for left in grid(width)
    }


def describe(video: str, background: Background, elected: bool) -> dict[str, object]:
    """What manifest.json says of a background.

    Args:
        video: the file's name.
        background: its figures are rounded.
        elected: whether votes chose the percentile, not a person.
    """
    return {
        "video": video,
        "percentile": background.percentile,
        "chosen_by": "vote" if elected else "person",
        "frames": background.frames,
        "share": round(background.share, 4),
        "darker": round(background.darker, 4),
        "shift": round(background.shift, 3),
        "flicker": round(background.flicker, 3),
        "warnings": background.warnings,
        "tolerance": TOLERANCE,
    }


def grid(length: int) -> list[int]:
    """Where crops start along a side: as few as cover it, evenly spread; 0 where it is short."""
    count = -(-length // CROP)
    return [int(start) for start in np.linspace(0, max(0, length - CROP), count)]


def rain_mask(frame: Image, clean: Image) -> NDArray[np.bool_]:
    """Where any channel differs by more than TOLERANCE: (H, W)."""
    return np.asarray(cv2.absdiff(frame, clean).max(-1) > TOLERANCE)


def write_candidates(
    home: Path, background: Background, kept: Sequence[Image]
) -> list[dict[str, float]]:
    """Backgrounds of fewer frames and of percentiles nearby, as files and on one sheet.

    A choice is made by running the command again with these `frames` and `percentile`.

    Args:
        home: the video's folder.
        background: of all frames.
        kept: the frames it was made of.
    """
    figures, rows = [], []
    counts = sorted({n for n in COUNTS if n < len(kept)} | {len(kept)})
    for count in counts:
        frames = [kept[int(i)] for i in np.linspace(0, len(kept) - 1, count)]
        shares, _ = vote(frames)
        middle = background.percentile if count == len(kept) else elect(shares)
        row = []
        for percentile in (max(0, middle - 5), middle, min(100, middle + 5)):
            image, share = take_percentile(frames, percentile), float(shares[percentile])
            save_image(home / f"candidates/frames{count}_percentile{percentile}.png", image)
            figures.append({"frames": count, "percentile": percentile, "share": round(share, 4)})
            text = f"frames {count}, percentile {percentile}, share {share:.2f}"
            row.append(_labelled(image, text))
        rows.append(np.concatenate(row, axis=1))
    save_image(home / "sheet.png", np.concatenate(rows, axis=0))
    return figures


def _labelled(image: Image, text: str) -> Image:
    """A copy at most 640 pixels wide, with a caption in a strip below it."""
    height, width = image.shape[:2]
    scale = min(1.0, 640 / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    strip = np.zeros((24, size[0], 3), np.uint8)
    cv2.putText(
        strip, text, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA
    )
    return np.concatenate([np.asarray(small, np.uint8), strip])


def save_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Write (H, W, 3) RGB or (H, W) grey; the folder is made.

    Raises:
        DerainError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written = cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)
    except (OSError, cv2.error) as error:
        raise DerainError(f"{path} cannot be written ({error}); choose another place.") from error
    if not written:
        raise DerainError(f"{path} cannot be written; check the folder and the ending (.png).")
