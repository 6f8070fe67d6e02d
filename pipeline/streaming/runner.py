"""One input on its way: decode, flow, network and encode in four threads with short queues between.

The order of frames within the network's window is in shot_runner.py, reading and writing are in
video/, what is saved to go on from checkpoints.py's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from derain.models.errors import DerainError
from derain.models.runtime.preparation import Prepared
from derain.pipeline.streaming import checkpoints
from derain.pipeline.streaming.compare import compare_frames
from derain.pipeline.streaming.options import CHANGED, Interrupted, Report, VideoOptions
from derain.pipeline.streaming.shot_detection import ShotDetector
from derain.pipeline.streaming.shot_runner import Finished, ShotPreparer, Shots
from derain.pipeline.streaming.threads import Channel, Stopped, Worker
from derain.pipeline.video import Frame, Video, VideoReader, VideoWriter
from derain.pipeline.video.color import to_bytes
from derain.pipeline.video.frames import is_turned, upright
from derain.pipeline.video.output_files import OutputFiles

AHEAD = 2  # frames between decoder, flow and network: they are kept as floats


def output_video(video: Video, options: VideoOptions) -> Video:
    """What is written for a video that is read: deinterlaced, and as wide as a comparison is."""
    if options.interlaced != "keep":
        video = replace(video, interlaced=False)
    if options.compare:
        # The captions must stand upright: the frame is turned here, not by the player.
        if is_turned(video.display_matrix):
            aspect = 1 / video.aspect if video.aspect else None
            video = replace(video, width=video.height, height=video.width, aspect=aspect)
        # Dolby Vision and HDR10+ say of each frame what is no longer so.
        video = replace(video, display_matrix=None, dolby_vision=None, carried=frozenset())
    if options.compare == "side":
        video = replace(video, width=2 * video.width)
    return video


class FrameMarker(Protocol):
    """What says where shots begin and which frames repeat: a `ShotDetector`, or a plan."""

    def mark(self, frame: Frame) -> None:
        """Set `frame.cut` and `frame.repeat`."""


class Run:
    """One input on its way through the four threads; the network's thread is the caller's."""

    def __init__(
        self,
        reader: VideoReader,
        shots: Shots,
        options: VideoOptions,
        report: Report,
        progress: Callable[[Report], None],
        asked: threading.Event | None,
        checkpoint: checkpoints.Checkpoint | None,
        files: OutputFiles | None,
        detector: FrameMarker | None = None,
        video_only: bool = False,
    ) -> None:
        self.reader, self.shots, self.options = reader, shots, options
        self.report, self.progress, self.files = report, progress, files
        self.asked = asked or threading.Event()
        self.stop = threading.Event()
        # A source may be silent for long; who asks for the end must not wait for its next frame.
        self.prepared = Channel(self.stop, alarm=self.asked, length=AHEAD)
        self.decoded, self.finished = Channel(self.stop, length=AHEAD), Channel(self.stop)
        self.from_checkpoint = checkpoint
        self.final: checkpoints.Checkpoint | None = None  # where the user stopped
        self.came = 0  # frames that were decoded and are to be written
        self.first = 0  # index of the first frame that is written: behind those that warm up
        self.detector = detector or ShotDetector(scenes=options.scene_reset == "auto")
        self.video_only = video_only  # a segment: no other streams, no checkpoints

    def all(self) -> None:
        """Everything, from the part file to the file in its place."""
        self.writer = self._open_writer()
        muxer = self.writer.muxer
        self.saver: checkpoints.Saver | None = None
        again = checkpoints.is_replayable(self.reader.name)
        if self.files is not None and again and not self.video_only:
            settings = self.options.output_settings()
            fingerprint = checkpoints.fingerprint_of(self.reader.name, settings)
            seconds = self.options.checkpoint_seconds
            self.saver = checkpoints.Saver(self.files, fingerprint, seconds)
            muxer.on_packet = self.saver.packet
        workers = [
            Worker("decode", self._decode, self.stop),
            Worker("flow", self._prepare, self.stop),
            Worker("encode", self._encode, self.stop),
        ]
        try:
            for worker in workers:
                worker.start()
            self._watch(workers)
            if self.final is not None:
                self._leave_part(self.final)
            self.writer.finish()
            self._check_count()
            muxer.publish()
        except Interrupted:
            raise
        except BaseException as error:
            self._fail(error)
        if self.saver is not None:
            self.saver.clear()

    def _watch(self, workers: list[Worker]) -> None:
        """Do the network's work, then wait for the others and raise what they failed with."""
        try:
            self._work()
            workers[-1].join()
        except Stopped:
            pass
        finally:
            self.stop.set()
            for worker in workers:
                # A source that hangs must not hold up the end.
                worker.join(timeout=40)
        for worker in workers:
            if worker.error is not None:
                raise worker.error

    # The four threads

    def _decode(self) -> None:
        first = self.from_checkpoint.prime_from if self.from_checkpoint else 0
        for item in self.reader:
            if isinstance(item, Frame):
                if item.warm_up:
                    self.first = item.index + 1
                elif not item.context:
                    self.came += 1
                self.detector.mark(item)
                if (item.index >= first and not item.repeat) or self.options.compare:
                    self.reader.fill_rgb(item)
            self.decoded.put(item)
        self.decoded.put(None)

    def _prepare(self) -> None:
        preparer = ShotPreparer(self.shots.derainer, self.shots.matrix)
        for item in self.decoded:
            ready = preparer.take(item) if isinstance(item, Frame) else None
            self.prepared.put((item, ready))
        self.prepared.put(None)

    def _work(self) -> None:
        for entry in self.prepared:
            item, ready = entry or (None, None)
            if self.asked.is_set():
                # Before the place to go on from, the state is not the network's yet.
                going_on = self.from_checkpoint
                final = replace(going_on, final=True) if going_on else self.shots.snapshot(True)
                self.finished.put(final)
                break
            if not isinstance(item, Frame):
                self.finished.put(item)
                continue
            self._hand_over(self._feed(item, ready))
            settled = self.shots.can_snapshot and self.from_checkpoint is None
            if settled and self.saver is not None and self.saver.due:
                self.finished.put(self.saver.take(self.shots.snapshot))
        else:
            self._hand_over(self.shots.flush())
        self.finished.put(None)

    def _hand_over(self, done: list[Finished]) -> None:
        for each in done:
            if not self.options.layers:
                each.output = None  # five images and more, while the encoder may lag behind
            if not (each.frame.warm_up or each.frame.context):
                self.finished.put(each)

    def _feed(self, frame: Frame, prepared: Prepared | None) -> list[Finished]:
        at = self.from_checkpoint
        if at is not None and frame.index < at.next_in:
            self.shots.prime(frame, at)
            return []
        if at is not None:
            self.shots.restore(at)
            self.from_checkpoint = None
        if not (frame.warm_up or frame.context):
            self.report.frames_in = frame.index - self.first + 1
        done = self.shots.push(frame, prepared)
        self.report.shots, self.report.repeats = self.shots.count, self.shots.repeats
        return done

    def _encode(self) -> None:
        for item in self.finished:
            if isinstance(item, Finished):
                self._write(item)
                self.report.frames_out += 1
                self.report.measure(item.residual.share(CHANGED))
                self.progress(self.report)
            elif isinstance(item, checkpoints.Checkpoint):
                item.written = self.report.frames_out
                if item.final:
                    self.final = item
                elif self.saver is not None:
                    self.saver.wait_for_key(item)
            else:
                self.writer.copy(item)

    # Writing

    def _open_writer(self) -> VideoWriter:
        video, options = output_video(self.reader.video, self.options), self.options
        going_on, files = self.from_checkpoint, self.files
        overwrite = options.overwrite or options.resume
        if files is not None and going_on is not None and not files.previous.exists():
            files.part.rename(files.previous)
        elif files is not None and going_on is None and overwrite:
            files.remove_helpers()
        writer = VideoWriter(
            self.report.target,
            video,
            options.encoding,
            source=None if self.video_only else self.reader,
            overwrite=overwrite,
            format=options.format,
            files=files,
            notice=self.report.notice,
        )
        if files is not None and going_on is not None:
            writer.muxer.copy_part(files.previous, going_on.written, writer.stream)
            self.report.frames_out = self.report.resumed_at = going_on.written
        return writer

    def _write(self, item: Finished) -> None:
        frame = item.frame
        if self.options.layers and item.output is not None:
            from derain.pipeline.streaming.layer_images import write_layers

            write_layers(Path(self.options.layers), frame.index - self.first, item.output)
        if self.options.compare:
            rgb = self.reader.to_rgb(frame)
            before, after = (
                upright(to_bytes(each), self.reader.video.display_matrix)
                for each in (rgb, rgb + item.residual.whole())
            )
            both = compare_frames(before, after, self.options.compare)
            return self.writer.write_rgb(both, frame.pts)
        key = self.saver is not None and self.saver.wants_key(frame.pts * frame.time_base)
        self.writer.write(frame, item.residual, key=key)

    def _check_count(self) -> None:
        """Hold what was written against what came, before the part goes.

        A checkpoint is a file that others can write, and may leave out what lies in the middle.
        """
        if self.report.frames_out != self.came:
            if self.saver is not None:
                self.saver.files.checkpoint.unlink(missing_ok=True)
            raise DerainError(
                f"{self.came} frames came and {self.report.frames_out} went out, so "
                f"{self.report.target} was not made; use -y to start again."
            )

    # Ends that are not the end

    def _leave_part(self, final: checkpoints.Checkpoint) -> None:
        """The user stopped: a playable part file, and the state to go on from where one can."""
        self.writer.finish()
        muxer = self.writer.muxer
        text = f"Stopped after {self.report.frames_out} frames."
        if muxer.is_file and not self.report.frames_out:
            muxer.abandon()
        elif muxer.is_file:
            text += f" {muxer.part} plays up to there"
            if self.saver is not None:
                self.saver.save(final)
                text += "; --resume goes on from it"
            text += "."
        raise Interrupted(text)

    def _fail(self, error: BaseException) -> None:
        """Something broke: keep what was written where it can be gone on from."""
        muxer = self.writer.muxer
        keep = self.report.frames_out > 0
        if keep:
            with suppress(OSError, ValueError, DerainError):
                self.writer.finish()
        muxer.abandon(keep=keep)
        if not isinstance(error, (OSError, DerainError)):
            raise error
        folder = muxer.part.parent
        if muxer.is_file and not folder.is_dir():
            raise DerainError(f"The folder {folder} is gone; make it and begin again.") from error
        text = str(error)
        if keep and muxer.is_file and muxer.part.exists():
            text += f" What was done is in {muxer.part}"
            there = self.saver is not None and self.saver.files.checkpoint.exists()
            text += "; --resume goes on from it." if there else "."
        raise DerainError(text) from error
