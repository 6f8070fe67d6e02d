"""Passwords in the names of sources are not shown."""

from __future__ import annotations

import pytest

from derain.models.log import mask_credentials, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:hunter2@cam:554/a is lost", "rtsp://***@cam:554/a is lost"),
        ("error: RTSP://u:p@ss@cam/a", "error: RTSP://***@cam/a"),
        ("http://cam/mjpg?user=a&password=hunter2&x=1", "http://cam/mjpg?user=a&password=***&x=1"),
        ("srt://host:9?passphrase=hunter2hunter2", "srt://host:9?passphrase=***"),
        ("rtmp://live.example/app/key-123?x=1 ends", "rtmp://live.example/app/*** ends"),
        ("rtsp://cam/a@b.mp4 of lavfi:testsrc2=size=64x48", None),
        ("C:/films/a@b.mp4", None),
    ],
)
def test_users_passwords_and_keys_are_masked(text: str, shown: str | None) -> None:
    assert mask_credentials(text) == (shown or text)


def test_terminals_obey_no_name() -> None:
    name = "a\x1b]0;owned\x07\x9b2J\r\n\u202egpj.mp4\udcff é雨"
    assert printable(name) == r"a\x1b]0;owned\x07\x9b2J\r\n\u202egpj.mp4\udcff é雨"


def test_no_line_on_a_terminal_shows_a_password() -> None:
    line = printable("rtsp://admin:hunter2@camera/1 cannot be opened")
    assert line == "rtsp://***@camera/1 cannot be opened"
