"""`derain image`: single images through the network's path for stills.

An image is a shot of one frame. Depth (8 or 16 bit), grey, alpha, EXIF, resolution and the colour
profile are kept; what the new file cannot hold is named. One bad input ends that input alone.
"""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from derain.models import Derainer
from derain.models.errors import DerainError, UsageError
from derain.models.log import printable
from derain.models.ops.image_arrays import to_tensor
from derain.models.output import Output
from derain.pipeline.image.formats import READABLE
from derain.pipeline.image.image_file import StillImage, count_images, read_image
from derain.pipeline.image.image_writer import format_of, write_image
from derain.pipeline.storage.stores import require_local
from derain.pipeline.streaming.compare import compare_frames
from derain.pipeline.streaming.layer_images import layers_as_images
from derain.pipeline.streaming.model_loading import open_derainer
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.video.color import to_bytes, to_float

Pages = Literal["first", "all"]


@dataclass(frozen=True, slots=True)
class Task:
    """One input and its output."""

    source: Path
    target: Path
    in_folder: bool  # made where it is missing; an output that is there is skipped


def derain_still(derainer: Derainer, rgb: NDArray[np.float32]) -> Output:
    """One (H, W, 3) float32 image in [0, 1] as a shot of its own."""
    tensor = to_tensor(rgb)
    output = derainer.push(tensor)
    rest = derainer.flush()
    return output if output is not None else rest[0]


def plan_images(inputs: list[str], output: str, recursive: bool) -> list[Task]:
    """What becomes what: one image a file; several, a folder or a pattern a folder.

    Args:
        inputs: files, folders, patterns.
        output: a file, or a folder, which need not be there.
        recursive: take the folders in folders too.

    Raises:
        UsageError: nothing is there, several images would become one file, or one is in a store.
    """
    for name in (*inputs, output):
        require_local(name)
    found: list[tuple[Path, Path]] = []
    for name in inputs:
        path = Path(name)
        if path.is_dir():
            files = path.rglob("*") if recursive else path.glob("*")
            images = sorted(f for f in files if f.suffix.lower() in READABLE and f.is_file())
            if not images:
                hint = "" if recursive else " itself; add --recursive for the folders in it"
                raise UsageError(f"There is no image in {name}{hint}.")
            found += [(f, f.relative_to(path)) for f in images]
        elif not path.exists() and glob.has_magic(name):
            matches = map(Path, sorted(glob.glob(name, recursive=True)))
            images = [f for f in matches if f.is_file()]
            if not images:
                raise UsageError(f"Nothing fits the pattern {name}.")
            found += [(f, Path(f.name)) for f in images]
        else:
            found.append((path, Path(path.name)))
    target = Path(output)
    one = len(inputs) == 1 and Path(inputs[0]) == found[0][0]
    if one and not target.is_dir() and not output.endswith(("/", os.sep)):
        return [Task(found[0][0], target, in_folder=False)]
    if target.exists() and not target.is_dir():
        raise UsageError(f"{output} is a file; name a folder for several images.")
    if not target.exists() and not one and target.suffix.lower() in READABLE:
        raise UsageError(f"Several images need a folder; {output} looks like a file.")
    tasks = [Task(source, target / _written_name(place), in_folder=True) for source, place in found]
    for place, count in Counter(task.target for task in tasks).items():
        if count > 1:
            raise UsageError(f"Two inputs would become {place}; give them one at a time.")
    return tasks


def _written_name(place: Path) -> Path:
    """The same name; .png where the input's format is read alone."""
    try:
        format_of(place)
    except DerainError:
        return place.with_suffix(".png")
    return place


def derain_images(
    inputs: list[str],
    output: str,
    options: VideoOptions,
    *,
    recursive: bool = False,
    pages: Pages = "first",
) -> int:
    """Remove the rain from images; a failure does not end the rest.

    Args:
        inputs: files, folders, patterns.
        output: a file, or a folder.
        options: network, where it runs, comparison, layers, overwriting.
        recursive: take the folders in folders too.
        pages: of a TIFF that holds several: the first, or all into one TIFF.

    Returns:
        The exit code: 0, or 1 where an input failed.
    """
    tasks = plan_images(inputs, output, recursive)
    if len(tasks) == 1 and not tasks[0].in_folder:
        format_of(tasks[0].target)  # before the network is loaded
    # Another engine would be compiled anew for every size, for a single frame.
    derainer = open_derainer(replace(options, engine="torch"), None, _say)
    if derainer.latency:
        _say(
            f"'{options.model}' compares frames and finds little rain in one; "
            "for images use --model rescan."
        )
    failed = 0
    for task in tasks:
        try:
            _derain_file(derainer, task, options, pages)
        except DerainError as error:
            failed += 1
            _say(f"error: {error}")
        except Exception as error:  # also of memory: whatever it is, the next image may be well
            if not task.in_folder:
                raise
            failed += 1
            derainer.reset()
            _say(f"error: {task.source} cannot be done ({type(error).__name__}: {error}).")
    return 1 if failed else 0


def _derain_file(derainer: Derainer, task: Task, options: VideoOptions, pages: Pages) -> None:
    source, target = task.source, task.target
    if target.exists() and source.exists() and source.samefile(target):
        raise DerainError(f"{target} is the input itself; choose another output.")
    if target.exists() and not options.overwrite:
        if task.in_folder:
            return _say(f"{target} is there already; -y makes it again")
        raise DerainError(f"{target} is there already; add -y to replace it.")
    count = _count_wanted(source, target, pages)
    done = (_derain_page(derainer, source, page, options) for page in range(count))
    clean, image = next(done)
    if task.in_folder:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DerainError(
                f"The folder {target.parent} cannot be made ({error.strerror}); choose another."
            ) from None
    write_image(target, clean, image, _say, done)
    more = f", {count} pages" if count > 1 else ""
    _say(f"{target}: {clean.shape[1]}x{clean.shape[0]}{more}")


def _count_wanted(source: Path, target: Path, pages: Pages) -> int:
    """How many of a file's images are to be done; says which are not."""
    count, form = count_images(source)
    if count <= 1:
        return 1
    if pages == "all":
        if form != "TIFF":
            raise DerainError(f"{source} is no TIFF; derain video {source} does all its images.")
        if not format_of(target).pages:
            raise DerainError(f"{target} holds one image; write .tif for all {count} pages.")
        return count
    if form == "TIFF":
        _say(f"{source} has {count} pages, of which the first is taken; --pages all takes all.")
    elif form == "MPO":
        _say(f"{source} holds {count} images (depth, brightness or another eye); the first alone.")
    else:
        _say(
            f"{source} is an animation of {count} frames, of which the first is taken; "
            f"derain video {source} does all."
        )
    return 1


def _derain_page(
    derainer: Derainer, source: Path, page: int, options: VideoOptions
) -> tuple[NDArray[np.float32], StillImage]:
    """The clean image as (H, W, 3) in [0, 1], and what it is to be written like."""
    image = read_image(source, page)
    for notice in image.notices:
        _say(notice)
    output = derain_still(derainer, image.rgb)
    clean = output.image[0].permute(1, 2, 0).float().cpu().numpy()
    if options.layers:
        _write_layers(Path(options.layers), source.stem, output)
    if options.compare:
        before, after = to_bytes(image.rgb), to_bytes(clean)
        both = compare_frames(before, after, options.compare)
        clean = to_float(both)
        image = replace(image, rgb=clean, alpha=None, peak=255, grey=False)
    return clean, image


def _write_layers(folder: Path, stem: str, output: Output) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, layer in layers_as_images(output).items():
            Image.fromarray(layer).save(folder / f"{stem}.{name}.png")
    except OSError as error:
        raise DerainError(
            f"{folder} cannot be written ({error.strerror}); choose another folder for --layers."
        ) from error


def _say(text: str) -> None:
    sys.stderr.write(printable(text) + "\n")
