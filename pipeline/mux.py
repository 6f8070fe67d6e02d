"""The output file: its part file, the streams that are copied, interleaving, moving into place.

Encoding is in video.py. Packets of other streams are copied as they are, never decoded.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

MP4_FAMILY = {".mp4", ".m4v", ".mov", ".3gp"}
DEFAULT_CODECS = {".webm": "libvpx-vp9", ".gif": "gif", ".nut": "rawvideo", ".y4m": "rawvideo"}


class VideoError(OSError):
    """A file cannot be read or written; the text is one sentence that says what to do next."""


class Muxer:
    """One output file. Nothing stands under its name before `publish`.

    While it is written, the file is `NAME.part.SUFFIX`: fragmented MP4 (playable to its last
    fragment after a kill) for the MP4 family, else the container itself, flushed at each packet.
    """

    def __init__(
        self, target: str | Path, *, overwrite: bool = False, format: str | None = None
    ) -> None:
        self.target = Path(target)
        if str(target) != "-":
            if not self.target.parent.is_dir():
                raise VideoError(f"There is no folder {self.target.parent}; make it first.")
            if self.target.is_dir():
                raise VideoError(f"{self.target} is a folder; name a file.")
            if self.target.exists() and not overwrite:
                raise VideoError(f"{self.target} is there already; add -y to replace it.")
        self.suffix = self.target.suffix.lower()
        self.part = self.target.with_name(f"{self.target.stem}.part{self.target.suffix}")
        self.fragmented = self.suffix in MP4_FAMILY
        options = {"flush_packets": "1", "max_interleave_delta": "1"}
        if self.fragmented:
            # empty_moov would lose start offsets and the priming of AAC; delay_moov keeps them.
            options["movflags"] = "frag_every_frame+delay_moov+default_base_moof"
        elif self.suffix in (".mkv", ".webm"):
            options["cluster_time_limit"] = "1000"
        try:
            self.container = av.open(str(self.part), "w", format=format, container_options=options)
        except (av.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise VideoError(f"{self.target} cannot be made ({reason}); choose another.") from error
        self.streams: dict[int, Any] = {}
        self.waiting: deque[av.Packet] = deque()
        self.video_time: Fraction | None = None
        self.metadata: dict[str, str] = {}
        self.chapters: list[Any] = []

    def default_codec(self, bits: int) -> str:
        """H.264 where the container takes it; H.265 for more than eight bits."""
        return DEFAULT_CODECS.get(self.suffix) or ("libx264" if bits <= 8 else "libx265")

    def add_others(self, source: Any, streams: list[Any]) -> list[str]:
        """Take over metadata, chapters and the given streams; sentences on what is left behind."""
        notices = []
        self.metadata = dict(source.metadata)
        self.container.metadata.update(self.metadata)
        self.chapters = source.chapters()
        for stream in streams:
            if stream.type not in ("audio", "subtitle"):
                continue
            try:
                copy = self.container.add_stream_from_template(stream)
            except (av.FFmpegError, ValueError):
                notices.append(
                    f"The {stream.type} stream {stream.index} cannot go into "
                    f"{self.suffix}; it is left out."
                )
                continue
            copy.metadata.update(stream.metadata)
            copy.disposition = stream.disposition
            self.streams[stream.index] = copy
        return notices

    def write_video(self, packet: av.Packet) -> None:
        """Write an encoded packet, and before it what waits for its time."""
        if packet.dts is not None:
            self.video_time = packet.dts * packet.time_base
            while self.waiting and _time(self.waiting[0]) <= self.video_time:
                self._mux(self.waiting.popleft())
        self._mux(packet)

    def write_other(self, packet: av.Packet) -> None:
        """Write a packet of a copied stream; ignored where the stream is left out."""
        stream = self.streams.get(packet.stream_index)
        if stream is None:
            return
        packet.stream = stream
        # The encoder lags behind: hold packets until the pictures of their time are written.
        self.waiting.append(packet)

    def _mux(self, packet: av.Packet) -> None:
        try:
            self.container.mux(packet)
        except av.FFmpegError as error:
            raise VideoError(
                f"{self.part} cannot be written ({error.strerror}); "
                "make room or choose another place."
            ) from error

    def close(self) -> None:
        """Write what waits and the end of the part file."""
        while self.waiting:
            self._mux(self.waiting.popleft())
        self.container.close()

    def publish(self) -> Path:
        """Move the closed part file into place; MP4 is put in its usual order first."""
        if self.fragmented:
            final = self.part.with_name(f"{self.target.stem}.final.part{self.target.suffix}")
            remux(self.part, final, self.metadata, self.chapters)
            os.replace(final, self.target)
            self.part.unlink()
        else:
            os.replace(self.part, self.target)
        return self.target

    def abandon(self) -> None:
        """Close and delete the part file."""
        # It may have failed before its header; it is deleted anyway.
        with suppress(av.FFmpegError, ValueError):
            self.container.close()
        self.part.unlink(missing_ok=True)


def remux(part: Path, target: Path, metadata: dict[str, str], chapters: list[Any]) -> None:
    """Copy all packets of a fragmented MP4 to a plain one with its index in front."""
    with (
        av.open(str(part), metadata_errors="replace") as source,
        av.open(str(target), "w", container_options={"movflags": "faststart"}) as out,
    ):
        out.metadata.update(metadata)
        if chapters:
            out.set_chapters(chapters)
        streams = {}
        for stream in source.streams:
            copy = out.add_stream_from_template(stream)
            copy.metadata.update(stream.metadata)
            copy.disposition = stream.disposition
            streams[stream.index] = copy
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                out.mux(packet)


def _time(packet: av.Packet) -> Fraction:
    stamp = packet.dts if packet.dts is not None else packet.pts
    return Fraction(0) if stamp is None else stamp * packet.time_base
