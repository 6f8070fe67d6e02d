"""Packets of the film in, images out: decoded, in the order of showing, deinterlaced, cropped."""

from __future__ import annotations

from fractions import Fraction

import av
from av.codec.context import Flags
from av.container import InputContainer
from av.video.stream import VideoStream

from derain.models.errors import VideoError
from derain.models.log import Log
from derain.pipeline.video.copying.hdr_units import UnitReader
from derain.pipeline.video.copying.track_header import read_header
from derain.pipeline.video.decoding.cropping import Cropper
from derain.pipeline.video.decoding.deinterlacer import Deinterlacer
from derain.pipeline.video.timestamps import AviTimestampFixer, DisplayOrderFixer


class FilmDecoder:
    """The decoder of a film and what follows it; one film from its beginning, or from a seek on.

    Args:
        container: an open source.
        stream: of its film.
        name: of the source, for sentences.
        keep_interlaced: whether interlaced frames stay as they are.
        notice: told what is done to frames.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        name: str,
        keep_interlaced: bool,
        notice: Log,
    ) -> None:
        self.stream, self.name, self.notice = stream, name, notice
        self.header = read_header(container, stream)
        self.damaged = 0  # packets that give nothing
        self.deinterlacer = Deinterlacer(keep_interlaced, stream.time_base, notice)
        bare = container.format.name == "avi"
        self._order = AviTimestampFixer(stream) if bare else DisplayOrderFixer(stream)
        self._cropper = Cropper(self.header.crop, notice)
        self.units = UnitReader(stream.codec_context)
        if self.units.active:
            stream.codec_context.flags |= Flags.copy_opaque
        self._aspect: Fraction | None = None

    def push(self, packet: av.Packet) -> list[av.VideoFrame]:
        """What a packet decodes to; one without contents ends the stream.

        Raises:
            VideoError: it is encrypted.
        """
        if packet.has_sidedata("encryption_info"):
            raise VideoError(
                f"{self.name} is encrypted; give --input-opt decryption_key=HEX, or a copy "
                "without encryption."
            )
        if not packet.size and packet.dts is not None:
            return []  # shows the frame before it for longer; to a decoder it would be the end
        self._order.begin(packet)
        if self.units.active and packet.size:
            units = self.units.read(bytes(packet))
            packet.opaque = units or None
        try:
            decoded = self.stream.codec_context.decode(packet if packet.size else None)
        except av.FFmpegError:
            self.damaged += 1
            return []
        self._see_aspect(decoded)
        return self._finish(self._order.place(decoded))

    def flush(self) -> list[av.VideoFrame]:
        """What is held back at the end."""
        done = self._finish(self._order.flush())
        if self.deinterlacer.active:
            done += map(self._cropper.crop, self.deinterlacer.push(None))
        return done

    def _finish(self, frames: list[av.VideoFrame]) -> list[av.VideoFrame]:
        return [
            self._cropper.crop(progressive)
            for frame in frames
            for progressive in self.deinterlacer.push(frame)
        ]

    def _see_aspect(self, decoded: list[av.VideoFrame]) -> None:
        """Say where the shape of a pixel changes, which a new film says but once."""
        aspect = self.stream.codec_context.sample_aspect_ratio
        if not decoded or not aspect or aspect == self._aspect:
            return
        if self._aspect is not None:
            time = f" at {decoded[0].time:.2f} s" if decoded[0].time is not None else ""
            self.notice(
                f"The shape of a pixel changes from {_ratio(self._aspect)} to {_ratio(aspect)}"
                f"{time}; the new film has the first throughout."
            )
        self._aspect = aspect


def _ratio(aspect: Fraction) -> str:
    return f"{aspect.numerator}:{aspect.denominator}"
