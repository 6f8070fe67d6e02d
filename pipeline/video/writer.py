"""Writing one video with PyAV: a source's own planes plus what changed, encoded at its time stamps.

The choice of an encoder is in encoders.py, the output file and its other streams in muxer.py.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.format import Flags
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from derain.models.errors import VideoError
from derain.models.log import Log, say_nothing
from derain.pipeline.video.color import RGB_MATRIX, Color, Residual, add_residual
from derain.pipeline.video.copying.film import carried, losses, marks_for, says_full_range
from derain.pipeline.video.copying.hdr_units import UnitWriter
from derain.pipeline.video.copying.kept import lasting
from derain.pipeline.video.copying.track_header import TrackMarks, template
from derain.pipeline.video.encoders import Encoding, choose, configure, other_codec, target_color
from derain.pipeline.video.frames import Frame, Video, is_rgb, plane, reformat, to_limited
from derain.pipeline.video.muxer import Muxer
from derain.pipeline.video.output_files import OutputFiles, written_files
from derain.pipeline.video.paths import require_other_file
from derain.pipeline.video.reader import VideoReader
from derain.pipeline.video.timestamps import FrameNumbers

PLAIN = Encoding()
MOST_HELD = 20  # frames; no encoder lets a frame be shown so many steps after it is decoded


class VideoWriter:
    """Write one video: frames with their time stamps, packets of other streams as they are.

    Args:
        target: the file to make; it appears only when all is done, a part file before.
        video: what to write; usually a reader's.
        encoding: codec, quality and options; by default what the container usually has.
        source: a reader whose other streams, metadata and chapters go along.
        overwrite: replace a file that is there.
        format: FFmpeg's name of the container where the ending does not say it.
        files: of the target, where they are locked already.
        notice: told what had to be done differently.

    Raises:
        VideoError: the target cannot be made, or the codec is not for it.
    """

    def __init__(
        self,
        target: str | Path,
        video: Video,
        encoding: Encoding = PLAIN,
        *,
        source: VideoReader | None = None,
        overwrite: bool = False,
        format: str | None = None,
        files: OutputFiles | None = None,
        notice: Log = say_nothing,
    ) -> None:
        if source is not None:
            require_other_file(source.name, written_files(target))
        self.video = video
        self.muxer = Muxer(target, overwrite=overwrite, format=format, files=files, notice=notice)
        try:
            supported = self.muxer.supported
            self.choice = choose(encoding, video, self.muxer.kind, supported, notice)
            self.color = target_color(video, self.choice.edit_format)
            self._limits = self._is_limited()
            self.marks = self.muxer.extras.marks = self._choose_marks()
            names = carried(video, self.choice.codec, self.marks)
            self._units = UnitWriter(names, video.unkept, video.ambient, notice)
            self._check_header()
            self.stream = self._add_stream()
            if source is not None:
                if self.muxer.is_file and not self.muxer.kind.any_start:
                    source.start_at_zero(self.muxer.kind.counts_sound)
                self.muxer.add_others(source, self._new_stream)
        except BaseException:
            self.muxer.abandon()
            raise
        self._numbers = self._frame_numbers()
        self._last_dts: int | None = None
        self._last_shown: Fraction | None = None  # seconds, of the frame given last
        self._longest_step = Fraction(1)  # seconds between two frames, one at least
        self._scaler, self._packer = VideoReformatter(), VideoReformatter()
        self._limiter = VideoReformatter()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def _check_header(self) -> None:
        """Write a header to memory: some containers refuse a codec only then."""
        muxer = self.muxer
        if not muxer.is_file:
            return
        options = dict(muxer.kind.part_options)
        name = muxer.container.format.name
        trial = av.open(BytesIO(), "w", format=name, container_options=options)
        try:
            self._new_stream(trial)
            trial.start_encoding()
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(
                f"'{self.choice.codec}' does not go into {muxer.kind.suffix}; "
                f"{other_codec(muxer.kind)}."
            ) from error
        finally:
            with suppress(av.FFmpegError, ValueError):  # some refuse to end without a frame
                trial.close()

    def _new_stream(self, container: OutputContainer) -> VideoStream:
        video, choice = self.video, self.choice
        like = self._template(self.marks)
        if like is None:
            stream = container.add_stream(choice.codec, rate=video.rate)
        else:
            stream = container.add_stream_from_template(like.streams.video[0])
            if Flags.global_header in Flags(container.format.flags):
                stream.codec_context.flags |= av.codec.context.Flags.global_header
        stream.codec_context.options = dict(choice.options)
        constant_rate = self.muxer.kind.constant_rate
        if self._limits:
            video = replace(video, color=replace(video.color, full_range=False))
        configure(stream.codec_context, video, choice.encode_format, constant_rate)
        if choice.codec == "libx265" and self.muxer.kind.hevc_tag is not None:
            stream.codec_context.codec_tag = self.muxer.kind.hevc_tag
        stream.time_base = 1 / video.rate if constant_rate else video.ticks
        if self.muxer.kind.unit is not None:
            stream.time_base = stream.codec_context.time_base = self.muxer.kind.unit
        # How long the last frame stays is told by nothing else.
        stream.codec_context.flags |= av.codec.context.Flags.frame_duration
        if self._units.names:
            stream.codec_context.flags |= av.codec.context.Flags.copy_opaque
        # Frames side by side, as the ffmpeg program does it; slices of one cost size and time.
        stream.codec_context.thread_type = "AUTO"
        if like is not None:
            stream.codec_context.open(strict=False)  # PyAV leaves that to others, with a template
        return stream

    def _frame_numbers(self) -> FrameNumbers | None:
        """What counts frames, where their own times are finer than what is written."""
        video, kind = self.video, self.muxer.kind
        if kind.unit is not None:
            # Readers of GIF take what is shown for less than two units for shown for ten.
            return FrameNumbers(1 / kind.unit, leaps=True, least=2)
        if kind.constant_rate:
            return FrameNumbers(video.rate, leaps=False)
        coarse = self.stream.codec_context.time_base > video.ticks
        return FrameNumbers(video.rate, leaps=True) if coarse else None

    def _is_limited(self) -> bool:
        """Whether the full range becomes the limited one, which readers expect unsaid."""
        codec, kind = self.choice.codec, self.muxer.kind
        if not self.color.full_range or is_rgb(self.choice.edit_format):
            return False
        if says_full_range(codec, kind):
            return False
        self.muxer.notice(
            f"{codec} into {kind.suffix} cannot say that luma has its full range; the new film has "
            "the limited one, which looks alike."
        )
        return True

    def _choose_marks(self) -> TrackMarks:
        """What the new header says of the film that PyAV cannot set."""
        marks = marks_for(self.video, self.muxer.kind)
        return marks if self._template(marks) is not None else TrackMarks()

    def _template(self, marks: TrackMarks) -> InputContainer | None:
        """What a stream is made like, so that its header says these; None where it cannot."""
        size = (self.video.width, self.video.height)
        return template(marks, self.choice.codec, size) if marks else None

    def _add_stream(self) -> VideoStream:
        video, kind = self.video, self.muxer.kind
        try:
            stream = self._new_stream(self.muxer.container)
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(
                f"'{self.choice.codec}' does not go into {kind.suffix}; {other_codec(kind)}."
            ) from error
        if video.display_matrix and not kind.rotation:
            self.muxer.notice(
                f"{kind.suffix} cannot say that its video is turned, so players show it as the "
                "camera stored it; an .mp4 or .mkv output is shown upright."
            )
        if video.display_matrix:
            stream.set_display_matrix(list(video.display_matrix))
        for text in losses(video, self.choice.codec, kind, self.marks, self._units.names):
            self.muxer.notice(text)
        stream.metadata.update(self.muxer.without_timecode(lasting(video.metadata)))
        if video.disposition:
            stream.disposition = video.disposition
        return stream

    def write(
        self,
        frame: Frame,
        residual: NDArray[np.float32] | Residual | None = None,
        key: bool = False,
    ) -> None:
        """Encode a frame, plus a residual of its RGB ((H, W, 3) float32), at the frame's time.

        `key` asks for a key frame, so that a new encoder can go on from here.

        Args:
            frame: of the source, with its time stamp.
            residual: (H, W, 3) float32, RGB, added to the frame's own planes; None adds nothing.
            key: ask for a key frame, so that a new encoder can go on from here.
        """
        size = (self.video.width, self.video.height)
        image = changed_image(
            frame, residual, self.choice.edit_format, self.color, self._scaler, size
        )
        self._units.attach(image, frame.units)
        lasts = (frame.image.duration or 0) * (frame.image.time_base or 0) / frame.time_base
        self._encode(image, frame.pts, frame.time_base, key, round(lasts))

    def write_rgb(self, rgb: NDArray[np.uint8], pts: int) -> None:
        """Encode an (H, W, 3) uint8 RGB image; `pts` counts `video.ticks`."""
        image = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(rgb), format="rgb24")
        image = reformat(image, self.choice.edit_format, self.color, self._scaler)
        self._encode(image, pts, self.video.ticks, False)

    def _encode(
        self, image: av.VideoFrame, pts: int, time_base: Fraction, key: bool, duration: int = 0
    ) -> None:
        choice = self.choice
        if self._limits:
            image = to_limited(image, self.color, self._limiter)
        if choice.edit_format != choice.encode_format:
            color = replace(self.color, full_range=self.color.full_range and not self._limits)
            image = reformat(image, choice.encode_format, color, self._packer)
        image.pts, image.time_base, image.duration = pts, time_base, duration
        # ProRes takes them from here, not from the encoder's settings.
        image.color_primaries, image.color_trc = self.color.primaries, self.color.transfer
        shown = pts * time_base
        if self._numbers is not None:
            lasts = round(duration * time_base / self._numbers.step)
            image.pts, image.time_base = self._numbers.place(shown), self._numbers.step
            image.duration = max(self._numbers.least, lasts if self._numbers.leaps else 1)
        if self._last_shown is not None:
            self._longest_step = max(self._longest_step, shown - self._last_shown)
        self._last_shown = shown
        image.pict_type = 1 if key else 0  # never the source's, which would fix the new one's
        self._submit(image)

    def _submit(self, image: av.VideoFrame | None) -> None:
        try:
            packets = self.stream.encode(image)
        except av.FFmpegError as error:
            raise VideoError(
                f"{self.choice.codec} fails ({error.strerror}); choose another --codec."
            ) from error
        for packet in packets:
            self._check_times(packet)
            self.muxer.write_video(self._units.put_into(packet))

    def _check_times(self, packet: av.Packet) -> None:
        """Mend decode times that cannot be: x265 leaves them unset in streams of a frame or two.

        What stands there then is any number, so only what an encoder may do is believed.
        """
        if packet.pts is None or not packet.time_base:
            return
        late = -1 if packet.dts is None else (packet.pts - packet.dts) * packet.time_base
        if not 0 <= late <= MOST_HELD * self._longest_step:
            before = packet.pts - 1 if self._last_dts is None else self._last_dts
            packet.dts = min(packet.pts, before + 1)
        self._last_dts = packet.dts

    def copy(self, packet: av.Packet) -> None:
        """Write a packet of another stream of the source."""
        self.muxer.write_other(packet)

    def finish(self) -> None:
        """Write what the encoder still holds and close the part file, leaving it a part file."""
        self._submit(None)
        numbers = self._numbers
        if numbers is not None and numbers.farthest > numbers.step / (1 if numbers.leaps else 2):
            why = (
                f"{self.choice.codec} counts frames or coarse units of time"
                if numbers.leaps
                else f"{self.muxer.kind.suffix} shows all frames equally long"
            )
            self.muxer.notice(
                f"{why}: some are due up to {float(numbers.farthest):.2f} s from their time; "
                "H.264 in .mkv keeps it."
            )
        self.muxer.close()

    def close(self) -> Path:
        """Finish the file and move it into place."""
        self.finish()
        return self.muxer.publish()

    def abandon(self) -> None:
        """Give up: close and delete the part file."""
        self.muxer.abandon()


def changed_image(
    frame: Frame,
    residual: NDArray[np.float32] | Residual | None,
    format: str,
    color: Color,
    scaler: VideoReformatter,
    size: tuple[int, int],
) -> av.VideoFrame:
    """A frame's image plus a change, in the planes of the file to be written.

    Args:
        frame: as it was read, of any size and format.
        residual: the change of its RGB, (H, W, 3) of `size`; None for none.
        format: pixel format to edit in, one of `EDITABLE`.
        color: of what is written, with a known matrix.
        scaler: kept between the calls for frames of one kind.
        size: width and height of what is written.
    """
    yuv = frame.color if frame.color.matrix != RGB_MATRIX else color
    image = reformat(frame.image, format, yuv, scaler, size)
    if residual is not None:
        # The decoder still refers to its own images: change a copy.
        image.make_writable()
        planes = [plane(image, i) for i in range(min(3, len(image.planes)))]
        add_residual(planes, residual, color, image.format.components[0].bits)
    return image
