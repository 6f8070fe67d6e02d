"""`derain_video`: one input, from the checks before it to the report after it.

The streaming loop is in runner.py, many inputs and signals are in inputs.py.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

from derain.models import VideoModel
from derain.models.errors import DerainError
from derain.models.log import Log
from derain.models.runtime.tile_planner import is_exhausted
from derain.pipeline.storage.stores import require_local
from derain.pipeline.streaming import checkpoints
from derain.pipeline.streaming.model_loading import open_derainer
from derain.pipeline.streaming.options import Interrupted, Report, VideoOptions
from derain.pipeline.streaming.runner import Run
from derain.pipeline.streaming.shot_runner import open_shots
from derain.pipeline.streaming.temporal_smoothing import load_chosen
from derain.pipeline.video import Video, VideoReader
from derain.pipeline.video.output_files import OutputFiles, output_files, written_files
from derain.pipeline.video.paths import require_other_file

__all__ = ["Interrupted", "Report", "VideoOptions", "derain_video"]

DEFAULTS = VideoOptions()


class ReaderSettings(TypedDict):
    """Arguments of `VideoReader` that options decide."""

    format: str | None
    options: dict[str, str]
    interlaced: str
    start: float | None
    end: float | None
    warm_up: int
    hwaccel: str | None
    allow_network_playlists: bool


def derain_video(
    source: str | Path,
    target: str | Path,
    options: VideoOptions = DEFAULTS,
    *,
    model: VideoModel | None = None,
    progress: Callable[[Report], None] = lambda report: None,
    stop: threading.Event | None = None,
    report: Report | None = None,
) -> Report:
    """Remove the rain from one video; everything else of the file stays as it was.

    Args:
        source: a path, `-` for standard input, a URL, `%05d.png`, or anything else FFmpeg opens.
        target: the file to make; it appears when all is done. `-` is standard output.
        options: network, dials, encoder, times; see `VideoOptions`.
        model: under the contract of `VideoModel`, instead of the one that `options` name.
        progress: called with the report after every encoded frame, from the encoder's thread.
        stop: set by somebody else to end early, after the frames on their way.
        report: a fresh one, filled as it goes, for callers that look at it meanwhile.

    Returns:
        The counts of frames, shots and damage, and sentences on what was done differently.

    Raises:
        DerainError: it cannot be done; one sentence says why and what to do next.
        Interrupted: `stop` was set; what is done so far is in the part file.
    """
    report = report or Report(str(source), str(target))
    began = time.monotonic()
    files: OutputFiles | None = None
    try:
        _check(options)
        files = _claim(str(source), str(target))
        checkpoint = _find_checkpoint(str(source), files, options)
        if options.resume and checkpoint is None and _is_there(files) and not options.overwrite:
            report.skipped = True
            return report
        loaded = model if model is not None else load_chosen(options)
        derainer = open_derainer(options, loaded, report.notice, bool(options.layers))
        with open_video(source, options, report.notice) as reader:
            report.total = _expected(reader.video, options)
            shots = open_shots(derainer, reader.video, options)
            run = Run(reader, shots, options, report, progress, stop, checkpoint, files)
            run.all()
            report.damaged = reader.damaged
            if reader.missing:
                report.incomplete = True
                report.notice(reader.missing)
            _explain(reader.video, options, report)
    except Exception as error:
        sentence = _as_sentence(error, source)
        if sentence is None:
            raise
        raise DerainError(sentence) from error
    finally:
        if files is not None:
            files.release()
    report.seconds = time.monotonic() - began
    return report


def _as_sentence(error: Exception, source: str | Path) -> str | None:
    """What to tell of an error that is no fault of ours; None where it is, or tells it itself."""
    if isinstance(error, DerainError):
        return None
    if is_exhausted(error):
        return (
            f"There is not enough memory for {source}; use --tile 512, fewer --jobs, or a smaller "
            "video or image."
        )
    return str(error) if isinstance(error, OSError) else None


def _check(options: VideoOptions) -> None:
    for name, value, allowed in (
        ("compare", options.compare, (None, "side", "wipe")),
        ("interlaced", options.interlaced, ("auto", "keep")),
        ("scene-reset", options.scene_reset, ("auto", "off")),
    ):
        if value not in allowed:
            raise DerainError(f"--{name} is {' or '.join(filter(None, allowed))}, not '{value}'.")
    if options.start is not None and options.end is not None and options.start >= options.end:
        raise DerainError("--end lies before --start; swap them.")


def open_video(
    source: str | Path, options: VideoOptions, notice: Log, threads: int | None = None
) -> VideoReader:
    """A reader of a source, as options say.

    Args:
        source: see `derain_video`.
        options: see `VideoOptions`.
        notice: told what was done differently.
        threads: of the decoder; None chooses.
    """
    return VideoReader(source, threads=threads, notice=notice, **reader_settings(options))


def reader_settings(options: VideoOptions) -> ReaderSettings:
    """What options say of how a source is read, as `VideoReader` takes it."""
    return {
        "format": options.input_format,
        "options": options.input_options,
        "interlaced": options.interlaced,
        "start": options.start,
        "end": options.end,
        "warm_up": options.warm_up,
        "hwaccel": options.hwaccel,
        "allow_network_playlists": options.allow_network_playlists,
    }


def _expected(video: Video, options: VideoOptions) -> int:
    """Frames to come, for the bar."""
    if (options.start is None and options.end is None) or video.duration is None:
        return video.frames
    seconds = min(options.end or video.duration, video.duration) - (options.start or 0)
    return max(1, round(seconds * video.rate))


def _explain(video: Video, options: VideoOptions, report: Report) -> None:
    """Say why there are fewer frames than the file declares, and that nothing was to be done."""
    if report.unchanged and max(options.streaks, options.haze) >= 0.5:
        report.notice(
            f"Next to nothing was changed: at most {report.changed_most:.2%} of the image was "
            "taken for falling rain. Without rain, and with drops on glass or puddles alone, that "
            "is right; faint streaks may need --boldness 0.8 or --quality best, which "
            "derain preview shows in seconds."
        )
    if options.start is not None or options.end is not None:
        return
    if video.hidden:
        report.notice(
            f"The file's edit list hides {video.hidden} of its {video.frames + video.hidden} "
            "frames, as players do; they are left out."
        )
    missing = video.frames - report.frames_in
    if video.counted and not report.incomplete and missing > max(1, video.frames // 100):
        report.notice(
            f"The file declares {video.frames} frames; {report.frames_in} can be decoded."
        )


def _claim(source: str, target: str) -> OutputFiles | None:
    """The files of the output, locked, none of which is read from."""
    require_local(target, "add --workers 1, which uploads the film when it is done")
    require_other_file(source, written_files(target))
    files = output_files(target)
    if files is not None:
        files.lock()
    return files


def _is_there(files: OutputFiles | None) -> bool:
    return files is not None and files.target.exists()


def _find_checkpoint(
    source: str, files: OutputFiles | None, options: VideoOptions
) -> checkpoints.Checkpoint | None:
    """The checkpoint to go on from, where there is one and the user asks for it."""
    if files is None:
        if options.resume:
            raise DerainError("Only a file can be resumed; leave --resume out.")
        return None
    again = checkpoints.is_replayable(source)
    if options.resume and not again:
        raise DerainError(f"{source} never gives the same frames again; leave --resume out.")
    if not options.resume:
        left = files.leftover()
        if left is not None and not options.overwrite:
            way = "--resume goes on" if again else "rename it to keep it"
            raise DerainError(f"{left} of an interrupted run is there; {way}, -y starts again.")
        return None
    if files.checkpoint.exists() and (files.part.exists() or files.previous.exists()):
        fingerprint = checkpoints.fingerprint_of(source, options.output_settings())
        return checkpoints.load(files.checkpoint, fingerprint)
    return None
