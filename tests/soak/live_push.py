"""Live to a receiver, for long: sound in step with the frames, memory flat, little delay added.

    python tests/soak/live_push.py [--minutes 60] [--model median] [--size 640x360]

The source flashes and beeps together once a second; a process of its own receives MPEG-TS over TCP
and says how far apart they arrive and when. Ends with status 1 where they are ever more than 40 ms
apart, where the resident memory of the session is at the end more than a tenth above that after the
first minute, or where a frame reaches the receiver more than 100 ms (median) after the network had
finished it.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import av
import numpy as np

if TYPE_CHECKING:
    from derain.pipeline.live.session import Live

SLACK, APART, DELAY = 1.10, 0.040, 0.100
SOUND = "aevalsrc='if(lt(mod(t,1),0.2),0.5*sin(2763*t),0)':s=44100[out1]"
FLASH = (
    "testsrc2=size={size}:rate=25,format=yuv420p,"
    "drawbox=w=iw:h=ih/4:color=black:t=fill,"
    "drawbox=w=iw:h=ih/4:color=white:t=fill:enable='lt(mod(t,1),0.2)'[out0]"
)


def receive(port: int) -> None:
    """Print a line of JSON for each frame, flash and beep.

    Its time, for a flash also that of the frame before it, and the moment it was here.
    """

    def say(kind: str, at: float, before: float = 0.0) -> None:
        sys.stdout.write(json.dumps([kind, at, before, time.monotonic()]) + "\n")
        sys.stdout.flush()

    lit, last_loud, last = True, 0.0, 0.0
    url = f"tcp://127.0.0.1:{port}?listen=1"
    with av.open(url, options={"probesize": "100000", "analyzeduration": "200000"}) as container:
        for frame in container.decode(*container.streams):
            if isinstance(frame, av.AudioFrame):
                loud = np.flatnonzero(np.abs(frame.to_ndarray()[0]) > 0.1)
                if loud.size:
                    at = frame.time + int(loud[0]) / frame.sample_rate
                    if at - last_loud > 0.4:
                        say("beep", at)
                    last_loud = frame.time + int(loud[-1]) / frame.sample_rate
                continue
            say("frame", frame.time)
            before, lit = lit, bool(frame.to_ndarray()[: frame.height // 6].mean() > 120)
            if lit and not before:
                say("flash", frame.time, last)
            last = frame.time


def resident() -> float:
    """Resident memory in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Figures:
    """What comes back from the receiver, beside when the network finished each frame."""

    def __init__(self) -> None:
        self.finished: dict[int, float] = {}  # moment, by the frame's time in milliseconds
        self.first: tuple[float, float] | None = None  # of the session and of the receiver
        self.flashes: list[tuple[float, float]] = []  # the frame before each, and its own
        self.beeps: list[float] = []
        self.delays: list[float] = []

    def watch(self, live: Live) -> None:
        """Note the moments at which frames are finished, until the session ends."""
        number = 0
        while not live.ended:
            shown = live.broadcaster.wait(number, 0.5)
            if shown is not None:
                number = shown.number
                self.finished[round(1000 * shown.frame.time)] = time.monotonic()

    def read(self, receiver: subprocess.Popen[str]) -> None:
        """Take the receiver's lines until it ends."""
        assert receiver.stdout is not None
        for line in receiver.stdout:
            kind, at, before, moment = json.loads(line)
            if kind == "flash":
                self.flashes.append((before, at))
            elif kind == "beep":
                self.beeps.append(at)
            if kind != "frame":
                continue
            if self.first is None:
                self.first = (min(self.finished, default=0) / 1000, at)
            finished = self.finished.pop(round(1000 * (at - self.first[1] + self.first[0])), None)
            if finished is not None:
                self.delays.append(moment - finished)

    def apart(self) -> list[float]:
        """Seconds between each flash and the beep nearest to it.

        Where frames were dropped, a flash began at any time after the last dark frame.
        """
        found = []
        for dark, lit in self.flashes:
            outside = [max(0.0, dark - beep, beep - lit) for beep in self.beeps]
            found.append(min(outside, default=1.0))
        return [x for x in found if x < 0.5]  # else the beep is still on its way


def main() -> int:
    """Run, report each minute, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--model", default="median")
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--receive", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.receive:
        receive(asked.receive)
        return 0
    from derain.pipeline.cli.allocator import keep_memory  # which the receiver needs not
    from derain.pipeline.live.options import LiveOptions
    from derain.pipeline.live.session import Live

    keep_memory()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, __file__, "--receive", str(port)]
    receiver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    time.sleep(5)  # it listens: what it gets first is the first frame of the session
    source = f"lavfi:{FLASH.format(size=asked.size)};{SOUND}"
    to = (f"tcp://127.0.0.1:{port}",)
    figures, memory = Figures(), []
    with Live(LiveOptions(source=source, model=asked.model, resolution="source", to=to)) as live:
        for work in (lambda: figures.watch(live), lambda: figures.read(receiver)):
            threading.Thread(target=work, daemon=True).start()
        for minute in range(1, max(2, round(asked.minutes)) + 1):
            time.sleep(60)
            memory.append(resident())
            (sending,) = live.status()["sending"]
            apart = figures.apart()
            sys.stdout.write(
                f"minute {minute}: {memory[-1]:.0f} MiB, {sending['frames']} frames sent, "
                f"{sending['dropped']} dropped, {len(apart)} flashes, worst "
                f"{1000 * max(apart, default=0):.0f} ms from its beep, delay "
                f"{1000 * median(figures.delays or [0]):.0f} ms\n"
            )
            sys.stdout.flush()
    receiver.terminate()
    apart = figures.apart()
    good = len(apart) > 10 and max(apart) <= APART and memory[-1] <= SLACK * memory[0]
    good = good and bool(figures.delays) and median(figures.delays) <= DELAY
    sys.stdout.write("steady\n" if good else "NOT steady\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
