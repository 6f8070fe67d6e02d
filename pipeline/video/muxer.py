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
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import av.bitstream

from derain.models.errors import VideoError
from derain.pipeline.video import subtitles
from derain.pipeline.video.mp4_finalize import (
    Captions,
    Cover,
    Extras,
    Stamps,
    exact_timescale,
    in_units_of,
    remux,
    rising,
    stamp,
)
from derain.pipeline.video.paths import is_sequence, local

MP4_FAMILY = {".mp4", ".m4v", ".mov", ".3gp"}
TRANSPORT = {".ts", ".m2ts", ".mts"}
PIPE = "-"
HELD = 5000  # packets that may wait for their picture before they are written without it
OWN_TAGS = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration"}
MAKE_ROOM = "make room for it, or choose another place"
ADVICE = {
    errno.ENOSPC: MAKE_ROOM,
    errno.EFBIG: MAKE_ROOM,
    errno.EDQUOT: MAKE_ROOM,
    errno.EPIPE: "whatever read it has ended",
}
# The codes that QuickTime's list of languages has instead of the usual ones.
QUICKTIME = {"deu": "ger", "nld": "dut", "ell": "gre", "isl": "ice", "zho": "chi", "swe": "sve"}


def is_cover(stream: Any) -> bool:
    """Whether a video stream is a still picture attached to the file."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def is_file(target: str) -> bool:
    """Whether an output is one plain file, not a pipe, a URL, or a sequence of pictures."""
    return target != PIPE and "://" not in target and not is_sequence(target)


def part_name(target: Path) -> Path:
    """Where an output is written until it is complete."""
    return target.with_name(f"{target.stem}.part{target.suffix}")


class Muxer:
    """One output file. Nothing stands under its name before `publish`.

    While it is written, the file is `NAME.part.SUFFIX`: fragmented MP4 (playable to its last
    fragment after a kill) for the MP4 family, else the container itself, flushed at each packet.
    Pipes, URLs and sequences of pictures are written directly.
    """

    def __init__(
        self,
        target: str | Path,
        *,
        overwrite: bool = False,
        format: str | None = None,
        notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.name, self.target, self.notice = str(target), Path(target), notice
        self.is_file = is_file(self.name) and not self.target.is_fifo()
        self.suffix = self.target.suffix.lower() if self.name != PIPE else PIPE
        if self.name != PIPE and "://" not in self.name:
            self._check(overwrite)
        self.part = part_name(self.target) if self.is_file else self.target
        self.fragmented = self.is_file and self.suffix in MP4_FAMILY
        if is_sequence(self.name):
            format = format or "image2"
        if self.name == PIPE:
            format = format or "nut"
        options = {"flush_packets": "1", "max_interleave_delta": "1"}
        if self.fragmented:
            # empty_moov would lose start offsets and the priming of AAC; delay_moov keeps them.
            options["movflags"] = "frag_every_frame+delay_moov+default_base_moof"
        elif self.suffix in (".mkv", ".webm"):
            options["cluster_time_limit"] = "1000"
        where = "pipe:1" if self.name == PIPE else local(self.part)
        try:
            self.container = av.open(where, "w", format=format, container_options=options)
        except (av.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise VideoError(f"{self.name} cannot be made ({reason}); choose another.") from error
        # FFmpeg does not know what transport streams hold: anything, in practice.
        unknown = self.suffix in TRANSPORT
        self.supported = set() if unknown else set(self.container.supported_codecs)
        # By the number of the source's stream:
        self.streams: dict[int, Any] = {}
        self.converted: dict[int, tuple[str, str]] = {}  # from one text form to another
        self.filters: dict[int, Callable[[av.Packet], list[av.Packet]]] = {}
        self.skipped: dict[int, int] = {}  # packets of a stream that a resumed part already has
        self.late: dict[int, Captions] = {}  # that wait for the final file
        self.waiting: deque[av.Packet] = deque()  # for the pictures of their time
        self.last: dict[int, Fraction] = {}
        self.on_packet: Callable[[av.Packet], None] = lambda packet: None
        self.extras = Extras()

    def _check(self, overwrite: bool) -> None:
        if not self.target.parent.is_dir():
            raise VideoError(f"There is no folder {self.target.parent}; make it first.")
        if not os.access(self.target.parent, os.W_OK):
            raise VideoError(f"Nothing may be written in {self.target.parent}; choose another.")
        if self.target.is_dir():
            raise VideoError(f"{self.target} is a folder; name a file in it.")
        try:
            first = Path(self.name % 1) if is_sequence(self.name) else self.target
        except (TypeError, ValueError) as error:
            raise VideoError(f"{self.name} has a second %; leave that of the number.") from error
        if first.is_file() and not overwrite:
            raise VideoError(f"{first} is there already; add -y to replace it.")

    # Streams that come along

    def add_others(self, source: Any) -> None:
        """Take over metadata, chapters and all streams but the video from a VideoReader."""
        container = source.container
        if self.fragmented:
            scale = exact_timescale([source.stream, *source.others])
            self.container.container_options["movie_timescale"] = scale
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
            elif is_cover(stream) and (self.suffix == ".mkv" or self.fragmented):
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

    def _add_copy(self, stream: Any) -> None:
        if stream.codec_context is None:
            return self._leave_out(stream, "its codec is unknown")
        if stream.type == "subtitle":
            return self._add_captions(stream)
        if reason := self._refusal(stream):
            return self._leave_out(stream, reason)
        if self.fragmented and stream.name == "aac" and not stream.codec_context.extradata:
            # As transport streams have it, with a header in each packet instead of one for all.
            self.filters[stream.index] = filtered("aac_adtstoasc", stream)
        copy = self.container.add_stream_from_template(stream)
        if stream.type == "video" and not is_cover(stream):
            self.notice(f"Video stream {stream.index} is copied as it is; only the first is clean.")
        copy.metadata.update(self._words(stream))
        copy.disposition = stream.disposition
        self.streams[stream.index] = copy

    def _refusal(self, stream: Any) -> str | None:
        """Why the container does not take a stream: many say so only when the header is written."""
        try:
            with av.open(BytesIO(), "w", format=self.container.format.name) as trial:
                trial.add_stream_from_template(stream)
                trial.start_encoding()
        except (av.FFmpegError, ValueError):
            return f"{self.suffix} does not hold {stream.codec_context.name}"
        return None

    def _words(self, stream: Any) -> dict[str, str]:
        words = dict(stream.metadata)
        if self.suffix == ".mov" and words.get("language") in QUICKTIME:
            words["language"] = QUICKTIME[words["language"]]
        return words

    def _add_captions(self, stream: Any) -> None:
        """Subtitles, in the form that the container has for them."""
        codec = stream.codec_context.name
        target = subtitles.target_codec(codec, self.supported)
        template = stream
        if target not in (None, codec):
            template = target
            self.converted[stream.index] = (codec, target)
            self.notice(f"Subtitles {stream.index} change from {codec} to {target}.")
        elif reason := self._refusal(stream):
            return self._leave_out(stream, reason)
        captions = Captions(template, self._words(stream), stream.disposition)
        if self.fragmented:
            self.late[stream.index] = captions
            self.extras.captions.append(captions)
            return
        try:
            self.streams[stream.index] = captions.add_to(self.container)
        except (av.FFmpegError, ValueError) as error:
            self._leave_out(stream, str(error))

    def _leave_out(self, stream: Any, why: str) -> None:
        kind = "Cover picture" if is_cover(stream) else f"{stream.type.capitalize()} stream"
        self.notice(f"{kind} {stream.index} is left out: {why}; an .mkv output may keep it.")

    def _add_attachment(self, stream: Any) -> None:
        if self.suffix != ".mkv":
            return self.notice(
                f"The attachment {stream.name} is left out: only .mkv holds attachments."
            )
        name = stream.metadata.get("filename", f"attachment{stream.index}")
        kind = stream.mimetype or "application/octet-stream"
        self.container.add_attachment(name, kind, stream.data)

    def _add_cover(self, source: str, stream: Any) -> None:
        """A cover is an attachment in Matroska; in MP4 it must wait for the final file."""
        codec = stream.name
        with suppress(av.FFmpegError, StopIteration), av.open(local(source)) as again:
            data = bytes(next(again.demux(again.streams[stream.index])))
            if self.fragmented:
                self.extras.covers.append(Cover(codec, data, stream.width, stream.height))
            else:
                kind = codec.replace("mjpeg", "jpeg")
                name = f"cover.{kind.replace('jpeg', 'jpg')}"
                self.container.add_attachment(name, f"image/{kind}", data)
            return
        self._leave_out(stream, "it cannot be read")

    # Packets

    def write_video(self, packet: av.Packet) -> None:
        """Write an encoded packet, and before it what waits for its time."""
        if self.waiting:
            self._release(stamp(packet))
        self._mux(packet)
        self.on_packet(packet)

    def write_other(self, packet: av.Packet) -> None:
        """Write a packet of another stream of the source; nothing where it is left out."""
        index = packet.stream_index
        stream, late = self.streams.get(index), self.late.get(index)
        if stream is None and late is None:
            return
        if index in self.converted:
            payload = subtitles.convert(bytes(packet), *self.converted[index])
            if payload is None:
                return
            fresh = av.Packet(payload)
            fresh.pts, fresh.dts, fresh.duration = packet.pts, packet.pts, packet.duration
            fresh.time_base = packet.time_base
            packet = fresh
        if late is not None:
            late.packets.append(packet)
            return
        for ready in self.filters.get(index, as_it_is)(packet):
            ready.stream = stream
            if self.skipped.get(index):
                self.skipped[index] -= 1
                self._note(ready)
                continue
            # The encoder lags behind: hold packets until the pictures of their time are written.
            self.waiting.append(ready)
            if len(self.waiting) > HELD:
                self._mux(self.waiting.popleft())

    def _release(self, time: Fraction) -> None:
        while self.waiting and stamp(self.waiting[0]) <= time:
            self._mux(self.waiting.popleft())

    def _note(self, packet: av.Packet) -> None:
        if self.fragmented:
            self.extras.stamps.setdefault(packet.stream.index, Stamps()).add(packet)

    def _mux(self, packet: av.Packet, note: bool = True) -> None:
        if note:
            self._note(packet)
        try:
            if self.suffix == ".avi":  # which counts sound in blocks: stamps must rise there, too
                self.container.start_encoding()
                in_units_of(packet, packet.stream.time_base)
            rising(packet, self.last)
            self.container.mux_one(packet)
        except av.FFmpegError as error:
            advice = ADVICE.get(error.errno, "an .mkv output may take it")
            raise VideoError(
                f"{self.part} cannot be written ({error.strerror}); {advice}."
            ) from error

    def copy_part(self, previous: Path, pictures: int, video: Any) -> None:
        """Begin with what an interrupted run wrote: all before its picture number `pictures`.

        The packets of other streams that are in it are skipped when the source brings them again.
        """
        targets = [video, *self.streams.values()]
        sources = list(self.streams)
        seen = 0
        try:
            with av.open(local(previous), metadata_errors="replace") as part:
                main = next(s for s in part.streams.video if not is_cover(s))
                convert = as_encoded(main)
                for packet in part.demux():
                    if not packet.size or packet.stream_index >= len(targets):
                        continue
                    if packet.stream_index == main.index:
                        if seen == pictures:
                            break
                        seen += 1
                        for ready in convert(packet):
                            ready.stream = video
                            self._mux(ready)
                    else:
                        source = sources[packet.stream_index - 1]
                        self.skipped[source] = self.skipped.get(source, 0) + 1
                        packet.stream = self.streams[source]
                        # The source brings it again, with its true time stamps.
                        self._mux(packet, note=False)
        except av.FFmpegError as error:
            raise VideoError(f"{previous} cannot be read; use -y to start again.") from error
        if seen < pictures:
            raise VideoError(f"{previous} is incomplete; use -y to start again.")

    # The end

    def close(self) -> None:
        """Write what waits and the end of the part file."""
        while self.waiting:
            self._mux(self.waiting.popleft())
        try:
            self.container.close()
        except av.FFmpegError as error:
            raise VideoError(f"{self.part} cannot be finished ({error.strerror}).") from error

    def publish(self) -> Path:
        """Move the closed part file into place; MP4 is put in its usual order first."""
        if self.fragmented:
            final = self.part.with_name(f"{self.target.stem}.final.part{self.target.suffix}")
            try:
                remux(self.part, final, self.extras, self.notice)
                os.replace(final, self.target)
            except (av.FFmpegError, OSError, ValueError) as error:
                final.unlink(missing_ok=True)
                reason = getattr(error, "strerror", None) or str(error)
                raise VideoError(
                    f"{self.target} cannot be written ({reason}); {self.part} is complete."
                ) from error
            self.part.unlink()
        elif self.is_file:
            os.replace(self.part, self.target)
        return self.target

    def abandon(self, keep: bool = False) -> None:
        """Close the part file and delete it, or `keep` what plays of it."""
        # It may have failed before its header.
        with suppress(av.FFmpegError, ValueError):
            self.container.close()
        if self.is_file and not keep:
            self.part.unlink(missing_ok=True)


def as_encoded(stream: Any) -> Callable[[av.Packet], list[av.Packet]]:
    """What turns a stored packet into the form that encoders give and muxers expect of them.

    H.264 and H.265 come with start codes from the encoder and with lengths from MP4 and Matroska.
    """
    name = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}.get(stream.codec_context.name)
    return as_it_is if name is None else filtered(name, stream)


def as_it_is(packet: av.Packet) -> list[av.Packet]:
    """A packet in the form it has."""
    return [packet]


def filtered(name: str, stream: Any) -> Callable[[av.Packet], list[av.Packet]]:
    """FFmpeg's bitstream filter of that name, for the packets of a stream."""
    bsf = av.bitstream.BitStreamFilterContext(name, stream)

    def convert(packet: av.Packet) -> list[av.Packet]:
        time_base = packet.time_base  # the filter empties the packet it is given
        done = list(bsf.filter(packet))
        for each in done:
            each.time_base = time_base
        return done

    return convert


def shifted(chapters: list[Any], origin: Fraction) -> list[Any]:
    """Chapters of a cut that begins at `origin` seconds."""
    if not origin:
        return chapters
    kept = []
    for chapter in chapters:
        ticks = round(origin / chapter["time_base"])
        if chapter["end"] > ticks:
            start = max(0, chapter["start"] - ticks)
            kept.append(chapter | {"start": start, "end": chapter["end"] - ticks})
    return kept
