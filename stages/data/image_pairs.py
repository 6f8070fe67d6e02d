"""Data sets of single images on disk: which rainy image belongs to which clean one.

Layouts are in LAYOUTS; published sets, whose files are counted, in DATA_SETS. Here files are found
and read; clips are clip_pairs.py's, samples for training are made in paired_samples.py, and the
validation pairs of `derain eval`, which are rendered, in validation_pairs.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from derain.models.errors import DerainError
from derain.models.log import Log, say_nothing
from derain.stages.data.rendered_clips import (
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    frame_files,
    natural_order,
)

Side = Literal["left", "right"]
Image = NDArray[np.uint8]  # (H, W, 3) RGB
RAINY_FOLDERS = ("rain", "rainy", "rainy_image", "input")
CLEAN_FOLDERS = ("norain", "ground_truth", "target", "clean", "gt")


@dataclass(frozen=True, slots=True)
class ImagePair:
    """A rainy image and its truth; `clean` is None where nobody knows it."""

    name: str
    rainy: Path
    clean: Path | None
    clean_side: Side | None = None  # both are halves of one file


@dataclass(frozen=True, slots=True)
class DataSet:
    """A published set: its layout, and how many pairs it has for training and for testing."""

    layouts: tuple[str, ...]
    train: int
    test: int


DATA_SETS = {
    # Yang et al., CVPR 2017, as first published; and as republished, also called Rain200L and H.
    "rain100l": DataSet(("numbered", "folders"), 200, 100),
    "rain100h": DataSet(("numbered", "folders"), 1800, 100),
    "rain100l-new": DataSet(("folders",), 1800, 200),
    "rain100h-new": DataSet(("folders",), 1800, 200),
    "rain800": DataSet(("side-by-side", "numbered", "folders"), 700, 100),  # Zhang et al., 2017
    "rain1200": DataSet(("side-by-side", "numbered", "folders"), 12000, 1200),  # CVPR 2018
    "rain1400": DataSet(("folders", "numbered"), 12600, 1400),  # Fu et al., CVPR 2017
}


def find_pairs(
    folder: Path, layout: str, clean_side: Side | None = None, notice: Log = say_nothing
) -> list[ImagePair]:
    """The pairs of single images in a folder or, for the layout "list", in a list file.

    Args:
        folder: or the list file.
        layout: one of LAYOUTS, or of DATA_SETS, whose pairs are counted.
        clean_side: which half is clean where one image holds both.
        notice: told of what may spoil training: lossy files, sides that seem to be swapped.

    Raises:
        DerainError: what is there is not what the layout wants; the text says both.
    """
    if layout in DATA_SETS:
        pairs = _known_set(folder, layout, clean_side)
    elif layout in LAYOUTS:
        pairs = LAYOUTS[layout](folder, clean_side)
    else:
        raise DerainError(
            f"There is no layout '{layout}'; choose one of {', '.join([*LAYOUTS, *DATA_SETS])}."
        )
    _check(pairs, notice)
    return pairs


def read_image(path: Path) -> Image:
    """Read an image as RGB.

    Raises:
        DerainError: it is not there, or no image.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DerainError(f"{path} cannot be read as an image; check the file.")
    return np.ascontiguousarray(np.asarray(image, np.uint8)[..., ::-1])


def read_pair(pair: ImagePair) -> tuple[Image, Image | None]:
    """The rainy image and its truth, of one size.

    Raises:
        DerainError: a file cannot be read, or the two do not fit together.
    """
    rainy = read_image(pair.rainy)
    if pair.clean_side is not None:
        width = rainy.shape[1]
        if width % 2:
            raise DerainError(
                f"{pair.rainy} is {width} pixels wide and has no two equal halves; "
                "the layout side-by-side wants a rainy and a clean image of the same width."
            )
        halves = rainy[:, : width // 2], rainy[:, width // 2 :]
        return halves[::-1] if pair.clean_side == "left" else halves
    if pair.clean is None:
        return rainy, None
    clean = read_image(pair.clean)
    if clean.shape != rainy.shape:
        raise DerainError(
            f"{pair.rainy} is {_size(rainy)} and {pair.clean} is {_size(clean)}: "
            "images of a pair have one size."
        )
    return rainy, clean


# Layouts of single images


def _side_by_side(folder: Path, clean_side: Side | None) -> list[ImagePair]:
    """Both halves in one file, in the folder or in those below it."""
    if clean_side is None:
        raise DerainError("The layout side-by-side needs clean_side: left or right.")
    files = _images(folder) or _below(folder)
    if not files:
        raise mismatch(folder, "images that hold the rainy and the clean one side by side")
    return [ImagePair(file.stem, file, file, clean_side) for file in files]


def _numbered(folder: Path, _: Side | None) -> list[ImagePair]:
    """rain-1 and norain-1 in one folder; other files there, such as rainstreak-1, are layers."""
    files = _images(folder)
    rainy = [file for file in files if file.stem.startswith("rain-")]
    clean = [file for file in files if file.stem.startswith("norain-")]
    if not rainy or not clean:
        raise mismatch(folder, "images called rain-1, rain-2, … and norain-1, norain-2, …")
    return match_names(folder, rainy, clean)


def _folders(folder: Path, _: Side | None) -> list[ImagePair]:
    """A folder of rainy images beside one of clean images."""
    rainy, clean = two_folders(folder)
    return match_names(folder, _images(rainy), _images(clean))


def _list_file(file: Path, _: Side | None) -> list[ImagePair]:
    """A line for each pair, rainy and clean path parted by one space, relative to the list."""
    if not file.is_file():
        raise DerainError(
            f"The layout list wants a text file with a rainy and a clean path in each line; "
            f"{file} is {'a folder' if file.is_dir() else 'not there'}."
        )
    pairs = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if not line.strip():
            continue
        paths = [file.parent / part.lstrip("/") for part in line.strip().split(" ")]
        if len(paths) != 2:
            raise DerainError(
                f"Line {number} of {file} has {len(paths)} paths; a rainy and a clean one, parted "
                "by one space, are expected."
            )
        pairs.append(ImagePair(paths[0].stem, paths[0], paths[1]))
    if not pairs:
        raise DerainError(f"{file} names no pairs; write a rainy and a clean path in each line.")
    missing = [p for pair in pairs for p in (pair.rainy, pair.clean) if p and not p.is_file()]
    if missing:
        raise DerainError(
            f"{len(missing)} files that {file} names are not there, such as {missing[0]}; "
            "paths are relative to the list's folder."
        )
    return pairs


def _alone(folder: Path, _: Side | None) -> list[ImagePair]:
    """Rainy images without truth."""
    files = _images(folder)
    if not files:
        raise mismatch(folder, "images")
    return [ImagePair(file.stem, file, None) for file in files]


LAYOUTS: dict[str, Callable[[Path, Side | None], list[ImagePair]]] = {
    "side-by-side": _side_by_side,
    "numbered": _numbered,
    "folders": _folders,
    "list": _list_file,
    "alone": _alone,
}


def _known_set(folder: Path, name: str, clean_side: Side | None) -> list[ImagePair]:
    """A published set in the first of its layouts that fits, with its pairs counted."""
    known, reasons = DATA_SETS[name], []
    for layout in known.layouts:
        try:
            pairs = LAYOUTS[layout](folder, clean_side)
        except DerainError as error:
            reasons.append(str(error))
            continue
        if len(pairs) in (known.train, known.test):
            return pairs
        raise DerainError(
            f"{folder} holds {len(pairs)} pairs, but {name} has {known.train} for training and "
            f"{known.test} for testing; give the layout '{layout}' to use what is there."
        )
    if len(reasons) == 1:
        raise DerainError(reasons[0])
    raise mismatch(
        folder,
        f"the pairs of {name} in one of the layouts {', '.join(known.layouts)} (side-by-side also "
        "needs clean_side)",
    )


# What is there; clip_pairs.py looks in the same ways


def _images(folder: Path) -> list[Path]:
    return frame_files(folder) if folder.is_dir() else []


def _below(folder: Path) -> list[Path]:
    files = (p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(files, key=natural_order)


def entries(folder: Path) -> list[Path]:
    """Videos and folders."""
    if not folder.is_dir():
        return []
    kept = (p for p in folder.iterdir() if p.is_dir() or p.suffix.lower() in VIDEO_SUFFIXES)
    return sorted(kept, key=natural_order)


def two_folders(folder: Path) -> tuple[Path, Path]:
    """The rainy and the clean folder; the images may lie one folder deeper (rain/X2)."""
    inside = {p.name.lower(): p for p in entries(folder)}
    rainy = next((inside[name] for name in RAINY_FOLDERS if name in inside), None)
    clean = next((inside[name] for name in CLEAN_FOLDERS if name in inside), None)
    if rainy is None or clean is None:
        raise mismatch(
            folder,
            f"a folder of rainy images ({', '.join(RAINY_FOLDERS)}) and one of clean images "
            f"({', '.join(CLEAN_FOLDERS)})",
        )
    deeper = entries(rainy)
    if not _images(rainy) and [p.name for p in deeper] == ["X2"]:
        rainy = deeper[0]
    return rainy, clean


def match_names(folder: Path, rainy: list[Path], clean: list[Path]) -> list[ImagePair]:
    """Pair files by their names: equal, rain-1 with norain-1, 1_14 with 1, norain-1x2 with 1.

    Args:
        folder: for the error.
        rainy: files.
        clean: files.
    """
    truths = {path.stem: path for path in clean}
    pairs, alone = [], []
    for path in rainy:
        stem = path.stem
        names = (stem, f"no{stem}", stem.removesuffix("x2"), stem.rpartition("_")[0])
        truth = next((truths[name] for name in names if name in truths), None)
        if truth is None:
            alone.append(path)
        else:
            pairs.append(ImagePair(stem, path, truth))
    used = {pair.clean for pair in pairs}
    alone += [path for path in clean if path not in used]
    if alone or not pairs:
        such = f", such as {alone[0].name}" if alone else ""
        raise DerainError(
            f"{folder} has {len(rainy)} rainy and {len(clean)} clean files, of which {len(alone)} "
            f"have no counterpart{such}; the names of a pair should be equal, or rain-1 and "
            "norain-1, or 1_2 and 1."
        )
    return pairs


def mismatch(folder: Path, wanted: str) -> DerainError:
    """The sentence that says what was found and what was expected."""
    if not folder.is_dir():
        return DerainError(f"There is no folder {folder}; expected is one with {wanted}.")
    inside = sorted(folder.iterdir(), key=natural_order)
    folders = [p.name + "/" for p in inside if p.is_dir()]
    files = [p.name for p in inside if p.is_file()]
    shown = ", ".join([*folders, *files][:4]) or "nothing"
    return DerainError(
        f"{folder} holds {len(folders)} folders and {len(files)} files ({shown}"
        f"{', …' if len(inside) > 4 else ''}); expected are {wanted}."
    )


def _check(pairs: list[ImagePair], notice: Log, looked_at: int = 16) -> None:
    """Notice lossy files, and pairs whose rainy side is the darker one: rain brightens."""
    if any(p.rainy.suffix.lower() in (".jpg", ".jpeg") and p.clean is not None for p in pairs):
        notice("Some pairs are JPEG files: compression changes the rain that is to be learned.")
    step = max(1, len(pairs) // looked_at)
    darker = checked = 0
    for pair in pairs[::step][:looked_at]:
        rainy, clean = read_pair(pair)
        if clean is not None:
            checked += 1
            darker += bool(rainy.mean() < clean.mean())
    if 2 * darker > checked:
        notice(
            f"In {darker} of {checked} pairs the rainy image is darker than the clean one; "
            "check that the two are not swapped (clean_side)."
        )


def _size(image: Image) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
