"""Many films: what is missing or changed is derained, the longest first, and a manifest tells all.

Long films are shared among all workers in segments, one after another; the small ones then go side
by side, each whole.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from derain.models.errors import DerainError, UsageError
from derain.models.log import say_nothing
from derain.pipeline.distributed.plan import product_version, weights_hash
from derain.pipeline.distributed.pool import PoolOptions, sharing
from derain.pipeline.streaming.checkpoints import fingerprint_of
from derain.pipeline.streaming.inputs import StopRequest, Task, plan, run_tasks
from derain.pipeline.streaming.options import Report, VideoOptions
from derain.pipeline.streaming.progress import Reporter
from derain.pipeline.video.opening import open_source
from derain.pipeline.video.paths import files_of

MANIFEST = "manifest.jsonl"
ROOM = 2.5  # parts and film, in sizes of the source


class Entry(BaseModel):
    """One film that was done.

    made_from: a hash of the source's fingerprint, the options, the weights and the version: what
        must be the same for the film to count as done.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    target: str
    made_from: str
    frames: int
    shots: int
    damaged: int
    incomplete: bool
    changed: float
    seconds: float
    bytes: int


def read_manifest(folder: Path) -> dict[str, Entry]:
    """What was done, by target; of several lines on one film the last counts."""
    found: dict[str, Entry] = {}
    path = folder / MANIFEST
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for number, line in enumerate(lines):
        try:
            entry = Entry.model_validate_json(line)
        except ValidationError as error:
            if number == len(lines) - 1:
                break  # the run that wrote it was killed
            raise DerainError(
                f"Line {number + 1} of {path} is none of derain's; mend it."
            ) from error
        found[entry.target] = entry
    return found


def made_from(source: str, options: VideoOptions) -> str:
    """What a film depends on, as a hash."""
    told: list[Any] = [
        fingerprint_of(source, ""),
        str(options.output_settings()),
        weights_hash(options),
        product_version(),
    ]
    return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def expand_lists(inputs: list[str]) -> Iterator[str]:
    """Inputs, with the lines of text files in place of these files.

    Raises:
        UsageError: such a file cannot be read.
    """
    for name in inputs:
        if Path(name).suffix.lower() not in (".txt", ".list"):
            yield name
            continue
        try:
            lines = Path(name).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise UsageError(f"{name} cannot be read ({error.strerror}).") from error
        yield from (line.strip() for line in lines if line.strip())


def run_corpus(
    inputs: list[str],
    output: str,
    options: VideoOptions,
    pool: PoolOptions,
    reporter: Reporter,
    *,
    recursive: bool = False,
    stop: StopRequest | None = None,
) -> int:
    """Derain what is missing or changed of many films.

    Args:
        inputs: folders, patterns, films, and lists of them (.txt).
        output: the folder for films and manifest.
        options: of all films.
        pool: the workers.
        reporter: told of every film.
        recursive: whether folders in folders count.
        stop: set by somebody else to end early.

    Returns:
        The exit code, as of `run_tasks`.
    """
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    tasks = plan(list(expand_lists(inputs)), str(folder) + os.sep, recursive=recursive)
    known = read_manifest(folder)
    wanted = {task.target: made_from(task.source, options) for task in tasks}
    missing = [task for task in tasks if _is_missing(task, wanted[task.target], known)]
    reporter.say(f"{len(tasks) - len(missing)} of {len(tasks)} films are done already.")
    lengths = {task.source: length(task.source) for task in missing}
    missing.sort(key=lambda task: -lengths[task.source])
    many = max(1, pool.workers)
    long = [t for t in missing if pool.segment and lengths[t.source] > many * pool.segment]
    short = [t for t in missing if t not in long]
    # What is there was made from something else; what was begun is gone on with.
    options = replace(options, overwrite=True, resume=True)
    lock = threading.Lock()
    stop = stop or StopRequest()

    def run(tasks: list[Task], own: PoolOptions, jobs: int) -> int:
        share = sharing(options, own, reporter, stop)

        def derain(task: Task, report: Report) -> None:
            check_room(task)
            share(task, report)
            with lock, (folder / MANIFEST).open("a", encoding="utf-8") as file:
                file.write(_entry(task, report, wanted[task.target]).model_dump_json() + "\n")

        return run_tasks(tasks, options, reporter, jobs=jobs, stop=stop, derain=derain)

    threads = pool.threads or max(1, (os.cpu_count() or 1) // many)
    codes = [run(long, pool, 1)] if long else []
    if short:
        alone = replace(pool, workers=1, threads=threads)
        codes.append(run(short, alone, many))
    return max(codes, default=0)


def _is_missing(task: Task, wanted: str, known: dict[str, Entry]) -> bool:
    """Whether a film is not there, or is made from something else by now."""
    entry = known.get(task.target)
    return entry is None or entry.made_from != wanted or not Path(task.target).is_file()


def length(source: str) -> float:
    """Seconds that a film declares; 0 where it does not, or cannot be opened."""
    try:
        with closing(open_source(source, None, {}, None, say_nothing)) as container:
            return float(container.duration or 0) / 1e6
    except DerainError:
        return 0.0  # its turn comes, and with it the sentence


def check_room(task: Task) -> None:
    """Refuse a film whose parts and result would not fit on the disk.

    Raises:
        DerainError: so it is.
    """
    size = sum(path.stat().st_size for path in files_of(task.source))
    free = shutil.disk_usage(Path(task.target).parent).free
    if size * ROOM > free:
        raise DerainError(
            f"{task.source} needs about {size * ROOM / 1e9:.1f} GB beside {task.target} and "
            f"{free / 1e9:.1f} GB are free; make room, and run this again."
        )


def _entry(task: Task, report: Report, source: str) -> Entry:
    return Entry(
        source=task.source,
        target=task.target,
        made_from=source,
        frames=report.frames_out,
        shots=report.shots,
        damaged=report.damaged,
        incomplete=report.incomplete,
        changed=round(report.changed, 6),
        seconds=round(report.seconds, 3),
        bytes=Path(task.target).stat().st_size,
    )
