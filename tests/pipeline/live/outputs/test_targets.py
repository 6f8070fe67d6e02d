"""Words for targets of a live session."""

from __future__ import annotations

from pathlib import Path

import pytest

from derain.models.errors import DerainError, UsageError
from derain.pipeline.live.outputs.targets import parse_target


@pytest.mark.parametrize(
    ("word", "address", "muxer"),
    [
        ("-", "pipe:1", "mpegts"),
        ("mjpeg:-", "pipe:1", "mjpeg"),
        ("rtsp://host/a", "rtsp://host/a", "rtsp"),
        ("rtmp://host/a/key", "rtmp://host/a/key", "flv"),
        ("udp://239.0.0.1:5000", "udp://239.0.0.1:5000?pkt_size=1316", "mpegts"),
        ("srt://h:1?passphrase=x", "srt://h:1?passphrase=x&pkt_size=1316", "mpegts"),
        ("srt://h:1?pkt_size=188", "srt://h:1?pkt_size=188", "mpegts"),
        ("camera:/dev/video9", "/dev/video9", ""),
    ],
)
def test_words_for_targets(word: str, address: str, muxer: str) -> None:
    target = parse_target(word)
    assert (target.address, target.receiver.muxer) == (address, muxer)


def test_other_words_are_refused(tmp_path: Path) -> None:
    for wrong in ("", "out.mp4", "ftp://host/a", "rtsp:", "udp://", "hls:"):
        with pytest.raises(UsageError, match="--to sends to"):
            parse_target(wrong)
    with pytest.raises(DerainError, match="no folder"):
        parse_target(f"hls:{tmp_path / 'a' / 'b'}")
    (tmp_path / "file").touch()
    with pytest.raises(DerainError, match="is a file"):
        parse_target(f"hls:{tmp_path / 'file'}")
