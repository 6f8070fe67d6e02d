"""The process that sends one stream to its receiver: packets in by standard input, out by FFmpeg.

    python -m derain.pipeline.live.outputs.sender

Why a process: FFmpeg connects while it holds Python's lock, and waits for a dead receiver as long
as the system likes; in the process of the session either would stop the frames. This one is ended
when it gets stuck. It reads one line of JSON (address, muxer, options), then NUT until the end. The
address comes that way because command lines are seen by every user of a machine, and it may hold a
password. What goes wrong is one line on standard error.
"""

from __future__ import annotations

import json
import os
import sys

import av

# Packets go out as they come: hardly any probing (of which "nobuffer" would lose the packets), no
# waiting for the other stream.
AT_ONCE = {"probesize": "32", "analyzeduration": "0"}
FLUSHED = {"flush_packets": "1", "max_interleave_delta": "1", "max_delay": "0"}


def read_line(descriptor: int) -> bytes:
    """One line, and no byte more than that."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(descriptor, 1)
        if not byte:
            break
        line += byte
    return line


def send(address: str, muxer: str, options: dict[str, str]) -> None:
    """Copy packets from standard input to the receiver until the input ends.

    Args:
        address: FFmpeg's, with the options of the protocol.
        muxer: FFmpeg's name of the container.
        options: of the muxer.
    """
    with (
        av.open("pipe:0", format="nut", options=AT_ONCE) as source,
        av.open(address, "w", format=muxer, container_options=FLUSHED | options) as target,
    ):
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                target.mux_one(packet)


def main() -> int:
    """Send; the exit status."""
    line = read_line(0)
    if not line:
        return 0
    try:
        send(**json.loads(line))
    except (av.FFmpegError, OSError, ValueError) as error:
        sys.stderr.write(f"{getattr(error, 'strerror', None) or error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
