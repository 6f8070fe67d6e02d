"""Where `--to` can send: one record per kind of receiver, and what a user's word for one means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from derain.models.errors import DerainError, UsageError

H26X = ("h264", "hevc")
PLAYLIST = "index.m3u8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """One kind of receiver: the container it wants, and what may be in it."""

    muxer: str  # FFmpeg's name of the container
    encoder: str = "libx264"  # unless the user names another
    codecs: tuple[str, ...] = H26X  # that may be asked for
    sound: bool = True
    paced: bool = True  # takes frames at their time alone, so a file is played at its own pace
    returns: bool = True  # one that went away may come back
    program: bool = False  # PyAV's FFmpeg lacks the protocol: the ffmpeg program sends
    options: Mapping[str, str] = field(default_factory=dict)  # of the muxer
    query: Mapping[str, str] = field(default_factory=dict)  # of the protocol, added to the URL


# Program tables and key frames often enough for who tunes in late.
TRANSPORT = {"mpegts_flags": "resend_headers+pat_pmt_at_frames"}
RECEIVERS = {
    "rtsp": Receiver(muxer="rtsp", options={"rtsp_transport": "tcp"}),
    "rtmp": Receiver(muxer="flv", codecs=("h264",), options={"flvflags": "no_duration_filesize"}),
    "rtmps": Receiver(muxer="flv", codecs=("h264",), options={"flvflags": "no_duration_filesize"}),
    # Packets of 7 times 188 bytes fit into a frame of Ethernet.
    "srt": Receiver(muxer="mpegts", options=TRANSPORT, query={"pkt_size": "1316"}, program=True),
    "udp": Receiver(muxer="mpegts", options=TRANSPORT, query={"pkt_size": "1316"}),
    "tcp": Receiver(muxer="mpegts", options=TRANSPORT),
}
STANDARD_OUTPUT = {
    "-": Receiver(muxer="mpegts", paced=False, returns=False, options=TRANSPORT),
    "mjpeg:-": Receiver(
        muxer="mjpeg",
        encoder="mjpeg",
        codecs=("mjpeg",),
        sound=False,
        paced=False,
        returns=False,
    ),
}
HLS = Receiver(
    muxer="hls",
    options={
        "hls_time": "2",
        "hls_list_size": "6",
        "hls_flags": "delete_segments+independent_segments+temp_file",
    },
)
CAMERA = Receiver(muxer="", encoder="", codecs=(), sound=False)
KNOWN = (
    "rtsp://, rtmp://, rtmps://, srt://, udp://, tcp://, camera:, hls:FOLDER, mjpeg:-, or - for "
    "MPEG-TS on standard output"
)


@dataclass(frozen=True, slots=True)
class Target:
    """One receiver: the user's word for it, and FFmpeg's address (a camera's: the device)."""

    name: str
    address: str
    receiver: Receiver

    @property
    def is_camera(self) -> bool:
        """Whether it is a virtual camera of this machine."""
        return self.receiver is CAMERA


def parse_target(word: str, overwrite: bool = False) -> Target:
    """What a user's word for a receiver means.

    Args:
        word: a URL, `camera:` or `camera:DEVICE`, `hls:FOLDER`, `-`, `mjpeg:-`.
        overwrite: replace the playlist that is in the folder.

    Raises:
        UsageError: nothing of that kind can be sent to.
        DerainError: the folder cannot take it.
    """
    if word in STANDARD_OUTPUT:
        return Target(word, "pipe:1", STANDARD_OUTPUT[word])
    scheme, colon, rest = word.partition(":")
    if scheme == "camera" and colon:
        return Target(word, rest, CAMERA)
    if scheme == "hls" and rest:
        return Target(word, _playlist(Path(rest), overwrite), HLS)
    if scheme in RECEIVERS and rest.startswith("//") and len(rest) > 2:
        receiver = RECEIVERS[scheme]
        return Target(word, _with_query(word, receiver.query), receiver)
    raise UsageError(f"--to sends to {KNOWN}, not to '{word}'; a file is written by --record.")


def _playlist(folder: Path, overwrite: bool) -> str:
    """The playlist in a folder, which is made where its parent is there."""
    if folder.exists() and not folder.is_dir():
        raise DerainError(f"{folder} is a file; name a folder for --to hls:.")
    if not folder.parent.is_dir():
        raise DerainError(f"There is no folder {folder.parent}; make it first.")
    playlist = folder / PLAYLIST
    if playlist.exists() and not overwrite:
        raise DerainError(f"{playlist} is there already; add -y to replace it.")
    folder.mkdir(exist_ok=True)
    return str(playlist)


def _with_query(url: str, query: Mapping[str, str]) -> str:
    """The URL with options of its protocol that the user did not set."""
    missing = [f"{k}={v}" for k, v in query.items() if f"{k}=" not in url]
    return url + "".join(f"{'&' if '?' in url or i else '?'}{x}" for i, x in enumerate(missing))
