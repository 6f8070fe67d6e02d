"""Names of films: those that clients give are shown and never become paths."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from pathlib import Path

from derain.models.errors import DerainError
from derain.pipeline.video.containers import READ, WRITTEN

LONGEST = 150  # characters of a name that is shown


def clean_name(name: str) -> str:
    """What a client calls its film, without folders and without what cannot be shown.

    Raises:
        DerainError: its ending is none of a film.
    """
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    shown = "".join(c for c in last if unicodedata.category(c)[0] != "C").strip(" .")
    stem, suffix = Path(shown).stem, Path(shown).suffix
    if suffix.lower() not in READ:
        raise DerainError(
            f"The name must end as a film's does ({', '.join(sorted(READ))}); name the film so."
        )
    return stem[: LONGEST - len(suffix)] + suffix


def film_suffix(name: str) -> str:
    """The ending of a film, one of a known list."""
    return Path(name).suffix.lower()


def result_suffix(name: str) -> str:
    """The ending of its result: .mkv where nobody writes the film's container any more."""
    suffix = film_suffix(name)
    return suffix if suffix in WRITTEN else ".mkv"


def films_in(folder: Path) -> dict[str, Path]:
    """The films of a folder itself by their names; no part files, nothing hidden."""
    return {
        path.name: path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in READ
        and not path.name.startswith(".")
        and ".part" not in path.suffixes[:-1]
        and path.is_file()
    }


def free_target(folder: Path, film: Path, taken: Collection[str]) -> Path:
    """A name in `folder` for the result of a film of this machine that nothing has yet.

    Args:
        folder: where it goes.
        film: the source.
        taken: paths that are promised to other jobs.
    """
    suffix, number = result_suffix(film.name), 1
    target = folder / f"{film.stem}{suffix}"
    while target.exists() or str(target) in taken:
        number += 1
        target = folder / f"{film.stem}-{number}{suffix}"
    return target
