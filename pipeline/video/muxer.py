"""The output file: its part file, the streams that are copied, interleaving, moving into place.

Encoding is in writer.py. Packets of other streams are copied as they are, never decoded; only text
subtitles change form where the container wants another (subtitles.py).
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
from av.video.stream import VideoStream

from derain.models.errors import VideoError
from derain.models.log import Log, say_nothing
from derain.pipeline.video.containers import EARLY_HEADER, NEED_PACKETS, PIPE, container_of
from derain.pipeline.video.copying.adding import Output, add_streams
from derain.pipeline.video.copying.gif_comment import add_comment
from derain.pipeline.video.copying.kept import lasting, losses
from derain.pipeline.video.copying.mp4_finalize import Extras, contents_of, remux
from derain.pipeline.video.copying.streams import (
    CopiedStream,
    Source,
    as_encoded,
    shifted,
)
from derain.pipeline.video.copying.trial import NewFilm
from derain.pipeline.video.fragments import FragmentTimes
from derain.pipeline.video.opening import is_cover
from derain.pipeline.video.output_files import OutputFiles, check_target, output_files
from derain.pipeline.video.paths import is_sequence, local
from derain.pipeline.video.timestamps import (
    TimestampLog,
    enforce_monotonic_dts,
    exact_timescale,
    in_units_of,
    stamp,
)

# Packets, and bytes, that may wait for their frame before they are written without it.
HELD, HELD_BYTES = 5000, 32 << 20
NOT_TAKEN = {errno.EINVAL, errno.EPERM}  # what muxers say of packets, not of the disk
MAKE_ROOM = "make room for it, or choose another place"
ADVICE = {
    errno.ENOSPC: MAKE_ROOM,
    errno.EFBIG: MAKE_ROOM,
    errno.EDQUOT: MAKE_ROOM,
    errno.EPIPE: "whatever read it has ended",
}


class Muxer:
    """One output file. Nothing stands under its name before `publish`.

    While it is written, the file is `NAME.part.SUFFIX`: fragmented MP4 (playable to its last
    fragment after a kill) for the MP4 family, else the container itself, flushed at each packet.
    Pipes, URLs and sequences are written directly.
    """

    def __init__(
        self,
        target: str | Path,
        *,
        overwrite: bool = False,
        format: str | None = None,
        files: OutputFiles | None = None,
        notice: Log = say_nothing,
    ) -> None:
        self.name, self.target, self.notice = str(target), Path(target), notice
        self.kind = container_of(self.name, format)
        if self.name != PIPE and "://" not in self.name:
            check_target(self.name, overwrite)
        self.files = files or output_files(target)
        self.is_file = self.files is not None
        self.part = self.files.part if self.files else self.target
        self.fragmented = self.is_file and self.kind.fragmented
        if is_sequence(self.name):
            format = format or "image2"
        if self.name == PIPE:
            format = format or "nut"
        options = {"flush_packets": "1", "max_interleave_delta": "1"}
        if self.is_file:
            options |= self.kind.part_options
        if self.files is not None:
            self.files.create(overwrite)
        where = "pipe:1" if self.name == PIPE else local(self.part)
        try:
            self.container = av.open(where, "w", format=format, container_options=options)
        except (av.FFmpegError, OSError, ValueError) as error:
            if self.files is not None:
                self.part.unlink(missing_ok=True)
                self.files.release()
            reason = getattr(error, "strerror", None) or str(error)
            raise VideoError(f"{self.name} cannot be made ({reason}); choose another.") from error
        self.supported = set(self.container.supported_codecs if self.kind.lists_codecs else ())
        self.copied: dict[int, CopiedStream] = {}  # by the number of the source's stream
        self.waiting: deque[av.Packet] = deque()  # for the frames of their time
        self.held = 0  # bytes of those
        self.times = FragmentTimes(self.kind.suffix, notice) if self.fragmented else None
        self.last: dict[int, Fraction] = {}
        self.on_packet: Callable[[av.Packet], None] = lambda packet: None
        self.refused: dict[int, int] = {}  # packets of the source's streams that do not go in
        self.extras = Extras()

    # Streams that come along

    def add_others(self, source: Source, new_video: NewFilm) -> None:
        """Take over metadata, chapters and all streams but the video from a VideoReader.

        Args:
            source: what they are taken from.
            new_video: adds the encoded film's stream to a container, for trials.
        """
        container = source.container
        if self.fragmented:
            scale = exact_timescale([source.stream, *source.others])
            self.container.container_options["movie_timescale"] = scale
            if source.late_video and not NEED_PACKETS & {s.name for s in source.others}:
                self.container.container_options.update(EARLY_HEADER)
        words = lasting(container.metadata)
        chapters = len(container.chapters())
        for text in losses(self.kind, words, chapters, source.stream, source.others):
            self.notice(text)
        words = self.without_timecode(words)
        self.extras.metadata |= words
        self.container.metadata.update(words)
        self.extras.chapters = shifted(container.chapters(), source.origin)
        if self.extras.chapters and not self.fragmented:
            self.container.set_chapters(self.extras.chapters)
        output = Output(
            self.container,
            self.kind,
            self.supported,
            self.fragmented,
            self.extras,
            new_video,
            self.notice,
        )
        self.copied = add_streams(output, source)

    def without_timecode(self, words: dict[str, str]) -> dict[str, str]:
        """Metadata for the part: FFmpeg makes a track of a time code, which the final file gets."""
        if not self.fragmented:
            return words
        codes = {k: v for k, v in words.items() if k.lower() == "timecode"}
        self.extras.metadata |= {k.lower(): v for k, v in codes.items()}
        return {k: v for k, v in words.items() if k not in codes}

    # Packets

    def write_video(self, packet: av.Packet) -> None:
        """Write an encoded packet, and before it what waits for its time."""
        if self.waiting:
            self._release(stamp(packet))
        written = self._mux(packet)
        if written is not None:
            self.on_packet(written)

    def write_other(self, packet: av.Packet) -> None:
        """Write a packet of another stream of the source; nothing where it is left out."""
        copied = self.copied.get(packet.stream_index)
        if copied is None:
            return
        try:
            for ready in copied.convert(packet):
                self._take(copied, ready)
        except av.FFmpegError:  # a damaged one, which has not the form that it should
            self.refused[packet.stream_index] = self.refused.get(packet.stream_index, 0) + 1

    def _take(self, copied: CopiedStream, ready: av.Packet) -> None:
        """Let a packet wait for the frames of its time: the encoder lags behind."""
        if copied.late is not None:
            if self.times is not None:
                self.times.close_holes(ready)
            copied.late.packets.append(ready)
            return
        ready.stream = copied.output
        if copied.skip:
            copied.skip -= 1
            self._log_times(ready)
            return
        self.waiting.append(ready)
        self.held += ready.size
        while len(self.waiting) > HELD or self.held > HELD_BYTES:
            self._mux_waiting()

    def _release(self, time: Fraction) -> None:
        while self.waiting and stamp(self.waiting[0]) <= time:
            self._mux_waiting()

    def _mux_waiting(self) -> None:
        packet = self.waiting.popleft()
        self.held -= packet.size
        self._mux(packet)

    def _log_times(self, packet: av.Packet) -> None:
        if self.fragmented:
            self.extras.stamps.setdefault(packet.stream.index, TimestampLog()).add(packet)

    def _mux(self, packet: av.Packet, log: bool = True) -> av.Packet | None:
        """Write a packet; into fragments the one before it of its stream, which is returned."""
        if self.times is None:
            self._write(packet, log)
            return packet
        before = self.times.push(packet, log)
        if before is None:
            return None
        self._write(*before)
        return before[0]

    def _write(self, packet: av.Packet, log: bool) -> None:
        if log:
            self._log_times(packet)
        try:
            if self.kind.rises_in_own_units:
                self.container.start_encoding()
                in_units_of(packet, packet.stream.time_base)
            enforce_monotonic_dts(packet, self.last)
            self.container.mux_one(packet)
        except av.FFmpegError as error:
            if self._refused(packet, error):
                return
            hint = (
                "leave the other streams out"
                if self.kind.attachments
                else "an .mkv output may take it"
            )
            advice = ADVICE.get(error.errno, hint)
            raise VideoError(
                f"{self.part} cannot be written ({error.strerror}); {advice}."
            ) from error

    def _refused(self, packet: av.Packet, error: av.FFmpegError) -> bool:
        """Whether it is this packet of a copied stream that cannot go in; counted, told at the end.

        Sound that a container refuses half way must not cost the film.
        """
        if error.errno not in NOT_TAKEN and not isinstance(error, av.InvalidDataError):
            return False
        for number, copied in self.copied.items():
            if copied.output is not None and copied.output.index == packet.stream.index:
                self.refused[number] = self.refused.get(number, 0) + 1
                if self.fragmented:
                    self.extras.stamps[packet.stream.index].forget_last()
                return True
        return False

    def copy_part(self, previous: Path, frames: int, video: VideoStream) -> None:
        """Begin with what an interrupted run wrote: all before its frame number `frames`.

        The packets of other streams that are in it are skipped when the source brings them again.

        Args:
            previous: the part that the interrupted run left.
            frames: how many frames of it are taken.
            video: the stream that goes on.
        """
        others = [copied for copied in self.copied.values() if copied.output is not None]
        seen = 0
        try:
            with av.open(local(previous), metadata_errors="replace") as part:
                main = next(s for s in part.streams.video if not is_cover(s))
                convert = as_encoded(main)
                for packet in part.demux():
                    if not packet.size or packet.stream_index > len(others):
                        continue
                    if packet.stream_index == main.index:
                        if seen == frames:
                            break
                        seen += 1
                        for ready in convert(packet):
                            ready.stream = video
                            self._mux(ready)
                    else:
                        copied = others[packet.stream_index - 1]
                        copied.skip += 1
                        packet.stream = copied.output
                        # The source brings it again, with its true time stamps.
                        self._mux(packet, log=False)
        except av.FFmpegError as error:
            raise VideoError(f"{previous} cannot be read; use -y to start again.") from error
        if seen < frames:
            raise VideoError(f"{previous} is incomplete; use -y to start again.")

    # The end

    def close(self) -> None:
        """Write what waits and the end of the part file."""
        while self.waiting:
            self._mux_waiting()
        for packet, log in self.times.flush() if self.times else []:
            self._write(packet, log)
        for number, count in self.refused.items():
            self.notice(
                f"Packets of stream {number} are left out ({count}): {self.kind.suffix} refuses "
                "them."
            )
        try:
            self.container.close()
        except av.FFmpegError as error:
            raise VideoError(f"{self.part} cannot be finished ({error.strerror}).") from error

    def publish(self) -> Path:
        """Move the closed part file into place; MP4 is put in its usual order first."""
        files = self.files
        if files is None:
            return self.target
        try:
            if self.fragmented:
                remux(self.part, files.create_final(), self.extras, self.kind, self.notice)
                os.replace(files.final, files.target)
                self.part.unlink()
            else:
                for key, value in self.extras.metadata.items():
                    if self.kind.comment_behind and key.lower() == "comment":
                        add_comment(self.part, value)
                os.replace(self.part, files.target)
        except (av.FFmpegError, OSError, ValueError) as error:
            if self.fragmented:
                files.final.unlink(missing_ok=True)
            reason = getattr(error, "strerror", None) or str(error)
            raise VideoError(
                f"{self.target} cannot be written ({reason}); {contents_of(self.part)}."
            ) from error
        finally:
            files.release()
        return self.target

    def abandon(self, keep: bool = False) -> None:
        """Close the part file and delete it, or `keep` what plays of it."""
        # It may have failed before its header.
        with suppress(av.FFmpegError, ValueError):
            self.container.close()
        if self.files is not None:
            if not keep:
                self.part.unlink(missing_ok=True)
            self.files.release()
