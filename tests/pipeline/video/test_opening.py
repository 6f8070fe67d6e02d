"""Playlists from files reach only what is below their folder, and no network."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from derain.models.errors import VideoError
from derain.pipeline.video import VideoReader
from derain.pipeline.video.opening import NETWORK, _protocols

HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"
CONCAT = "ffconcat version 1.0\nfile '{}'\n"
SDP = (
    "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
)
FLAG = "--allow-network-playlists"


@pytest.fixture
def folder(make_clip: Callable[..., Path], tmp_path: Path) -> Path:
    """A folder with a film in a folder below it, and one beside it."""
    (tmp_path / "lists" / "deep").mkdir(parents=True)
    data = make_clip("beside.ts", frames=5).read_bytes()
    (tmp_path / "lists" / "deep" / "film.ts").write_bytes(data)
    return tmp_path / "lists"


def frames_of(source: Path, allow: bool = False) -> int:
    with VideoReader(source, allow_network_playlists=allow) as reader:
        return sum(1 for _ in reader.frames())


@pytest.mark.parametrize(("name", "text"), [("a.m3u8", HLS), ("a.ffconcat", CONCAT)])
def test_a_playlist_plays_what_is_below_its_folder(folder: Path, name: str, text: str) -> None:
    source = folder / name
    source.write_text(text.format("deep/film.ts"))
    assert frames_of(source) == 5
    with VideoReader(f"file:{source}") as reader:
        assert sum(1 for _ in reader.frames()) == 5


@pytest.mark.parametrize(("name", "text"), [("a.m3u8", HLS), ("a.ffconcat", CONCAT)])
@pytest.mark.parametrize("way", ["../beside.ts", "deep/../../beside.ts", "/beside.ts"])
def test_nothing_else_unless_it_is_allowed(folder: Path, name: str, text: str, way: str) -> None:
    source = folder / name
    source.write_text(text.format(f"{folder.parent}{way}" if way.startswith("/") else way))
    with pytest.raises(VideoError, match=FLAG):
        frames_of(source)
    assert frames_of(source, allow=True) == 5


@pytest.mark.parametrize(("name", "text"), [("a.m3u8", HLS), ("a.ffconcat", CONCAT)])
def test_no_address_is_asked(folder: Path, name: str, text: str) -> None:
    source = folder / name
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        source.write_text(text.format(f"http://127.0.0.1:{server.getsockname()[1]}/film.ts"))
        with pytest.raises(VideoError, match=FLAG):
            frames_of(source)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_list_in_a_list_and_a_description_of_a_stream_are_refused(folder: Path) -> None:
    (folder / "inner.m3u8").write_text(HLS.format("../beside.ts"))
    (folder / "outer.ffconcat").write_text(CONCAT.format("inner.m3u8"))
    (folder / "stream.sdp").write_text(SDP)
    for name in ("outer.ffconcat", "stream.sdp"):
        with pytest.raises(VideoError, match=FLAG):
            frames_of(folder / name)


def test_a_missing_part_is_named(folder: Path) -> None:
    (folder / "a.m3u8").write_text(HLS.format("deep/none.ts"))
    with pytest.raises(VideoError, match=r"none\.ts, which .*a\.m3u8 names, cannot be read"):
        frames_of(folder / "a.m3u8")


@pytest.mark.parametrize(
    ("source", "network", "files"),
    [
        ("a.mp4", False, True),
        ("file:12:30.mp4", False, True),
        ("concat:a.ts|b.ts", False, True),
        ("concat:http://x/a.ts|http://x/b.ts", True, False),
        ("https://x/list.m3u8", True, False),
        ("rtsp://x/y", True, False),
    ],
)
def test_the_protocols_are_set_by_what_the_user_named(
    source: str, network: bool, files: bool
) -> None:
    allowed = _protocols(source, None, False)["protocol_whitelist"].split(",")
    assert set(NETWORK.split(",")) <= set(allowed) if network else "http" not in allowed
    assert ("file" in allowed) == files
