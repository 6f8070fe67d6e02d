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
from av.stream import AttachmentStream, Stream
from av.video.stream import VideoStream

from derain.models.errors import VideoError
from derain.models.log import Log, say_nothing
from derain.pipeline.video.containers import EARLY_HEADER, NEED_PACKETS, PIPE, container_of
from derain.pipeline.video.copying import subtitles
from derain.pipeline.video.copying.mp4_finalize import Captions, Extras, contents_of, remux
from derain.pipeline.video.copying.streams import (
    CopiedStream,
    Source,
    add_copy,
    as_encoded,
    bitstream_filter,
    read_cover,
    refusal,
    shifted,
    tags_of,
)
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

# Packets, and bytes, that may wait for their picture before they are written without it.
HELD, HELD_BYTES = 5000, 32 << 20
OWN_TAGS = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration"}
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
        self.kind = container_of(self.name)
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
        self.waiting: deque[av.Packet] = deque()  # for the pictures of their time
        self.held = 0  # bytes of those
        self.last: dict[int, Fraction] = {}
        self.on_packet: Callable[[av.Packet], None] = lambda packet: None
        self.extras = Extras()

    # Streams that come along

    def add_others(self, source: Source) -> None:
        """Take over metadata, chapters and all streams but the video from a VideoReader."""
        container = source.container
        if self.fragmented:
            scale = exact_timescale([source.stream, *source.others])
            self.container.container_options["movie_timescale"] = scale
            if source.late_picture and not NEED_PACKETS & {s.name for s in source.others}:
                self.container.container_options.update(EARLY_HEADER)
        words = {k: v for k, v in container.metadata.items() if k.lower() not in OWN_TAGS}
        words = self.without_timecode(words)
        self.extras.metadata |= words
        self.container.metadata.update(words)
        self.extras.chapters = shifted(container.chapters(), source.origin)
        if self.extras.chapters and not self.fragmented:
            self.container.set_chapters(self.extras.chapters)
        for stream in source.others:
            if stream.type == "attachment":
                self._add_attachment(stream)
            elif stream.type == "data":
                # Chapters and time codes are data in MP4, and come along by other ways.
                chapters = stream.frames and stream.frames == len(container.chapters())
                if not chapters and "timecode" not in stream.metadata:
                    self.notice(f"Data stream {stream.index} cannot be copied; it is left out.")
            elif is_cover(stream) and self.kind.covers is not None:
                self._add_cover(source.name, stream)
            else:
                self._add_copy(stream)

    def without_timecode(self, words: dict[str, str]) -> dict[str, str]:
        """Metadata for the part: FFmpeg makes a track of a time code, which the final file gets."""
        if not self.fragmented:
            return words
        codes = {k: v for k, v in words.items() if k.lower() == "timecode"}
        self.extras.metadata |= {k.lower(): v for k, v in codes.items()}
        return {k: v for k, v in words.items() if k not in codes}

    def _add_copy(self, stream: Stream) -> None:
        if stream.codec_context is None:
            return self._leave_out(stream, "its codec is unknown")
        if stream.type == "subtitle":
            return self._add_captions(stream)
        if reason := refusal(stream, self.container.format.name, self.kind):
            return self._leave_out(stream, reason)
        made = CopiedStream(output := add_copy(self.container, stream))
        if self.kind.needs_asc and stream.name == "aac" and not stream.codec_context.extradata:
            # As transport streams have it, with a header in each packet instead of one for all.
            made.filter = bitstream_filter("aac_adtstoasc", stream)
        if stream.type == "video" and not is_cover(stream):
            self.notice(f"Video stream {stream.index} is copied as it is; it keeps its rain.")
        output.metadata.update(tags_of(stream, self.kind))
        output.disposition = stream.disposition
        self.copied[stream.index] = made

    def _add_captions(self, stream: Stream) -> None:
        """Subtitles, in the form that the container has for them."""
        codec = stream.codec_context.name
        target = subtitles.target_codec(codec, self.supported)
        made = CopiedStream()
        template: Stream | str = stream
        if target is not None and target != codec:
            template = target
            made.text = (codec, target)
            self.notice(f"Subtitles {stream.index} change from {codec} to {target}.")
        elif reason := refusal(stream, self.container.format.name, self.kind):
            return self._leave_out(stream, reason)
        captions = Captions(template, tags_of(stream, self.kind), stream.disposition)
        if self.fragmented:
            made.late = captions
            self.extras.captions.append(captions)
        else:
            try:
                made.output = captions.add_to(self.container)
            except (av.FFmpegError, ValueError) as error:
                return self._leave_out(stream, str(error))
        self.copied[stream.index] = made

    def _leave_out(self, stream: Stream, why: str) -> None:
        kind = "Cover picture" if is_cover(stream) else f"{stream.type.capitalize()} stream"
        hint = "" if self.kind.attachments else "; an .mkv output may keep it"
        self.notice(f"{kind} {stream.index} is left out: {why}{hint}.")

    def _add_attachment(self, stream: AttachmentStream) -> None:
        if not self.kind.attachments:
            text = f"The attachment {stream.name} is left out: only .mkv holds attachments."
            return self.notice(text)
        name = stream.metadata.get("filename", f"attachment{stream.index}")
        kind = stream.mimetype or "application/octet-stream"
        self.container.add_attachment(name, kind, stream.data)

    def _add_cover(self, source: str, stream: VideoStream) -> None:
        """A cover is an attachment in Matroska; in MP4 it must wait for the final file."""
        cover = read_cover(source, stream)
        if cover is None:
            self._leave_out(stream, "it cannot be read")
        elif self.kind.covers == "stream":
            self.extras.covers.append(cover)
        else:
            kind = cover.codec.replace("mjpeg", "jpeg")
            name = f"cover.{kind.replace('jpeg', 'jpg')}"
            self.container.add_attachment(name, f"image/{kind}", cover.data)

    # Packets

    def write_video(self, packet: av.Packet) -> None:
        """Write an encoded packet, and before it what waits for its time."""
        if self.waiting:
            self._release(stamp(packet))
        self._mux(packet)
        self.on_packet(packet)

    def write_other(self, packet: av.Packet) -> None:
        """Write a packet of another stream of the source; nothing where it is left out."""
        copied = self.copied.get(packet.stream_index)
        if copied is None:
            return
        for ready in copied.convert(packet):
            if copied.late is not None:
                copied.late.packets.append(ready)
                continue
            ready.stream = copied.output
            if copied.skip:
                copied.skip -= 1
                self._log_times(ready)
                continue
            # The encoder lags behind: hold packets until the pictures of their time are written.
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

    def _mux(self, packet: av.Packet, log: bool = True) -> None:
        if log:
            self._log_times(packet)
        try:
            if self.kind.stamps_in_blocks:
                self.container.start_encoding()
                in_units_of(packet, packet.stream.time_base)
            enforce_monotonic_dts(packet, self.last)
            self.container.mux_one(packet)
        except av.FFmpegError as error:
            hint = (
                "leave the other streams out"
                if self.kind.attachments
                else "an .mkv output may take it"
            )
            advice = ADVICE.get(error.errno, hint)
            raise VideoError(
                f"{self.part} cannot be written ({error.strerror}); {advice}."
            ) from error

    def copy_part(self, previous: Path, pictures: int, video: VideoStream) -> None:
        """Begin with what an interrupted run wrote: all before its picture number `pictures`.

        The packets of other streams that are in it are skipped when the source brings them again.
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
                        if seen == pictures:
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
        if seen < pictures:
            raise VideoError(f"{previous} is incomplete; use -y to start again.")

    # The end

    def close(self) -> None:
        """Write what waits and the end of the part file."""
        while self.waiting:
            self._mux_waiting()
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
