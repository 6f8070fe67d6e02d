"""Films as cameras, broadcasts, screen recorders and editors write them, for matrix.py --odd.

What is odd is how a film is put together: its times, its edits, its streams, its colours. A second
of 64x48 each; FILMS names a maker for every kind.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
from sources import X264, ffmpeg

Maker = Callable[[Path], Path]
INTERLACED = ["-flags", "+ildct+ilme", "-top", "1"]
BROADCAST = ["-c:v", "mpeg2video", "-q:v", "3", "-g", "12", "-bf", "2"]


def pattern(seconds: float = 1, rate: str = "25", size: str = "64x48") -> list[str]:
    """The ffmpeg program's input of a moving pattern."""
    return ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}:duration={seconds}"]


def tone(seconds: float = 1, rate: int = 48000) -> list[str]:
    """Its input of a tone."""
    return ["-f", "lavfi", "-i", f"sine=440:sample_rate={rate}:duration={seconds}"]


def one(folder: Path, suffix: str, *options: str | Path, inputs: list[str] | None = None) -> Path:
    """A film by one call of the ffmpeg program."""
    path = folder / f"in.{suffix}"
    ffmpeg(*(inputs or pattern()), *options, path)
    return path


def sounding(folder: Path, suffix: str, *options: str | Path) -> Path:
    """A film with a tone."""
    return one(folder, suffix, *options, inputs=[*pattern(), *tone()])


def copied(folder: Path, before: Path, suffix: str, *options: str | Path) -> Path:
    """The streams of a film, copied into another file."""
    path = folder / f"in.{suffix}"
    ffmpeg("-i", before, "-map", "0", "-c", "copy", *options, path)
    return path


def plain(folder: Path, suffix: str = "mkv", *options: str | Path) -> Path:
    """H.264 with B-frames and AAC, for what is done to it."""
    path = folder / f"plain.{suffix}"
    codecs = ["-c:v", "libx264", "-preset", "fast", "-g", "10", "-pix_fmt", "yuv420p"]
    ffmpeg(*pattern(), *tone(), *codecs, "-c:a", "aac", *options, path)
    return path


def at_times(folder: Path, suffix: str, codec: str, times: list[int], base: int = 1000) -> Path:
    """Frames at given ticks of a given number a second."""
    path = folder / f"in.{suffix}"
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, base)
        for number, due in enumerate(times):
            image = np.full((48, 64, 3), 9 * number, np.uint8)
            image[:, number : number + 9] = 255
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = due, Fraction(1, base)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def edited(folder: Path) -> Path:
    """What a telephone's editor cut: key frames before the beginning, which an edit list hides."""
    path = folder / "in.mp4"
    ffmpeg("-ss", "0.26", "-i", plain(folder, "mp4"), "-c", "copy", path)
    return path


def late_video(folder: Path, suffix: str) -> Path:
    """A film that begins 0.4 s behind its sound."""
    path = folder / f"in.{suffix}"
    ffmpeg("-itsoffset", "0.4", *pattern(), *tone(1.4), *X264, "-c:a", "aac", path)
    return path


def joined(folder: Path, parts: list[list[str]]) -> Path:
    """Recordings joined by their bytes."""
    path = folder / "in.ts"
    data = b""
    for number, options in enumerate(parts):
        part = folder / f"part{number}.ts"
        ffmpeg(*options, part)
        data += part.read_bytes()
    path.write_bytes(data)
    return path


def cut(folder: Path, film: Path, share: tuple[float, float]) -> Path:
    """A piece of a file's bytes, as where a recorder lost its power."""
    data, path = film.read_bytes(), folder / f"in{film.suffix}"
    path.write_bytes(data[int(share[0] * len(data)) : int(share[1] * len(data))])
    return path


def programmes(folder: Path) -> Path:
    """A transport stream of two programmes."""
    path = folder / "in.ts"
    maps = ["-map", "0", "-map", "2", "-map", "1", "-map", "3"]
    names = ["-program", "title=one:st=0:st=1", "-program", "title=two:st=2:st=3"]
    inputs = [*pattern(), *pattern(size="32x32"), *tone(), *tone()]
    ffmpeg(*inputs, *maps, *X264, "-c:a", "mp2", *names, path)
    return path


def named(folder: Path, name: str) -> Path:
    """A film of a name that programs stumble over."""
    film = plain(folder, "mp4")
    return film.rename(folder / name)


def raw(folder: Path, suffix: str, *options: str) -> Path:
    """A stream without a container, as cameras send it."""
    return one(folder, suffix, *options, "-f", {"264": "h264", "265": "hevc"}.get(suffix, suffix))


def captions_outside(folder: Path) -> Path:
    """Captions before the first frame and behind the last."""
    text = folder / "captions.srt"
    text.write_text(
        "1\n00:00:00,000 --> 00:00:00,100\nfirst\n\n2\n00:00:03,000 --> 00:00:04,000\nlast\n"
    )
    inputs = ["-itsoffset", "0.3", *pattern(), "-i", str(text)]
    return one(folder, "mkv", *X264, "-c:s", "srt", inputs=inputs)


def make(suffix: str, *options: str) -> Maker:
    """A maker of a film by one call of the ffmpeg program."""
    return lambda folder: one(folder, suffix, *options)


def colour(matrix: str, primaries: str, transfer: str, full: str) -> Maker:
    """A maker of a film whose colours are said to mean this."""
    said = ["-colorspace", matrix, "-color_primaries", primaries, "-color_trc", transfer]
    return make("mkv", *X264, *said, "-color_range", full)


COLOURS = {
    "bt709": ("bt709", "bt709", "bt709", "tv"),
    "pal": ("bt470bg", "bt470bg", "gamma28", "tv"),
    "ntsc": ("smpte170m", "smpte170m", "smpte170m", "tv"),
    "full": ("bt709", "bt709", "iec61966-2-1", "pc"),
    "hlg": ("bt2020nc", "bt2020", "arib-std-b67", "tv"),
}
FORMATS = {
    "yuv422p10-x264": ("mov", [*X264[:4], "-pix_fmt", "yuv422p10le"]),
    "xavc": ("mxf", [*X264[:4], "-pix_fmt", "yuv422p10le", "-g", "1", "-bf", "0"]),
    "qtrle-alpha": ("mov", ["-c:v", "qtrle", "-pix_fmt", "argb"]),
    "vp9-alpha": ("webm", ["-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "-cpu-used", "8"]),
    "huffyuv": ("avi", ["-c:v", "huffyuv", "-pix_fmt", "yuv422p"]),
    "utvideo-rgb": ("avi", ["-c:v", "utvideo", "-pix_fmt", "gbrp"]),
    "raw-pal8": ("avi", ["-c:v", "rawvideo", "-pix_fmt", "pal8"]),
    "raw-bgr24": ("avi", ["-c:v", "rawvideo", "-pix_fmt", "bgr24"]),
    "raw-uyvy": ("mov", ["-c:v", "rawvideo", "-pix_fmt", "uyvy422"]),
    "raw-nv12": ("nut", ["-c:v", "rawvideo", "-pix_fmt", "nv12"]),
    "raw-mono": ("nut", ["-c:v", "rawvideo", "-pix_fmt", "monob"]),
    "raw-rgb48": ("nut", ["-c:v", "rawvideo", "-pix_fmt", "rgb48le"]),
    "ffv1-gray16": ("mkv", ["-c:v", "ffv1", "-pix_fmt", "gray16le"]),
    "ffv1-411": ("mkv", ["-c:v", "ffv1", "-pix_fmt", "yuv411p"]),
    "ffv1-440": ("mkv", ["-c:v", "ffv1", "-pix_fmt", "yuv440p"]),
    "jpeg2000-xyz": ("mxf", ["-c:v", "jpeg2000", "-pix_fmt", "xyz12le"]),
    "v210": ("mov", ["-c:v", "v210", "-pix_fmt", "yuv422p10le"]),
    "cfhd": ("mov", ["-c:v", "cfhd", "-pix_fmt", "yuv422p10le"]),
    "cinepak": ("avi", ["-c:v", "cinepak"]),
    "flashsv": ("flv", ["-c:v", "flashsv", "-pix_fmt", "bgr24"]),
    "rv20": ("rm", ["-c:v", "rv20"]),
    "apng": ("apng", ["-c:v", "apng", "-pix_fmt", "rgba"]),
    "webp": ("webp", ["-c:v", "libwebp_anim"]),
    "divx": ("avi", ["-c:v", "mpeg4", "-bf", "2", "-vtag", "DX50", "-q:v", "3"]),
}
BURSTS = [0, 33, 66, 67, 68, 100, 400, 401, 402, 403, 500, 900, 901, 902, 1000]
FILMS: dict[str, Maker] = (
    {f"colour-{name}": colour(*said) for name, said in COLOURS.items()}
    | {f"format-{name}": make(suffix, *how) for name, (suffix, how) in FORMATS.items()}
    | {
        "time-bursts-mkv": partial(at_times, suffix="mkv", codec="libx264", times=BURSTS),
        "time-bursts-mp4": partial(
            at_times, suffix="mp4", codec="libx264", times=[90 * t for t in BURSTS], base=90000
        ),
        "time-holes-avi": partial(at_times, suffix="avi", codec="mpeg4", times=[0, 1, 9], base=25),
        "time-lapse": make("mp4", *X264, "-r", "1/5"),
        "time-fast": lambda f: one(f, "mp4", *X264, inputs=pattern(0.1, "1000")),
        "time-ntsc": lambda f: one(f, "mp4", *X264, inputs=pattern(1, "30000/1001")),
        "time-film": lambda f: one(f, "mkv", *X264, inputs=pattern(1, "24000/1001")),
        "time-one-frame": make("mp4", *X264, "-frames:v", "1"),
        "time-two-frames": make("mkv", *X264, "-frames:v", "2"),
        "time-edited": edited,
        "time-negative": lambda f: copied(
            f, plain(f), "mkv", "-output_ts_offset", "-0.3", "-avoid_negative_ts", "disabled"
        ),
        "time-day-later": lambda f: copied(f, plain(f), "mkv", "-output_ts_offset", "95000"),
        "time-clock-wraps": lambda f: copied(
            f, plain(f), "ts", "-output_ts_offset", "95442.3", "-muxdelay", "0"
        ),
        "time-late-video-mkv": partial(late_video, suffix="mkv"),
        "time-late-video-mp4": partial(late_video, suffix="mp4"),
        "time-captions-outside": captions_outside,
        "broadcast-interlaced": lambda f: sounding(f, "ts", *BROADCAST, *INTERLACED, "-c:a", "mp2"),
        "broadcast-mbaff": lambda f: sounding(f, "ts", *X264[:2], *INTERLACED, "-c:a", "ac3"),
        "broadcast-open-gop": lambda f: cut(
            f, sounding(f, "ts", *BROADCAST, "-c:a", "ac3"), (0.3, 1)
        ),
        "broadcast-latm": lambda f: sounding(
            f, "ts", *X264, "-c:a", "aac", "-mpegts_flags", "latm"
        ),
        "broadcast-programmes": programmes,
        "broadcast-dvd": lambda f: sounding(
            f, "vob", "-target", "pal-dvd", "-s", "64x48", "-aspect", "16:9"
        ),
        "broadcast-dv": lambda f: one(f, "dv", "-s", "720x576", "-pix_fmt", "yuv420p", "-t", "0.2"),
        "joined-size": lambda f: joined(
            f, [[*pattern(2), *X264], [*pattern(2, size="80x64"), *X264]]
        ),
        "joined-depth": lambda f: joined(
            f, [[*pattern(2), *X264], [*pattern(2), *X264[:4], "-pix_fmt", "yuv420p10le"]]
        ),
        "joined-sound": lambda f: joined(
            f,
            [
                [*pattern(2), *tone(2), *X264, "-c:a", "aac"],
                [*pattern(2), *tone(2, 44100), *X264, "-c:a", "aac", "-ac", "2"],
            ],
        ),
        "camera-h264": partial(raw, suffix="264"),
        "camera-h265": lambda f: raw(f, "265", "-x265-params", "log-level=none"),
        "camera-mjpeg": lambda f: raw(f, "mjpeg", "-pix_fmt", "yuvj420p"),
        "camera-3gp": lambda f: sounding(f, "3gp", "-c:v", "h263", "-s", "128x96", "-c:a", "aac"),
        "camera-fragments": lambda f: plain(f, "mp4", "-movflags", "frag_keyframe+empty_moov"),
        "camera-live-mkv": lambda f: plain(f, "mkv", "-f", "matroska", "-live", "1"),
        "camera-flv": lambda f: sounding(
            f, "flv", *X264, "-c:a", "aac", "-flvflags", "no_metadata"
        ),
        "camera-codes": lambda f: copied(
            f,
            plain(f),
            "mov",
            "-timecode",
            "10:00:00:00",
            "-metadata",
            "location=+10.0000+020.0000/",
        ),
        "odd-size": lambda f: one(
            f, "webm", "-c:v", "libvpx-vp9", inputs=pattern(1, "25", "65x47")
        ),
        "odd-strip": lambda f: one(f, "mkv", *X264, inputs=pattern(0.4, "25", "1024x16")),
        "odd-tiny": lambda f: one(f, "mkv", "-c:v", "ffv1", inputs=pattern(0.4, "25", "2x2")),
        "shape-and-turn": lambda f: copied(
            f, plain(f, "mp4", "-vf", "setsar=4/3"), "mov", "-metadata:s:v", "rotate=270"
        ),
        "name-percent": partial(named, name="100% rain %d #1.mp4"),
        "name-letters": partial(named, name="Regen \u96e8 caf\u00e9 'x' [a];b.mp4"),
        "name-colon": partial(named, name="12:30:00.mp4"),
        "name-dash": partial(named, name="-y.mp4"),
    }
)
