"""What two files hold, by the ffprobe program, and what the second lacks that no notice names."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# How exactly a container says when a frame is due, in seconds.
GRAIN = {".gif": 0.011, ".mkv": 0.0011, ".webm": 0.0011, ".flv": 0.0011, ".wmv": 0.0011}
GRAIN |= {".avi": 0.0201, ".ogv": 0.021, ".3gp": 0.0011}
SHAPELESS = {".gif", ".y4m", "_%03d.png"}  # frames alone
OWN = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration", "creation_time"}
OWN |= {"handler_name", "vendor_id", "bps", "number_of_frames", "number_of_bytes"}
OWN |= {"_statistics_writing_app", "_statistics_writing_date_utc", "_statistics_tags", "filename"}
OWN |= {
    "software",
    "mimetype",
    "service_name",
    "service_provider",
    "wm/encodingtime",
    "variant_bitrate",
}
# What another container calls the same packets, which decode alike.
SAME = {"mp2": {"mp3"}, "eac3": {"ac3"}, "pcm_s16be": {"pcm_dvd"}}
# What FFmpeg 5.1's ffprobe does not read and FFmpeg 8 writes by newer standards: tracks of .flv
# besides the first, codecs of .flv that came in 2023, PCM in .mp4 (ISO/IEC 23003-5).
YOUNG = {".flv": {"ac3", "eac3", "opus", "flac", "aac"}}
YOUNG |= {".mp4": {"pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le"}}
CUT = {"aac", "ac3", "mp2", "mp3", "h264", "hevc", "pcm_s16be"}
TEXT = {"subrip", "mov_text", "webvtt", "ass", "srt", "text"}


def ask(path: Path | str, *arguments: str) -> dict[str, Any]:
    """The answer of the ffprobe program."""
    command = ["ffprobe", "-v", "error", *arguments, "-of", "json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    try:
        found: dict[str, Any] = json.loads(done.stdout or "{}")
    except json.JSONDecodeError:  # it does not end its answer where a file does not open
        return {}
    return found


def probe(path: Path | str) -> dict[str, Any]:
    """What ffprobe says of a file, with the times and sizes of all packets and of all frames."""
    show = ["-show_format", "-show_streams", "-show_chapters", "-show_packets"]
    found = ask(path, "-count_frames", *show)
    films = [
        stream["index"]
        for stream in found.get("streams", [])
        if stream.get("codec_type") == "video" and not is_cover(stream)
    ]
    if films:
        fields = ["-show_entries", "frame=best_effort_timestamp_time"]
        frames = ask(path, "-select_streams", str(films[0]), *fields).get("frames", [])
        key = "best_effort_timestamp_time"
        found["shown"] = [float(frame[key]) for frame in frames if key in frame]
    return found


def is_cover(stream: dict[str, Any]) -> bool:
    """Whether ffprobe calls a stream an attached picture."""
    return bool(stream.get("disposition", {}).get("attached_pic"))


@dataclass
class Seen:
    """One file as ffprobe sees it."""

    found: dict[str, Any]
    film: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        films = [s for s in self.streams("video") if not is_cover(s)]
        self.film = films[0] if films else {}

    def streams(self, kind: str) -> list[dict[str, Any]]:
        """The streams of a kind."""
        return [s for s in self.found.get("streams", []) if s.get("codec_type") == kind]

    def times(self, stream: dict[str, Any], empty: bool = True) -> list[float]:
        """When its packets are due, or its frames where it is the film.

        Args:
            stream: one of this file's.
            empty: also packets of mov_text that say that nothing is shown.
        """
        least = 3 if stream.get("codec_name") == "mov_text" and not empty else 0
        if stream is self.film and self.found.get("shown"):
            return sorted(self.found["shown"])
        return sorted(
            float(p["pts_time"] if "pts_time" in p else p["dts_time"])
            for p in self.found.get("packets", [])
            if p["stream_index"] == stream["index"] and ("pts_time" in p or "dts_time" in p)
            if int(p["size"]) >= least
        )

    def size(self, stream: dict[str, Any]) -> int:
        """Bytes of its packets."""
        packets = self.found.get("packets", [])
        return sum(int(p["size"]) for p in packets if p["stream_index"] == stream["index"])

    def is_late(self, stream: dict[str, Any]) -> bool:
        """Whether a stream begins later than the file."""
        starts = [time for s in self.streams("video") for time in self.times(s)[:1]]
        own = self.times(stream)
        return bool(own and starts) and own[0] > min(0.0, *starts) + 0.05

    @property
    def frames(self) -> int:
        """Decoded frames of the film."""
        return int(self.film.get("nb_read_frames", 0))

    @property
    def words(self) -> dict[str, str]:
        """The tags of the file, of which some containers give a few to the streams."""
        own = self.found.get("format", {}).get("tags", {})
        if not own:
            own = self.film.get("tags", {})
        return {k.lower(): v for k, v in own.items() if k.lower() not in OWN}


def compare(before: Seen, after: Seen, suffix: str, notices: list[str]) -> list[str]:
    """What is wrong with an output: frames, times, packets, and what is missing without a word."""
    said = " ".join(notices)
    if not after.found.get("streams"):
        return ["ffprobe does not open it"]
    faults = []
    if after.frames != before.frames:
        faults.append(f"{after.frames} of {before.frames} frames")
    if suffix not in SHAPELESS - {".gif"}:
        faults += compare_times(before, after, suffix, said)
    for kind in ("video", "audio", "subtitle", "attachment"):
        faults += compare_streams(before, after, kind, suffix, said)
    if suffix not in SHAPELESS:
        faults += compare_sound(before, after, suffix, said)
        faults += compare_colour(before, after, said)
    return faults + compare_rest(before, after, said)


def steps(times: list[float]) -> list[float]:
    """Times from the first on."""
    return [time - times[0] for time in times]


def compare_times(before: Seen, after: Seen, suffix: str, said: str) -> list[str]:
    """The steps between frames."""
    one, two = before.times(before.film), after.times(after.film)
    if len(one) != len(two):
        return []  # said already, or fields that are stored one by one
    if "frames equally long" in said or "counts frames" in said or "jump back" in said:
        return []
    if suffix == ".avi":  # its first frame is due at 0
        one, two = one[1:], two[1:]
    one, two = steps(one), steps(two)
    exact = GRAIN.get(suffix, 0.0005) + 0.0006
    worst = max((abs(a - b) for a, b in zip(one, two, strict=True)), default=0)
    return [f"frames are up to {worst:.4f} s off"] if worst > exact else []


def compare_streams(before: Seen, after: Seen, kind: str, suffix: str, said: str) -> list[str]:
    """Other streams: there and whole, or named."""
    faults = []
    left = [s for s in after.streams(kind) if s is not after.film]
    for stream in before.streams(kind):
        if stream is before.film:
            continue
        name, index = stream.get("codec_name", "?"), stream["index"]
        named = f"stream {index} " in said or f"Subtitles {index} " in said
        named |= f"image {index} " in said
        if kind == "attachment" or (kind == "video" and is_cover(stream)):
            there = [s for s in left if is_cover(s) == is_cover(stream)]
            named |= "attachment" in said or "Cover" in said
        else:
            named |= name in YOUNG.get(suffix, set())
            alike = {name} | SAME.get(name, set())
            there = [s for s in left if s.get("codec_name") in alike]
            if kind == "subtitle" and not there and name in TEXT:
                there = [s for s in left if s.get("codec_name") in TEXT]
        if not there:
            faults += [] if named else [f"{kind} stream {index} ({name}) is lost without a word"]
            continue
        left.remove(there[0])
        faults += compare_packets(before, after, stream, there[0], said)
        faults += compare_marks(stream, there[0], said)
    return faults


def compare_packets(
    before: Seen, after: Seen, stream: dict[str, Any], copy: dict[str, Any], said: str
) -> list[str]:
    """The packets of a stream that is there."""
    if stream["codec_type"] == "attachment" or is_cover(stream):
        return []
    name, index = stream.get("codec_name"), stream["index"]
    one, two = before.times(stream, empty=False), after.times(copy, empty=False)
    sizes = before.size(stream), after.size(copy)
    if name in TEXT:
        there = len([t for t in two if t >= 0])
        return [] if there >= len(one) else [f"{there} of {len(one)} captions"]
    if f"Packets of stream {index} " in said:
        return []
    if stream["codec_type"] == "audio" and sizes[0] < sizes[1] and before.is_late(stream):
        return []  # silence before it, where sound has no times
    same = sizes[0] == sizes[1] or (len(one) == len(two) and name == "aac")
    # Transport streams may hold several frames in a packet, and have marks between frames.
    close = abs(sizes[0] - sizes[1]) <= 0.1 * sizes[0] and name in CUT
    return [] if same or close else [f"stream {index} ({name}): {sizes[1]} of {sizes[0]} bytes"]


def compare_marks(stream: dict[str, Any], copy: dict[str, Any], said: str) -> list[str]:
    """Languages and what a stream is for."""
    faults = []
    language = stream.get("tags", {}).get("language", "und")
    there = copy.get("tags", {}).get("language", "und")
    alike = {"fra": "fre", "deu": "ger"}
    if language != "und" and alike.get(there, there) != alike.get(language, language):
        faults += [] if "anguage" in said else [f"language {language} became {there}"]
    for mark in ("forced", "visual_impaired", "hearing_impaired", "comment"):
        if stream["disposition"].get(mark) and not copy["disposition"].get(mark):
            faults += [] if mark.replace("_", " ") in said else [f"{mark} is lost without a word"]
    return faults


def compare_sound(before: Seen, after: Seen, suffix: str, said: str) -> list[str]:
    """How late the sound begins."""
    one, two = before.streams("audio"), after.streams("audio")
    if not one or not two or one[0].get("codec_name") != two[0].get("codec_name"):
        return []
    late = [
        seen.times(streams[0])[0] - seen.times(seen.film)[0]
        for seen, streams in ((before, one), (after, two))
        if seen.times(streams[0]) and seen.times(seen.film)
    ]
    if before.is_late(one[0]) and after.size(two[0]) > before.size(one[0]):
        return []  # silence before it
    if suffix == ".avi" and late and late[0] < 0:
        return []  # the first frame of an .avi is shown from 0 on
    if len(late) == 2 and abs(late[0] - late[1]) > 0.05 and "sound" not in said.lower():
        return [f"sound begins {late[1]:.3f} s behind the video, not {late[0]:.3f}"]
    return []


def compare_colour(before: Seen, after: Seen, said: str) -> list[str]:
    """What the colours of the film mean, where both files hold luma and chroma."""
    if not all(seen.film.get("pix_fmt", "").startswith("yuv") for seen in (before, after)):
        return []
    faults = []
    # Readers take luma for limited, and colours for those of the size, where nothing is said.
    plain = {"tv", "smpte170m", "bt470bg", "bt709", "gamma28"}
    named = {"color_range": "the limited one"}
    for name in ("color_range", "color_space", "color_transfer", "color_primaries"):
        one, two = (seen.film.get(name, "unknown") for seen in (before, after))
        if (one in plain and two == "unknown") or named.get(name, "colours mean") in said:
            continue
        if one not in ("unknown", "reserved", two):
            faults.append(f"{name} {one} became {two}")
    return faults


def compare_rest(before: Seen, after: Seen, said: str) -> list[str]:
    """Tags, chapters, time code, turning, the shape of a pixel, data."""
    faults = []
    words = set(after.words.values())
    for stream in after.found.get("streams", []):
        words |= set(stream.get("tags", {}).values())
    for key, value in before.words.items():
        told = key in said.lower() or key.replace("timecode", "time code") in said
        if value not in words and not told and " more; .mkv has" not in said:
            faults.append(f"tag {key} is lost without a word")
    if len(after.found.get("chapters", [])) < len(before.found.get("chapters", [])):
        faults += [] if "chapter" in said else ["chapters are lost without a word"]
    codes = [
        s["tags"]["timecode"] for s in before.found["streams"] if "timecode" in s.get("tags", {})
    ]
    faults += [] if set(codes) <= words or "time code" in said else ["the time code is lost"]
    if before.film.get("side_data_list") and not after.film.get("side_data_list"):
        kinds = [s["side_data_type"] for s in before.film["side_data_list"]]
        if "Display Matrix" in kinds and "turned" not in said:
            faults.append("the turning is lost without a word")
    aspect = before.film.get("sample_aspect_ratio", "1:1")
    if aspect not in ("1:1", "0:1", after.film.get("sample_aspect_ratio")):
        faults += [] if "shape of a pixel" in said else [f"aspect {aspect} is lost"]
    for stream in before.streams("data"):
        if (
            stream.get("codec_tag_string") not in ("tmcd", "text")
            and f"{stream['index']}" not in said
        ):
            faults.append(f"data stream {stream['index']} is lost without a word")
    return faults
