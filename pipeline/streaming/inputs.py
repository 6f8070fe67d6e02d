"""Many inputs: which files, what they become, one after another or side by side, and signals.

What becomes of one input is in derain_video.py.
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
from typing import TYPE_CHECKING, Literal

from derain.models.errors import DerainError, UsageError, VideoError
from derain.models.log import Log, printable, say_nothing
from derain.pipeline.streaming.options import Interrupted, Report, VideoOptions
from derain.pipeline.streaming.progress import Reporter
from derain.pipeline.video.containers import READ, WRITTEN
from derain.pipeline.video.output_files import output_files, written_files
from derain.pipeline.video.paths import file_identity, files_of, is_file

if TYPE_CHECKING:
    from derain.models.video_model import VideoModel

Outcome = Literal["done", "there already", "not started", "interrupted", "failed", "incomplete"]


@dataclass(frozen=True, slots=True)
class Task:
    """One input and its output."""

    source: str
    target: str
    in_folder: bool = False  # made where it is missing; an output that is there is skipped


Derain = Callable[[Task, Report], object]


def expand(inputs: list[str], recursive: bool, notice: Log = say_nothing) -> list[tuple[str, Path]]:
    """Inputs as (source, place below the output folder): files of folders and patterns, sorted.

    Args:
        inputs: files, folders, patterns, URLs or `-`.
        recursive: whether folders in folders are looked into.
        notice: told what is left out.
    """
    found: list[tuple[str, Path]] = []
    for name in inputs:
        path = Path(name)
        if path.is_dir():
            files = path.rglob("*") if recursive else path.glob("*")
            videos = sorted(f for f in files if f.suffix.lower() in READ)
            for part in filter(_is_part, videos):
                notice(
                    f"{part} looks like an unfinished output and is passed over; name it to use it."
                )
            videos = [f for f in videos if not _is_part(f)]
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
    return path.stem.endswith((".part", ".part.previous"))


def plan(
    inputs: list[str],
    output: str,
    *,
    recursive: bool = False,
    shard: str | None = None,
    notice: Log = say_nothing,
) -> list[Task]:
    """What becomes what.

    Several inputs, a folder or a pattern go into a folder; one file goes to a file, or into a
    folder that is there. `shard` "2/4" takes the second of four parts of the list.

    Args:
        inputs: files, folders, patterns, URLs or `-`.
        output: a file, or a folder for several inputs.
        recursive: whether folders in folders are looked into.
        shard: I/N: only the I-th of N parts of the list, from 1 on.
        notice: told what is left out.
    """
    found = expand(inputs, recursive, notice)
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


class StopRequest(threading.Event):
    """Set to end early; `exit_code` is what a shell expects of a process that a signal ended."""

    exit_code = 128 + signal.SIGINT


@contextmanager
def interruptible(targets: Sequence[str] = ()) -> Iterator[StopRequest]:
    """An event that the first Ctrl-C or SIGTERM sets; the second ends the process at once.

    Part files of `targets` that hold something are then named.
    """
    stop = StopRequest()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            cursor = "\x1b[?25h" if sys.stderr.isatty() else ""
            written = _parts(targets)
            left = f"; what was written is in {', '.join(written)}" if written else ""
            sys.stderr.write(f"{cursor}{printable(f'stopped at once{left}')}\n")
            sys.stderr.flush()
            os._exit(128 + number)
        stop.exit_code = 128 + number
        stop.set()
        sys.stderr.write("stopping; once more to stop at once\n")

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, handle) for number in numbers]
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


class _Batch:
    """What the tasks of one run share: the options, the network, who is told, and the end.

    Args:
        options: of every task.
        reporter: told of every frame and of every task that ends.
        stop: no task begins once it is set.
        several: whether outputs that are there are skipped and faults do not end the rest.
        derain: does one task and fills its report; None is `derain_video`, here.
    """

    def __init__(
        self,
        options: VideoOptions,
        reporter: Reporter,
        stop: threading.Event,
        several: bool,
        derain: Derain | None,
    ) -> None:
        self.options, self.reporter, self.stop, self.several = options, reporter, stop, several
        self.derain = derain or self._derain_here
        self._lock = threading.Lock()
        self._model: VideoModel | None = None

    def model(self) -> VideoModel:
        """The network, loaded when the first task needs it."""
        from derain.pipeline.streaming.temporal_smoothing import load_chosen

        with self._lock:
            if self._model is None:
                self._model = load_chosen(self.options)
            return self._model

    def run(self, task: Task) -> Outcome:
        """Do one task and report it."""
        report = Report(task.source, task.target)
        if self.stop.is_set():
            return "not started"
        if self.several and not self.options.overwrite and _is_done(task):
            report.skipped = True
            self.reporter.done(report)
            return "there already"
        try:
            if self.several and is_file(task.target):
                Path(task.target).parent.mkdir(parents=True, exist_ok=True)
            self.derain(task, report)
        except Interrupted as error:
            self.reporter.failed(report, str(error), "interrupted")
            return "interrupted"
        except (DerainError, OSError) as error:
            self.reporter.failed(report, str(error), "error")
            return "failed"
        except Exception as error:
            if not self.several:
                raise
            text = f"{task.source} met a fault of derain itself ({type(error).__name__}: {error})."
            self.reporter.failed(report, text, "error")
            return "failed"
        self.reporter.done(report)
        if report.incomplete and not self.options.allow_damaged:
            self.reporter.say(
                f"{task.source} is incomplete; {task.target} holds what there is of it, and "
                "--allow-damaged takes that for done.",
                "error",
            )
            return "incomplete"
        return "done"

    def _require_time(self) -> None:
        """End before what takes long, such as loading a network."""
        if self.stop.is_set():
            raise Interrupted("Stopped before the first frame.")

    def _derain_here(self, task: Task, report: Report) -> None:
        from derain.pipeline.streaming.derain_video import derain_video

        self._require_time()
        model = self.model()
        self._require_time()
        derain_video(
            task.source,
            task.target,
            self.options,
            model=model,
            progress=self.reporter.frame,
            stop=self.stop,
            report=report,
        )


def run_tasks(
    tasks: list[Task],
    options: VideoOptions,
    reporter: Reporter,
    *,
    jobs: int = 1,
    stop: StopRequest | None = None,
    derain: Derain | None = None,
) -> int:
    """Do all tasks and report each. A failure does not end the rest; what is done is skipped.

    Args:
        tasks: from `plan`.
        options: of every task.
        reporter: told of every frame and of every task that ends.
        jobs: how many tasks run side by side.
        stop: set by somebody else to end early.
        derain: does one task and fills its report; None is `derain_video`, in this process.

    Returns:
        The exit code: 0 all done, 1 some failed or were incomplete, 130 or 143 stopped.
    """
    stop = stop or StopRequest()
    # By what was asked for, not by how many it came to: a folder may hold one video.
    several = len(tasks) > 1 or any(task.in_folder for task in tasks)
    if not tasks:
        reporter.say("No input falls to this part of the list; nothing is done.")
    results = _map(_Batch(options, reporter, stop, several, derain).run, tasks, jobs)
    if several:
        reporter.table(
            [(task.source, str(result)) for task, result in zip(tasks, results, strict=True)]
        )
    if stop.is_set():
        return stop.exit_code
    return 1 if {"failed", "incomplete"} & set(results) else 0


def _is_done(task: Task) -> bool:
    """Whether the output is there already; the input itself, in its own folder, is none."""
    own = file_identity(Path(task.source))
    return Path(task.target).is_file() and file_identity(Path(task.target)) != own


def _map(one: Callable[[Task], Outcome], tasks: list[Task], jobs: int) -> list[Outcome]:
    if jobs <= 1 or len(tasks) <= 1:
        return [one(task) for task in tasks]
    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, tasks))
