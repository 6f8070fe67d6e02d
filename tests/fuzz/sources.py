"""Small films with every kind of stream, made by the ffmpeg program and PyAV, for matrix.py.

Half a second of 64x48 each; FILMS names a maker for every kind.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av

FRAMES = 13
PATTERN = f"testsrc2=size=64x48:rate=25:duration={FRAMES / 25}"
TONE = f"sine=440:sample_rate=48000:duration={FRAMES / 25}"
X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
SRT = (
    "1\n00:00:00,040 --> 00:00:00,200\n<i>Rain</i> &amp; <b>wind</b>\n\n"
    "2\n00:00:00,240 --> 00:00:00,400\n{\\an8}above\n"
)

VIDEO = {
    "h264": ("mkv", X264),
    "h264-10bit": ("mkv", [*X264[:4], "-pix_fmt", "yuv420p10le"]),
    "h264-444": ("mp4", [*X264[:4], "-pix_fmt", "yuv444p"]),
    "hevc": ("mp4", ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none"]),
    "vp8": ("webm", ["-c:v", "libvpx", "-deadline", "realtime", "-b:v", "1M"]),
    "vp9": ("webm", ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"]),
    "mpeg1": ("mpg", ["-c:v", "mpeg1video"]),
    "mpeg2": ("ts", ["-c:v", "mpeg2video"]),
    "mpeg4": ("avi", ["-c:v", "mpeg4", "-q:v", "3"]),
    "mjpeg": ("mov", ["-c:v", "mjpeg", "-pix_fmt", "yuvj420p"]),
    "ffv1-rgb": ("mkv", ["-c:v", "ffv1", "-pix_fmt", "gbrp"]),
    "ffv1-gray": ("mkv", ["-c:v", "ffv1", "-pix_fmt", "gray"]),
    "prores": ("mov", ["-c:v", "prores_ks", "-pix_fmt", "yuv422p10le"]),
    "prores-alpha": ("mov", ["-c:v", "prores_ks", "-profile:v", "4", "-pix_fmt", "yuva444p10le"]),
    "theora": ("ogv", ["-c:v", "libtheora", "-q:v", "7"]),
    "wmv2": ("wmv", ["-c:v", "wmv2", "-q:v", "3"]),
    "flv1": ("flv", ["-c:v", "flv", "-q:v", "3"]),
    "gif": ("gif", ["-c:v", "gif"]),
    "raw": ("nut", ["-c:v", "rawvideo", "-pix_fmt", "yuv422p"]),
    "png": ("mov", ["-c:v", "png"]),
}
AUDIO: dict[str, tuple[str, list[str]]] = {
    "aac": ("mkv", ["-c:a", "aac"]),
    "aac-adts": ("ts", ["-c:a", "aac"]),
    "ac3": ("mkv", ["-c:a", "ac3"]),
    "eac3": ("mkv", ["-c:a", "eac3"]),
    "dts": ("mkv", ["-c:a", "dca", "-strict", "-2"]),
    "truehd": ("mkv", ["-c:a", "truehd", "-strict", "-2"]),
    "opus": ("mkv", ["-c:a", "libopus"]),
    "vorbis": ("mkv", ["-c:a", "libvorbis"]),
    "mp3": ("mkv", ["-c:a", "libmp3lame"]),
    "mp2": ("mkv", ["-c:a", "mp2"]),
    "flac": ("mkv", ["-c:a", "flac"]),
    "alac": ("mov", ["-c:a", "alac"]),
    "wma": ("wmv", ["-c:a", "wmav2"]),
    "adpcm": ("avi", ["-c:a", "adpcm_ima_wav"]),
    "gsm": ("mov", ["-c:a", "libgsm", "-ar", "8000"]),
    "5.1-aac": ("mkv", ["-c:a", "aac", "-ac", "6"]),
} | {
    f"pcm-{name}": (suffix, ["-c:a", f"pcm_{name}", *more])
    for name, suffix, more in (
        ("u8", "avi", []),
        ("s16le", "mkv", ["-ac", "2"]),
        ("s16be", "mov", ["-ac", "6"]),
        ("s24le", "mkv", []),
        ("s32le", "mov", []),
        ("f32le", "mkv", []),
        ("f64le", "mov", []),
        ("mulaw", "mov", ["-ar", "8000"]),
        ("alaw", "avi", ["-ar", "8000"]),
    )
}


def ffmpeg(*arguments: str | Path) -> None:
    """Run the ffmpeg program."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def video(folder: Path, suffix: str, options: list[str]) -> Path:
    """A film of one codec, without sound."""
    path = folder / f"in.{suffix}"
    ffmpeg("-f", "lavfi", "-i", PATTERN, *options, path)
    return path


def sound(folder: Path, suffix: str, options: list[str]) -> Path:
    """A film with sound of one codec."""
    path = folder / f"in.{suffix}"
    video = ["-c:v", "wmv2"] if suffix == "wmv" else [*X264, "-bf", "0"]
    inputs = ["-f", "lavfi", "-i", PATTERN, "-f", "lavfi", "-i", TONE]
    ffmpeg(*inputs, *video, *options, "-metadata:s:a:0", "language=fra", path)
    return path


def captions(folder: Path, suffix: str, codec: str) -> Path:
    """A film with two captions of text."""
    text, path = folder / "captions.srt", folder / f"in.{suffix}"
    text.write_text(SRT)
    inputs = ["-f", "lavfi", "-i", PATTERN, "-i", text]
    language = ["-metadata:s:s:0", "language=fra"]
    ffmpeg(*inputs, "-map", "0", "-map", "1", *X264, "-c:s", codec, *language, path)
    return path


def plain(folder: Path, suffix: str = "mkv") -> Path:
    """A film with AAC, for what is added to it."""
    path = folder / f"plain.{suffix}"
    inputs = ["-f", "lavfi", "-i", PATTERN, "-f", "lavfi", "-i", TONE]
    ffmpeg(*inputs, *X264, "-c:a", "aac", path)
    return path


def with_stream(folder: Path, suffix: str, codec: str, payload: bytes, step: int) -> Path:
    """A film with a stream of packets that FFmpeg has no encoder for."""
    path = folder / f"in.{suffix}"
    with av.open(str(plain(folder))) as film, av.open(str(path), "w") as out:
        copies = {s.index: out.add_stream_from_template(s) for s in film.streams}
        if codec == "klv":
            extra: Any = out.add_data_stream(codec)
        elif codec.startswith("libopencore"):
            extra = out.add_stream(codec, rate=8000)
            extra.codec_context.layout = "mono"
        else:
            extra = out.add_mux_stream(codec)
        extra.time_base = Fraction(1, 1000)
        packets = [packet for packet in film.demux() if packet.size]
        for packet in packets:
            packet.stream = copies[packet.stream_index]
            out.mux(packet)
        for due in range(0, 500, step):
            packet = av.Packet(payload)
            packet.pts = packet.dts = due
            packet.duration, packet.time_base = step, Fraction(1, 1000)
            packet.stream, packet.is_keyframe = extra, True
            out.mux(packet)
    return path


def cover(folder: Path, suffix: str, codec: str) -> Path:
    """A film with a still image attached to it."""
    path, still = folder / f"in.{suffix}", folder / f"cover.{codec}"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=32x32", "-frames:v", "1", still)
    film = plain(folder)
    if suffix == "mkv":
        attach = ["-attach", still, "-metadata:s:t:0", f"mimetype=image/{codec}"]
        ffmpeg("-i", film, "-map", "0", "-c", "copy", *attach, path)
    else:
        maps = ["-map", "0", "-map", "1", "-c", "copy", "-disposition:v:1", "attached_pic"]
        ffmpeg("-i", film, "-i", still, *maps, path)
    return path


def attachment(folder: Path) -> Path:
    """A film with a font."""
    path, font = folder / "in.mkv", folder / "letters.ttf"
    font.write_bytes(b"letters" * 50)
    attach = ["-attach", font, "-metadata:s:t:0", "mimetype=font/ttf"]
    ffmpeg("-i", plain(folder), "-map", "0", "-c", "copy", *attach, path)
    return path


def timecode(folder: Path) -> Path:
    """A film of a camera that counts frames."""
    path = folder / "in.mov"
    ffmpeg("-i", plain(folder), "-map", "0", "-c", "copy", "-timecode", "01:02:03:04", path)
    return path


def words(folder: Path, suffix: str) -> Path:
    """A film with tags that all know and one of its own, and with chapters."""
    path, notes = folder / f"in.{suffix}", folder / "words.txt"
    notes.write_text(
        ";FFMETADATA1\ntitle=Rain\nartist=Cloud\ncomment=Wet\nlens=Fifty\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=200\ntitle=one\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=200\nEND=500\ntitle=two\n"
    )
    flags = ["-movflags", "use_metadata_tags"] if suffix in ("mp4", "mov") else []
    ffmpeg("-i", plain(folder), "-i", notes, "-map_metadata", "1", "-c", "copy", *flags, path)
    return path


def turned(folder: Path, matrix: str) -> Path:
    """A film of a telephone that was held upright, or one whose pixels are not square."""
    path = folder / "in.mp4"
    film = plain(folder, "mp4")
    if matrix == "aspect":
        ffmpeg("-i", film, "-c", "copy", "-bsf:v", "h264_metadata=sample_aspect_ratio=4/3", path)
        return path
    with av.open(str(film)) as one, av.open(str(path), "w") as two:
        copies = [two.add_stream_from_template(stream) for stream in one.streams]
        copies[0].set_display_rotation(90)
        for packet in one.demux():
            if packet.size:
                packet.stream = copies[packet.stream_index]
                two.mux(packet)
    return path


def two_films(folder: Path) -> Path:
    """A file with two films and two sounds, one of them for those who do not see."""
    path, film = folder / "in.mkv", plain(folder)
    maps = ["-map", "0", "-map", "0", "-c", "copy", "-disposition:a:1", "visual_impaired"]
    ffmpeg("-i", film, *maps, "-metadata:s:a:0", "language=fra", path)
    return path


def late_sound(folder: Path) -> Path:
    """A film whose sound begins 0.2 s behind the video."""
    path = folder / "in.mkv"
    inputs = ["-f", "lavfi", "-i", PATTERN, "-itsoffset", "0.2", "-f", "lavfi", "-i", TONE]
    ffmpeg(*inputs, *X264, "-c:a", "libmp3lame", path)
    return path


AMR = bytes([0x3C]) + bytes(31)
PGS = bytes([0x80, 0, 0])  # the end of a display set
DVB = bytes.fromhex("0f100001000200010f8000010000")  # a page and the end of its display set
# As long as real ones are: FFmpeg puts shorter ones of the same second into one packet.
VOBSUB = (2100).to_bytes(2, "big") + (2096).to_bytes(2, "big") + bytes(2092) + bytes([0, 0, 8, 52])
FILMS: dict[str, Callable[[Path], Path]] = (
    {f"video-{k}": partial(video, suffix=s, options=o) for k, (s, o) in VIDEO.items()}
    | {f"audio-{k}": partial(sound, suffix=s, options=o) for k, (s, o) in AUDIO.items()}
    | {
        "audio-amr": partial(
            with_stream, suffix="nut", codec="libopencore_amrnb", payload=AMR, step=20
        ),
        "text-srt": partial(captions, suffix="mkv", codec="srt"),
        "text-ass": partial(captions, suffix="mkv", codec="ass"),
        "text-webvtt": partial(captions, suffix="mkv", codec="webvtt"),
        "text-mov": partial(captions, suffix="mp4", codec="mov_text"),
        "images-pgs": partial(
            with_stream, suffix="mkv", codec="hdmv_pgs_subtitle", payload=PGS, step=100
        ),
        "images-vobsub": partial(
            with_stream, suffix="mkv", codec="dvd_subtitle", payload=VOBSUB, step=400
        ),
        "images-dvb": partial(
            with_stream, suffix="mkv", codec="dvb_subtitle", payload=DVB, step=100
        ),
        "data-klv": partial(with_stream, suffix="ts", codec="klv", payload=bytes(32), step=40),
        "attachment": attachment,
        "timecode": timecode,
        "cover-png-mkv": partial(cover, suffix="mkv", codec="png"),
        "cover-png-mp4": partial(cover, suffix="mp4", codec="png"),
        "cover-jpg-mp4": partial(cover, suffix="mp4", codec="jpg"),
        "words-mkv": partial(words, suffix="mkv"),
        "words-mp4": partial(words, suffix="mp4"),
        "turned": partial(turned, matrix="turned"),
        "aspect": partial(turned, matrix="aspect"),
        "two-films": two_films,
        "late-sound": late_sound,
    }
)
