"""The streaming loop: decode, network and encode in three threads with short queues between them.

`Shots` holds the order of frames (one in, one out, with its own time stamp); `derain_video` runs a
file through it. Reading and writing are video.py's, cuts scenes.py's, many files jobs.py's.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Full, Queue
from typing import Any

import numpy as np
import torch
from derain.models import Derainer, load_model
from derain.models.contract import DerainError, Output
from numpy.typing import NDArray

from .video import Encoding, Frame, VideoReader, VideoWriter

QUEUE = 4  # frames between two threads: enough to smooth, little enough for 8K


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """What a user can ask of `derain video`; the command line's options have the same names."""

    model: str = "swift"
    weights: str | None = None
    device: str = "auto"
    precision: str = "auto"
    streaks: float = 1.0
    haze: float = 1.0
    encoding: Encoding = Encoding()  # noqa: RUF009 (frozen)
    overwrite: bool = False


@dataclass(slots=True)
class Report:
    """What became of one file."""

    source: str
    target: str
    frames_in: int = 0
    frames_out: int = 0
    total: int = 0  # frames the file declares; 0 where nobody knows
    shots: int = 0
    repeats: int = 0
    damaged: int = 0
    seconds: float = 0.0
    notices: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Finished:
    """A frame on its way to the encoder."""

    frame: Frame
    change: NDArray[np.float32]  # (H, W, 3): what the network changed, in RGB
    output: Output | None = None


class Shots:
    """Frames in, as many finished frames out, in order: the network's window is its only delay."""

    def __init__(self, derainer: Derainer) -> None:
        self.derainer = derainer
        self.shots = 0
        self._waiting: deque[tuple[Frame, torch.Tensor]] = deque()

    def push(self, frame: Frame, *, cut: bool = False) -> list[Finished]:
        """Feed a frame whose `rgb` is filled; `cut` says that it begins a new shot."""
        done = self.flush() if cut else []
        self.shots += not self._waiting and (cut or self.shots == 0)
        assert frame.rgb is not None
        tensor = torch.from_numpy(frame.rgb).permute(2, 0, 1).to(self.derainer.device)
        self._waiting.append((frame, tensor))
        output = self.derainer.push(tensor)
        if output is not None:
            done.append(self._finish(output))
        return done

    def flush(self) -> list[Finished]:
        """End the shot: the frames that still wait, in order."""
        return [self._finish(output) for output in self.derainer.flush()]

    def _finish(self, output: Output) -> Finished:
        frame, tensor = self._waiting.popleft()
        change = (output.image[0] - tensor).permute(1, 2, 0).cpu().numpy()
        frame.rgb = None
        return Finished(frame, change, output)


class Stopped(Exception):  # noqa: N818 (not an error)
    """Another thread failed or the user stopped: leave quietly."""


class Channel:
    """A short queue that all threads leave at once when `stop` is set."""

    def __init__(self, stop: threading.Event, size: int = QUEUE) -> None:
        self.queue: Queue[Any] = Queue(size)
        self.stop = stop

    def put(self, item: Any) -> None:
        """Put, waiting for room; Stopped when all is over."""
        while not self.stop.is_set():
            try:
                return self.queue.put(item, timeout=0.2)
            except Full:
                continue
        raise Stopped

    def __iter__(self) -> Iterator[Any]:
        """Items until None; Stopped when all is over."""
        while True:
            try:
                item = self.queue.get(timeout=0.2)
            except Empty:
                if self.stop.is_set():
                    raise Stopped from None
                continue
            if item is None:
                return
            yield item


class Worker(threading.Thread):
    """A thread that remembers what it failed with and then stops the others."""

    def __init__(self, name: str, run: Callable[[], None], stop: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self._work, self._stop_event = run, stop
        self.error: BaseException | None = None

    def run(self) -> None:
        """Work until done or failed."""
        try:
            self._work()
        except Stopped:
            pass
        except BaseException as error:
            self.error = error
            self._stop_event.set()


def derain_video(
    source: str | Path,
    target: str | Path,
    options: VideoOptions = VideoOptions(),
    *,
    model: torch.nn.Module | None = None,
    progress: Callable[[Report], None] = lambda report: None,
    stop: threading.Event | None = None,
) -> Report:
    """Remove the rain from one video file; everything else of the file stays as it was.

    Args:
        source: anything FFmpeg opens.
        target: the file to make; it appears when all is done.
        options: see `VideoOptions`.
        model: a model under the contract, instead of the one that `options` name.
        progress: called after every frame that is encoded, from the encoder's thread.
        stop: set by somebody else to end early: KeyboardInterrupt is raised, the part file stays.

    Raises:
        DerainError: with one sentence that says what to do next.
    """
    if Path(source).exists() and Path(target).exists() and Path(source).samefile(target):
        raise DerainError(f"{target} is the input itself; choose another output.")
    report = Report(str(source), str(target))
    began = time.monotonic()
    model = model if model is not None else load_model(options.model, options.weights)
    derainer = Derainer(
        model,
        device=options.device,
        precision=options.precision,
        streaks=options.streaks,
        haze=options.haze,
        notice=report.notices.append,
    )
    try:
        with VideoReader(source, notice=report.notices.append) as reader:
            report.total = reader.video.frames
            writer = VideoWriter(
                target,
                reader.video,
                options.encoding,
                source=reader,
                overwrite=options.overwrite,
                notice=report.notices.append,
            )
            with writer:
                _run(reader, Shots(derainer), writer, report, progress, stop)
                if not report.frames_out:
                    raise DerainError(f"No frame of {source} can be decoded; check the file.")
    except OSError as error:
        raise DerainError(str(error)) from error
    report.seconds = time.monotonic() - began
    return report


def _run(
    reader: VideoReader,
    shots: Shots,
    writer: VideoWriter,
    report: Report,
    progress: Callable[[Report], None],
    asked_to_stop: threading.Event | None,
) -> None:
    """The three threads; the network's is the caller's."""
    stop = threading.Event()
    decoded, finished = Channel(stop), Channel(stop)

    def decode() -> None:
        for item in reader:
            if isinstance(item, Frame):
                reader.to_rgb(item)
            decoded.put(item)
        decoded.put(None)

    def encode() -> None:
        for item in finished:
            if isinstance(item, Finished):
                writer.write(item.frame, item.change)
                report.frames_out += 1
                progress(report)
            else:
                writer.copy(item)

    def work() -> None:
        for item in decoded:
            if asked_to_stop is not None and asked_to_stop.is_set():
                raise KeyboardInterrupt
            if isinstance(item, Frame):
                report.frames_in += 1
                for done in shots.push(item):
                    finished.put(done)
            else:
                finished.put(item)
        for done in shots.flush():
            finished.put(done)
        finished.put(None)

    workers = [Worker("decode", decode, stop), Worker("encode", encode, stop)]
    for worker in workers:
        worker.start()
    try:
        work()
        workers[1].join()
    except Stopped:
        pass
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    report.damaged, report.shots = reader.damaged, shots.shots
    for worker in workers:
        if worker.error is not None:
            raise worker.error
