"""Many inputs: which files, what they become, one after another or side by side, and signals.

One input's way is stream.py's.
"""

from __future__ import annotations

import glob
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from derain.models.errors import DerainError, UsageError, VideoError
from derain.pipeline.streaming.options import Interrupted, Report, VideoOptions
from derain.pipeline.streaming.progress import Reporter
from derain.pipeline.video.containers import READ, WRITTEN
from derain.pipeline.video.output_files import output_files, written_files
from derain.pipeline.video.paths import file_identity, files_of, is_file


@dataclass(frozen=True, slots=True)
class Task:
    """One input and its output."""

    source: str
    target: str
    in_folder: bool = False  # made where it is missing; an output that is there is skipped


def expand(inputs: list[str], recursive: bool) -> list[tuple[str, Path]]:
    """Inputs as (source, place below the output folder): files of folders and patterns, sorted."""
    found: list[tuple[str, Path]] = []
    for name in inputs:
        path = Path(name)
        if path.is_dir():
            files = path.rglob("*") if recursive else path.glob("*")
            videos = sorted(f for f in files if f.suffix.lower() in READ and not _is_part(f))
            if not videos:
                hint = "" if recursive else " itself; add --recursive for the folders in it"
                raise UsageError(f"There is no video in {name}{hint}.")
            found += [(str(f), f.relative_to(path)) for f in videos]
        elif not path.exists() and glob.has_magic(name):
            matches = sorted(f for f in glob.glob(name, recursive=True) if os.path.isfile(f))
            if not matches:
                raise UsageError(f"Nothing fits the pattern {name}.")
            found += [(f, Path(Path(f).name)) for f in matches]
        else:
            found.append((name, Path(path.name)))
    return found


def _is_part(path: Path) -> bool:
    return ".part" in path.suffixes[:-1]


def plan(
    inputs: list[str], output: str, *, recursive: bool = False, shard: str | None = None
) -> list[Task]:
    """What becomes what.

    Several inputs, a folder or a pattern go into a folder; one file goes to a file, or into a
    folder that is there. `shard` "2/4" takes the second of four parts of the list.
    """
    found = expand(inputs, recursive)
    one = len(inputs) == 1 and [source for source, _ in found] == inputs
    if one and not Path(output).is_dir() and not output.endswith("/"):
        tasks = [Task(inputs[0], output)]
    else:
        folder = Path(output)
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{output} is a file; name a folder for several inputs.")
        if not one and (folder.suffix.lower() in WRITTEN or not is_file(output)):
            raise UsageError(f"Several inputs need a folder; {output} is not one.")
        tasks = [Task(source, str(folder / _output_name(place)), True) for source, place in found]
        _refuse_collisions(tasks)
    if shard is not None:
        number, _, of = shard.partition("/")
        if not (number.isdigit() and of.isdigit() and 1 <= int(number) <= int(of)):
            raise UsageError(f"--shard is like 2/4, not '{shard}'.")
        tasks = tasks[int(number) - 1 :: int(of)]
    return tasks


def _refuse_collisions(tasks: list[Task]) -> None:
    """Refuse outputs, and files beside them, that are those of another task or its input."""
    sources = {
        found: task.source
        for task in tasks
        for path in files_of(task.source)
        if (found := file_identity(path))
    }
    targets = Counter(os.path.realpath(task.target) for task in tasks)
    for task in tasks:
        if targets[os.path.realpath(task.target)] > 1:
            raise UsageError(f"Two inputs would become {task.target}; give them one at a time.")
        with suppress(VideoError):  # of this one alone, when its turn comes
            for path in written_files(task.target)[1:]:
                other = sources.get(file_identity(path) or (0, 0))
                if other is not None or str(path) in targets:
                    raise UsageError(
                        f"Beside {task.target} derain makes {path}, which is "
                        f"{'an output' if other is None else other} too; give them one at a time."
                    )


def _output_name(place: Path) -> Path:
    """The same name; .mkv where nobody writes the input's container any more."""
    return place if place.suffix.lower() in WRITTEN else place.with_suffix(".mkv")


@contextmanager
def interruptible(targets: Sequence[str] = ()) -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets; the second ends the process at once.

    Part files of `targets` that hold something are then named.
    """
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            cursor = "\x1b[?25h" if sys.stderr.isatty() else ""
            written = _parts(targets)
            left = f"; what was written is in {', '.join(written)}" if written else ""
            sys.stderr.write(f"{cursor}stopped at once{left}\n")
            sys.stderr.flush()
            os._exit(130)
        stop.set()
        sys.stderr.write("stopping; once more to stop at once\n")

    numbers = (signal.SIGINT, signal.SIGTERM)
    before: list[Any] = [signal.signal(number, handle) for number in numbers]
    try:
        yield stop
    finally:
        for number, old in zip(numbers, before, strict=True):
            signal.signal(number, old)


def _parts(targets: Sequence[str]) -> list[str]:
    """The parts of these outputs that hold something."""
    found = []
    for target in targets:
        with suppress(OSError, VideoError):
            files = output_files(target)
            if files is not None and files.part.stat().st_size:
                found.append(str(files.part))
    return found


def run_tasks(
    tasks: list[Task],
    options: VideoOptions,
    reporter: Reporter,
    *,
    jobs: int = 1,
    stop: threading.Event | None = None,
) -> int:
    """Do all tasks and report each; the exit code.

    A failure does not end the rest. What is done already in a folder is skipped.
    """
    from derain.pipeline.streaming.derain_video import derain_video
    from derain.pipeline.streaming.temporal_smoothing import load_chosen

    stop = stop or threading.Event()
    # By what was asked for, not by how many it came to: a folder may hold one video.
    several = len(tasks) > 1 or any(task.in_folder for task in tasks)
    if not tasks:
        reporter.say("No input falls to this part of the list; nothing is done.")
    lock = threading.Lock()
    loaded: list[Any] = []

    def model() -> Any:
        with lock:
            if not loaded:
                loaded.append(load_chosen(options))
            return loaded[0]

    def one(task: Task) -> str:
        report = Report(task.source, task.target)
        if stop.is_set():
            return "not started"
        if several and not options.overwrite and _is_done(task):
            report.skipped = True
            reporter.done(report)
            return "there already"
        try:
            if several:
                Path(task.target).parent.mkdir(parents=True, exist_ok=True)
            derain_video(
                task.source,
                task.target,
                options,
                model=model(),
                progress=reporter.frame,
                stop=stop,
                report=report,
            )
        except Interrupted as error:
            reporter.failed(report, str(error), "interrupted")
            return "interrupted"
        except DerainError as error:
            reporter.failed(report, str(error), "error")
            return "failed"
        except Exception as error:
            if not several:
                raise
            text = f"{task.source} met a fault of derain itself ({type(error).__name__}: {error})."
            reporter.failed(report, text, "error")
            return "failed"
        reporter.done(report)
        return "done"

    results = _map(one, tasks, jobs)
    if several:
        reporter.table(list(zip([task.source for task in tasks], results, strict=True)))
    if stop.is_set():
        return 130
    return 1 if "failed" in results else 0


def _is_done(task: Task) -> bool:
    """Whether the output is there already; the input itself, in its own folder, is none."""
    own = file_identity(Path(task.source))
    return Path(task.target).is_file() and file_identity(Path(task.target)) != own


def _map(one: Callable[[Task], str], tasks: list[Task], jobs: int) -> list[str]:
    if jobs <= 1 or len(tasks) <= 1:
        return [one(task) for task in tasks]
    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, tasks))
