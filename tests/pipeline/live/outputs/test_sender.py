"""The sending process: its line of settings, packets to the last bit, errors in one line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av

from derain.pipeline.live.outputs.sender import read_line

SENDER = """
import sys
from derain.pipeline.live.outputs.sender import main
INPUT = os.open(sys.argv[1], os.O_RDONLY)
os.dup2(INPUT, 0)
sys.exit(main())
"""


def test_a_line_is_read_and_no_byte_more() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"line\nrest")
    os.close(writing)
    assert read_line(reading) == b"line\n"
    assert os.read(reading, 100) == b"rest"
    assert read_line(reading) == b""
    os.close(reading)


def given(clip: Path, **order: Any) -> Path:
    """What the process is given: its order, then the film as NUT."""
    film = clip.with_suffix(".nut")
    with av.open(str(clip)) as source, av.open(str(film), "w") as out:
        streams = {s.index: out.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    told = clip.with_name("given")
    told.write_bytes(json.dumps(order).encode() + b"\n" + film.read_bytes())
    return told


def payloads(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return sorted(bytes(packet) for packet in container.demux() if packet.size)


def test_packets_arrive_as_they_were(
    forked: Callable[..., Any], make_clip: Callable[..., Path]
) -> None:
    clip = make_clip("in.mkv", frames=20, audio="aac")
    target = clip.with_name("out.mkv")
    told = given(clip, address=str(target), muxer="matroska", options={})
    _, said, code = forked(str(told), script=SENDER).communicate()
    assert (code, said) == (0, "")
    assert payloads(target) == payloads(clip)


def test_what_goes_wrong_is_one_line(
    forked: Callable[..., Any], make_clip: Callable[..., Path]
) -> None:
    clip = make_clip("in.mkv", frames=3)
    told = given(clip, address=str(clip.parent / "no" / "out.mkv"), muxer="matroska", options={})
    _, said, code = forked(str(told), script=SENDER).communicate()
    assert code == 1 and said == "No such file or directory\n"
    told.write_bytes(b"")
    assert forked(str(told), script=SENDER).communicate() == (b"", "", 0)
