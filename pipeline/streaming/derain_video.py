"""`derain_video`: one input, from the checks before it to the report after it.

The streaming loop is run.py's, many inputs and signals are jobs.py's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from derain.models import VideoModel
from derain.models.errors import DerainError
from derain.pipeline.streaming import checkpoints
from derain.pipeline.streaming.model_loading import open_derainer
from derain.pipeline.streaming.options import Interrupted, Report, VideoOptions
from derain.pipeline.streaming.runner import Run
from derain.pipeline.streaming.shot_runner import Shots
from derain.pipeline.streaming.temporal_smoothing import load_chosen
from derain.pipeline.video import Video, VideoReader
from derain.pipeline.video.muxer import is_file, part_name

__all__ = ["Interrupted", "Report", "VideoOptions", "derain_video"]

DEFAULTS = VideoOptions()


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
        source: a path, `-`, a URL, or anything else FFmpeg opens.
        target: the file to make; it appears when all is done. `-` is standard output.
        options: see `VideoOptions`.
        model: a model under the contract, instead of the one that `options` name.
        progress: called after every encoded frame, from the encoder's thread.
        stop: set by somebody else to end early.
        report: filled as it goes, for callers that look at it meanwhile.

    Returns:
        The counts of frames, shots and damage, and sentences on what was done differently.

    Raises:
        DerainError: with one sentence that says what to do next.
        Interrupted: `stop` was set; what is done so far is in the part file.
    """
    report = report or Report(str(source), str(target))
    began = time.monotonic()
    try:
        _check(source, target, options)
        checkpoint = _find_checkpoint(str(source), Path(target), options, report)
        if report.skipped:
            return report
        loaded = model if model is not None else load_chosen(options)
        derainer = open_derainer(options, loaded, report.notice)
        with VideoReader(
            source,
            format=options.input_format,
            options=options.input_options,
            interlaced=options.interlaced,
            start=options.start,
            end=options.end,
            warm_up=options.warm_up,
            hwaccel=options.hwaccel,
            notice=report.notice,
        ) as reader:
            report.total = _expected(reader.video, options)
            run = Run(reader, Shots(derainer), options, report, progress, stop, checkpoint)
            run.all()
            report.damaged = reader.damaged
            if options.start is None and options.end is None:
                _explain_count(reader.video, report)
            if report.unchanged and max(options.streaks, options.haze) >= 0.5:
                report.notice(
                    "Next to nothing was changed: no falling rain is seen in it. Drops on glass "
                    "and puddles are none; derain preview shows a film before the work."
                )
    except OSError as error:
        raise DerainError(str(error)) from error
    report.seconds = time.monotonic() - began
    return report


def _check(source: str | Path, target: str | Path, options: VideoOptions) -> None:
    if Path(source).exists() and Path(target).exists() and Path(source).samefile(target):
        raise DerainError(f"{target} is the input itself; choose another output.")
    for name, value, allowed in (
        ("compare", options.compare, (None, "side", "wipe")),
        ("interlaced", options.interlaced, ("auto", "keep")),
        ("scene-reset", options.scene_reset, ("auto", "off")),
    ):
        if value not in allowed:
            raise DerainError(f"--{name} is {' or '.join(filter(None, allowed))}, not '{value}'.")
    if options.start is not None and options.end is not None and options.start >= options.end:
        raise DerainError("--end lies before --start; swap them.")


def _expected(video: Video, options: VideoOptions) -> int:
    """Frames to come, for the bar."""
    if (options.start is None and options.end is None) or video.duration is None:
        return video.frames
    seconds = min(options.end or video.duration, video.duration) - (options.start or 0)
    return max(1, round(seconds * video.rate))


def _explain_count(video: Video, report: Report) -> None:
    """Say why there are fewer frames than the file declares."""
    if video.hidden:
        report.notice(
            f"The file's edit list hides {video.hidden} of its {video.frames + video.hidden} "
            "frames, as players do; they are left out."
        )
    missing = video.frames - report.frames_in
    if video.counted and missing > max(1, video.frames // 100):
        report.notice(
            f"The file declares {video.frames} frames; {report.frames_in} can be decoded."
        )


def _find_checkpoint(
    source: str, target: Path, options: VideoOptions, report: Report
) -> checkpoints.Checkpoint | None:
    """The checkpoint to go on from, where there is one and the user asks for it."""
    if not is_file(str(target)):
        if options.resume:
            raise DerainError("Only a file can be resumed; leave --resume out.")
        return None
    again = checkpoints.comes_again(source)
    if options.resume and not again:
        raise DerainError(f"{source} never gives the same frames again; leave --resume out.")
    part = part_name(target)
    saved = checkpoints.checkpoint_file(part)
    if not options.resume:
        if part.exists() and not options.overwrite:
            way = "--resume goes on" if again else "rename it to keep it"
            raise DerainError(f"{part} of an interrupted run is there; {way}, -y starts again.")
        return None
    if saved.exists() and (part.exists() or checkpoints.previous_part(part).exists()):
        return checkpoints.load(saved, checkpoints.identity(source, options.forming()))
    report.skipped = target.exists() and not options.overwrite
    return None
