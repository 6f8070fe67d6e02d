"""What each kind of file can hold and how it is written: one record per container.

A quirk of a container is one field here; nothing else of the pipeline compares endings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

PIPE = "-"
NONE: frozenset[str] = frozenset()
RIFF = frozenset(
    ["title", "artist", "comment", "copyright", "date", "genre", "album", "track", "creation_time"]
)
FRAGMENTS = {
    # empty_moov would lose start offsets and the priming of AAC; delay_moov keeps them.
    "movflags": "frag_every_frame+delay_moov+default_base_moof",
    "strict": "unofficial",  # spheres and stereo, which Google wrote down
}
BLU_RAY = {"mpegts_m2ts_mode": "1"}
# Without it the muxer holds all sound until the first frame comes.
EARLY_HEADER = {"movflags": "frag_every_frame+empty_moov+default_base_moof"}
NEED_PACKETS = {"ac3", "eac3"}  # an early header has no description of these
# Raw frames of YUV4MPEG: no RGB, and transparency with eight bits of 4:4:4 alone.
Y4M_FORMATS = frozenset(
    ["gray", "gray10le", "gray12le", "gray16le", "yuva444p", "yuv411p"]
    + [f"yuv{chroma}p" for chroma in ("420", "422", "444")]
    + [f"yuv{chroma}p{bits}le" for chroma in ("420", "422", "444") for bits in (9, 10, 12, 14, 16)]
)
# The codes that QuickTime's list of languages has instead of the usual ones.
QUICKTIME = {"deu": "ger", "nld": "dut", "ell": "gre", "isl": "ice", "zho": "chi", "swe": "sve"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One kind of file: what it can hold, and what its muxer wants."""

    suffix: str  # as sentences name it
    muxer: str = ""  # FFmpeg's name of it, where it is tried in memory
    encoder: str | None = None  # the usual one where that is not H.264 or H.265
    deep_encoder: str | None = None  # the one to advise for more than eight bits; None: libx265
    pixel_formats: frozenset[str] = NONE  # those that its raw frames can have; empty: all
    written: bool = True  # whether an input of this kind becomes an output of the same kind
    fragmented: bool = False  # the part is a fragmented MP4, put in its usual order at the end
    lists_codecs: bool = True  # FFmpeg knows which codecs it takes
    rotation: bool = True  # says how the image is turned
    immersive: bool = False  # says that it is a sphere, or has two views
    dolby_vision: bool = False  # has the record that players look for
    colours: bool = False  # says what colours mean
    full_range: bool = False  # says that luma has all values, for codecs that leave it to others
    light: bool = False  # says how light the display was on which the film was graded
    pixel_aspect: bool = False  # says the shape of a pixel for any codec
    constant_rate: bool = False  # shows all frames equally long
    unit: Fraction | None = None  # of its time, where it is coarse and readers misread single ones
    b_frames: bool = True  # has time stamps, so that frames may be stored out of order
    rises_in_own_units: bool = False  # refuses time stamps that its rounding makes equal
    counts_sound: bool = False  # has no time stamps of sound: begins at 0, and closes holes
    any_start: bool = True  # plays from its first time stamp on; else from 0
    words: frozenset[str] | None = None  # the tags that it keeps; None: all
    comment_behind: bool = False  # its comment is put behind the frames (gif_comment.py)
    timecode: bool = True
    chapters: bool = True
    names_languages: bool = True  # of streams
    marks: bool = True  # what streams are for: forced, for those who do not hear
    attachments: bool = False
    covers: str | None = None  # "attachment", "stream", or None
    needs_asc: bool = False  # wants the header of AAC once, not in each packet
    hevc_tag: str | None = None  # the code of H.265 that players want
    languages: Mapping[str, str] = field(
        default_factory=dict
    )  # codes it has instead of the usual ones
    part_options: Mapping[str, str] = field(default_factory=dict)  # of the muxer


MP4 = Container(
    suffix=".mp4",
    muxer="mp4",
    fragmented=True,
    any_start=False,
    pixel_aspect=True,
    colours=True,
    full_range=True,
    immersive=True,
    dolby_vision=True,
    light=True,
    covers="stream",
    needs_asc=True,
    hevc_tag="hvc1",
    part_options=FRAGMENTS,
)
MATROSKA = Container(
    suffix=".mkv",
    colours=True,
    full_range=True,
    immersive=True,
    dolby_vision=True,
    light=True,
    attachments=True,
    covers="attachment",
    part_options={"cluster_time_limit": "1000"},
)
TRANSPORT = Container(
    suffix=".ts",
    lists_codecs=False,
    rotation=False,
    words=NONE,
    chapters=False,
)
PROGRAM = replace(
    TRANSPORT,
    suffix=".mpg",
    lists_codecs=True,
    names_languages=False,
    marks=False,
    written=False,
)
OTHER = Container(suffix="", written=False)  # whatever else FFmpeg writes
IMAGES = replace(
    OTHER, rotation=False, words=NONE, chapters=False, names_languages=False, marks=False
)

CONTAINERS = {
    c.suffix: c
    for c in (
        MP4,
        replace(
            MP4,
            suffix=".m4v",
            muxer="ipod",
            timecode=False,
            immersive=False,
            dolby_vision=False,
            marks=False,
        ),
        replace(
            MP4,
            suffix=".mov",
            muxer="mov",
            covers=None,
            full_range=False,
            immersive=False,
            dolby_vision=False,
            marks=False,
            languages=QUICKTIME,
        ),
        replace(
            MP4,
            suffix=".3gp",
            immersive=False,
            dolby_vision=False,
            written=False,
            covers=None,
            words=NONE,
            marks=False,
        ),
        MATROSKA,
        replace(
            MATROSKA,
            suffix=".webm",
            encoder="libvpx-vp9",
            deep_encoder="libsvtav1",
            attachments=False,
            covers=None,
        ),
        Container(
            suffix=".avi",
            rotation=False,
            b_frames=False,
            any_start=False,
            rises_in_own_units=True,
            counts_sound=True,
            needs_asc=True,
            words=RIFF,
            chapters=False,
            names_languages=False,
            marks=False,
        ),
        TRANSPORT,
        replace(TRANSPORT, suffix=".m2ts", part_options=BLU_RAY),
        replace(TRANSPORT, suffix=".mts", written=False, part_options=BLU_RAY),
        PROGRAM,
        replace(PROGRAM, suffix=".mpeg"),
        replace(PROGRAM, suffix=".vob"),
        Container(suffix=".nut", encoder="ffv1", rotation=False, marks=False),
        Container(
            suffix=".flv",
            rotation=False,
            timecode=False,
            any_start=False,
            chapters=False,
            names_languages=False,
            marks=False,
            written=False,
        ),
        Container(
            suffix=".mxf",
            constant_rate=True,
            counts_sound=True,
            any_start=False,
            words=NONE,
            chapters=False,
            names_languages=False,
            marks=False,
            written=False,
        ),
        Container(
            suffix=".wmv",
            any_start=False,
            rises_in_own_units=True,
            b_frames=False,
            needs_asc=True,
            rotation=False,
            timecode=False,
            marks=False,
            written=False,
        ),
        Container(suffix=".ogv", written=False),
        replace(
            IMAGES,
            suffix=".gif",
            encoder="gif",
            any_start=False,
            rises_in_own_units=True,
            unit=Fraction(1, 100),
            written=True,
            words=frozenset(["comment"]),
            comment_behind=True,
        ),
        # More than eight bits are no standard, but what all readers know.
        replace(
            IMAGES,
            suffix=".y4m",
            muxer="yuv4mpegpipe",
            encoder="wrapped_avframe",
            constant_rate=True,
            full_range=True,
            pixel_formats=Y4M_FORMATS,
            part_options={"strict": "-1"},
        ),
        replace(IMAGES, suffix=".png", encoder="png"),
        replace(IMAGES, suffix=".jpg", encoder="mjpeg"),
        replace(IMAGES, suffix=".jpeg", encoder="mjpeg"),
    )
}
# Films by their ending: those that are read, and those that are also written as what they are.
READ = frozenset(CONTAINERS) - {".png", ".jpg", ".jpeg"}
WRITTEN = frozenset(s for s in READ if CONTAINERS[s].written and s != ".y4m")


def container_of(target: str | Path, format: str | None = None) -> Container:
    """The record for an output; what FFmpeg alone knows is taken to hold everything.

    Args:
        target: a path, or `-` for standard output.
        format: FFmpeg's name of the container, which standard output has no ending for.
    """
    if str(target) == PIPE:
        known = (c for c in CONTAINERS.values() if format and c.muxer == format)
        return replace(next(known, OTHER), suffix=PIPE)
    suffix = Path(target).suffix.lower()
    return CONTAINERS.get(suffix) or replace(OTHER, suffix=suffix)
