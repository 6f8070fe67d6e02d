"""Data sets of clips on disk: which rainy clip belongs to which clean one, and their layers.

Layouts are in CLIP_LAYOUTS. Pairs of single images are in image_pairs.py, samples for training are
made in paired_samples.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from derain.models.errors import DerainError
from derain.stages.data.image_pairs import ImagePair, entries, match_names, mismatch, two_folders
from derain.stages.data.rendered_clips import frame_files


@dataclass(frozen=True, slots=True)
class ClipPair:
    """A rainy clip and its truth, each a video or a folder of frames; layers where they are."""

    name: str
    rainy: Path
    clean: Path
    hazy: Path | None = None  # without streaks, still hazy
    transmission: Path | None = None
    airlight: Path | None = None


def find_clip_pairs(folder: Path, layout: str) -> list[ClipPair]:
    """The pairs of clips in a folder.

    Args:
        layout: one of CLIP_LAYOUTS.

    Raises:
        DerainError: what is there is not what the layout wants; the text says both.
    """
    if layout not in CLIP_LAYOUTS:
        raise DerainError(
            f"There is no layout '{layout}' of clips; choose one of {', '.join(CLIP_LAYOUTS)}."
        )
    return CLIP_LAYOUTS[layout](folder)


def _five_folders(folder: Path) -> list[ClipPair]:
    """RainSynAll100: Rain_Haze, Haze, Trans, Alpha and GT with a folder for each sequence."""
    names = ("Rain_Haze", "Haze", "Trans", "Alpha", "GT")
    if not all((folder / name).is_dir() for name in names):
        raise mismatch(folder, f"the folders {', '.join(names)}")
    pairs = []
    for rainy in entries(folder / "Rain_Haze"):
        places = [folder / name / rainy.name for name in names]
        counts = {place: len(frame_files(place)) if place.is_dir() else 0 for place in places}
        if len(set(counts.values())) > 1:
            found = ", ".join(f"{count} in {p.parent.name}" for p, count in counts.items())
            raise DerainError(
                f"The sequence {rainy.name} of {folder} should have as many frames in each of the "
                f"five folders; there are {found}."
            )
        _, hazy, transmission, airlight, clean = places
        pairs.append(ClipPair(rainy.name, rainy, clean, hazy, transmission, airlight))
    return _some(pairs, folder, "a folder for each sequence in Rain_Haze")


def _ntu(folder: Path) -> list[ClipPair]:
    """NTURain: NAME_Rain beside NAME_GT, folders of frames."""
    pairs = []
    for rainy in entries(folder):
        if rainy.is_dir() and rainy.name.endswith("_Rain"):
            clean = rainy.with_name(rainy.name.removesuffix("_Rain") + "_GT")
            if not clean.is_dir():
                raise DerainError(f"{rainy} has no {clean.name} beside it; add the clean frames.")
            counts = [len(frame_files(place)) for place in (rainy, clean)]
            if counts[0] != counts[1] or not counts[0]:
                raise DerainError(
                    f"{rainy} has {counts[0]} frames and {clean.name} has {counts[1]}; a pair "
                    "wants as many of both, and one at least."
                )
            pairs.append(ClipPair(rainy.name.removesuffix("_Rain"), rainy, clean))
    return _some(pairs, folder, "folders of frames called NAME_Rain and NAME_GT")


def _videos(folder: Path) -> list[ClipPair]:
    """A folder of rainy clips beside one of clean clips with the same names."""
    rainy, clean = two_folders(folder)
    matched = match_names(folder, entries(rainy), entries(clean))
    pairs = [ClipPair(p.name, p.rainy, p.clean) for p in matched if p.clean is not None]
    return _some(pairs, folder, "videos, or folders of frames, in both folders")


CLIP_LAYOUTS: dict[str, Callable[[Path], list[ClipPair]]] = {
    "five-folders": _five_folders,
    "ntu": _ntu,
    "videos": _videos,
}


def frames_of(pairs: Iterable[ClipPair]) -> list[ImagePair]:
    """The frames of clips that are folders, as pairs of single images.

    Raises:
        DerainError: a clip is a video, or its two folders differ in number.
    """
    found = []
    for pair in pairs:
        if not pair.rainy.is_dir() or not pair.clean.is_dir():
            raise DerainError(
                f"{pair.rainy} is a video; single-image networks learn from folders of frames."
            )
        rainy, clean = frame_files(pair.rainy), frame_files(pair.clean)
        if len(rainy) != len(clean):
            raise DerainError(
                f"{pair.rainy} has {len(rainy)} frames and {pair.clean} has {len(clean)}; "
                "they should have as many."
            )
        found += [
            ImagePair(f"{pair.name}-{a.stem}", a, b) for a, b in zip(rainy, clean, strict=True)
        ]
    return found


def _some(pairs: list[ClipPair], folder: Path, wanted: str) -> list[ClipPair]:
    if not pairs:
        raise mismatch(folder, wanted)
    return pairs
