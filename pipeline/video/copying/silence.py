"""Sound for containers that count it instead of dating it: AVI and MXF close every hole in it.

What comes behind a hole, or begins late, would be heard too early for the rest of the film.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream

from derain.models.log import Log
from derain.pipeline.video.copying.trial import Filter
from derain.pipeline.video.timestamps import stamp

HOLE = Fraction(1, 20)  # seconds; below are the roundings of containers
LONGEST_HOLE = 3600  # seconds; those are damaged time stamps, and days of silence are gigabytes
# Codecs whose packets stand for themselves, with their encoders and what those want.
ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    "mp3": ("libmp3lame", {"reservoir": "0"}),
    "mp2": ("mp2", {}),
    "ac3": ("ac3", {}),
    "aac": ("aac", {}),
}
QUIET_BYTE = {"pcm_u8": 0x80, "pcm_mulaw": 0xFF, "pcm_alaw": 0xD5}
SETTLED = 6  # frames after which an encoder gives silence alone


class SilenceFiller:
    """A filter that puts silence where a stream of sound has a hole.

    Args:
        stream: of the source.
        convert: what else is done to its packets, before.
        suffix: of the container, for the sentence.
        notice: told once where silence of this codec cannot be made.
    """

    def __init__(self, stream: AudioStream, convert: Filter, suffix: str, notice: Log) -> None:
        self.stream, self.convert, self.suffix, self.notice = stream, convert, suffix, notice
        self.expected = Fraction(0)  # seconds, where the next packet is due without a hole
        self.rest = Fraction(0)  # seconds of holes that were less than a packet of silence
        self.quiet = silence(stream)
        self.told = False

    def __call__(self, packet: av.Packet) -> Iterator[av.Packet]:
        """The packets to write for one of the source."""
        for ready in self.convert(packet):
            due = stamp(ready)
            if due - self.expected > HOLE:
                yield from self._fill(due, ready.time_base)
            self.expected = due + self._lasts(ready)
            yield ready

    def _lasts(self, packet: av.Packet) -> Fraction:
        """Seconds of a packet; MP4 declares that the one before a hole lasts to its end."""
        declared = (packet.duration or 0) * packet.time_base
        if self.quiet is None:
            return declared
        payload, frame = self.quiet
        if self.stream.codec_context.name.startswith("pcm_"):
            return frame * packet.size / len(payload)
        return declared if declared <= frame + HOLE else frame

    def _fill(self, due: Fraction, base: Fraction) -> Iterator[av.Packet]:
        if self.quiet is None or due - self.expected > LONGEST_HOLE:
            if not self.told:
                self.notice(
                    f"The sound of stream {self.stream.index} has a hole of "
                    f"{float(due - self.expected):.2f} s at {float(self.expected):.2f} s that "
                    f"{self.suffix} closes: it is early from there on; .mkv keeps it."
                )
            self.told = True
            return
        payload, lasts = self.quiet
        missing, time = due - self.expected + self.rest, self.expected
        for _ in range(round(missing / lasts)):
            silent = av.Packet(payload)
            silent.pts = silent.dts = round(time / base)
            silent.duration, silent.time_base = round(lasts / base), base
            silent.is_keyframe = True
            yield silent
            time += lasts
            missing -= lasts
        self.rest = missing


def silence(stream: AudioStream) -> tuple[bytes, Fraction] | None:
    """A packet of silence that fits into a stream, and its seconds; None where none can be made."""
    own = stream.codec_context
    if own.name.startswith("pcm_"):
        bits = re.search(r"\d+", own.name)
        size = (int(bits.group()) if bits else 8) // 8 * own.layout.nb_channels
        samples = own.sample_rate // 100
        return bytes([QUIET_BYTE.get(own.name, 0)]) * (size * samples), Fraction(
            samples, own.sample_rate
        )
    codec = own.name.removesuffix("float")
    if codec not in ENCODERS or (codec == "aac" and own.profile not in ("LC", None)):
        return None
    name, options = ENCODERS[codec]
    context = AudioCodecContext.create(name, "w")
    context.sample_rate, context.layout = own.sample_rate, own.layout
    context.format = context.codec.audio_formats[0]
    context.bit_rate = own.bit_rate or 128_000
    context.options = dict(options)
    try:
        context.open()
        packets = []
        for number in range(SETTLED):
            frame = av.AudioFrame(context.format.name, own.layout.name, context.frame_size)
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.sample_rate, frame.pts = own.sample_rate, number * context.frame_size
            packets += context.encode(frame)
    except (av.FFmpegError, ValueError):
        return None
    return (bytes(packets[-1]), Fraction(context.frame_size, own.sample_rate)) if packets else None
