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
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from derain.models.errors import DerainError, UsageError
from derain.models.log import say_nothing
from derain.pipeline.distributed.estimate import size_of
from derain.pipeline.distributed.plan import product_version, weights_hash
from derain.pipeline.distributed.pool import LOOK, PoolOptions, sharing
from derain.pipeline.storage.shared import append
from derain.pipeline.storage.stores import SharedPath, StorePath, is_stored, shared_path
from derain.pipeline.streaming.checkpoints import fingerprint_of
from derain.pipeline.streaming.inputs import StopRequest, Task, plan, run_tasks
from derain.pipeline.streaming.options import Interrupted, Report, VideoOptions
from derain.pipeline.streaming.progress import Reporter
from derain.pipeline.video.containers import READ
from derain.pipeline.video.opening import open_source

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


def read_manifest(folder: SharedPath) -> dict[str, Entry]:
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
    told = [
        fingerprint_of(source, ""),
        str(options.output_settings()),
        weights_hash(options),
        product_version(),
    ]
    return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


@dataclass(slots=True)
class DiskBudget:
    """Room for parts that films side by side have together.

    most: bytes; 0 is as much as there is. A film's parts are reckoned as large as the film.
    """

    most: int = 0
    _taken: int = 0
    _change: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def room(self, task: Task, stop: threading.Event) -> Iterator[None]:
        """Wait until a film's parts fit beside those of others, and hold the room while it is made.

        Raises:
            DerainError: they do not fit even alone.
            Interrupted: `stop` was set.
        """
        size = size_of(task.source) if self.most else 0
        if size > self.most:
            raise DerainError(
                f"The parts of {task.source} take about {size / 1e9:.3g} GB, and --disk-budget is "
                f"{self.most / 1e9:.3g}; give more, or derain it without --workers by derain video."
            )
        with self._change:
            while self._taken + size > self.most and size:
                if stop.is_set():
                    raise Interrupted(f"Stopped before {task.source} was begun.")
                self._change.wait(LOOK)
            self._taken += size
        try:
            yield
        finally:
            with self._change:
                self._taken -= size
                self._change.notify_all()


def expand_lists(inputs: list[str], recursive: bool = False) -> Iterator[str]:
    """Inputs, with the lines of text files in place of these files, and films of stores' folders.

    Args:
        inputs: as a user gives them.
        recursive: whether a store's folders in folders count.

    Raises:
        UsageError: such a file cannot be read, or no film is in such a folder.
    """
    for name in inputs:
        if is_stored(name) and Path(name).suffix.lower() not in READ:
            place = StorePath(name.rstrip("/"))
            found = place.below() if recursive else place.iterdir()
            films = sorted(path.url for path in found if Path(path.url).suffix.lower() in READ)
            if not films:
                raise UsageError(f"There is no video in {name}; check the name, or --recursive.")
            yield from films
            continue
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
    budget: int = 0,
    stop: StopRequest | None = None,
) -> int:
    """Derain what is missing or changed of many films.

    Args:
        inputs: folders, patterns, films, and lists of them (.txt).
        output: the folder for films and manifest, also one of a store.
        options: of all films.
        pool: the workers.
        reporter: told of every film.
        recursive: whether folders in folders count.
        budget: bytes that parts may take at a time; 0 is as many as fit.
        stop: set by somebody else to end early.

    Returns:
        The exit code, as of `run_tasks`.
    """
    folder = shared_path(output)
    folder.mkdir(parents=True, exist_ok=True)
    tasks = _tasks(list(expand_lists(inputs, recursive)), folder, recursive)
    known = read_manifest(folder)
    wanted = {task.target: made_from(task.source, options) for task in tasks}
    missing = [task for task in tasks if _is_missing(task, wanted[task.target], known)]
    reporter.say(f"{len(tasks) - len(missing)} of {len(tasks)} films are done already.")
    many = max(1, pool.workers)
    long, short = _by_length(missing, many * pool.segment)
    # What is there was made from something else; what was begun is gone on with.
    options = replace(options, overwrite=True, resume=True)
    lock = threading.Lock()
    stop, room = stop or StopRequest(), DiskBudget(budget)

    def run(tasks: list[Task], own: PoolOptions, jobs: int) -> int:
        share = sharing(options, own, reporter, stop)

        def derain(task: Task, report: Report) -> None:
            check_room(task)
            with room.room(task, stop):
                share(task, report)
            with lock:
                entry = _entry(task, report, wanted[task.target])
                append(folder / MANIFEST, entry.model_dump_json() + "\n")

        return run_tasks(tasks, options, reporter, jobs=jobs, stop=stop, derain=derain)

    threads = pool.threads or max(1, (os.cpu_count() or 1) // many)
    codes = [run(long, pool, 1)] if long else []
    if short:
        alone = replace(pool, workers=1, threads=threads)
        codes.append(run(short, alone, many))
    return max(codes, default=0)


def _tasks(inputs: list[str], folder: SharedPath, recursive: bool) -> list[Task]:
    """What becomes what; outputs lie in a store where the folder does."""
    if isinstance(folder, Path):
        return plan(inputs, str(folder) + os.sep, recursive=recursive)
    tasks = plan(inputs, f"{folder.name}{os.sep}", recursive=recursive)
    return [
        replace(task, target=str(folder / Path(task.target).relative_to(folder.name).as_posix()))
        for task in tasks
    ]


def _by_length(tasks: list[Task], shared: float) -> tuple[list[Task], list[Task]]:
    """Films that all workers share, of more than so many seconds, and others; the longest first.

    Args:
        tasks: of any order.
        shared: seconds; 0 lets workers share none.
    """
    lengths = {task.source: length(task.source) for task in tasks}
    tasks = sorted(tasks, key=lambda task: -lengths[task.source])
    long = [task for task in tasks if shared and lengths[task.source] > shared]
    return long, [task for task in tasks if task not in long]


def _is_missing(task: Task, wanted: str, known: dict[str, Entry]) -> bool:
    """Whether a film is not there, or is made from something else by now."""
    entry = known.get(task.target)
    return entry is None or entry.made_from != wanted or not shared_path(task.target).exists()


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
    if is_stored(task.target):
        return
    size = size_of(task.source)
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
        bytes=size_of(task.target),
    )
