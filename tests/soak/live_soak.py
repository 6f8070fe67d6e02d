"""Ten minutes of live: latency and memory must stay what they were in the first minute.

    python tests/soak/live_soak.py [--minutes 10] [--model median] [--size 320x180]

Two viewers watch, one of them stops reading every other minute. Ends with status 1 where the 95th
percentile of the latency or the resident memory of the last minute is more than a tenth above the
first's (memory is looked at after the first minute, when buffers have their size).
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from derain.pipeline.cli.allocator import keep_memory
from derain.pipeline.live.http import LiveServer
from derain.pipeline.live.session import Live, LiveOptions

SLACK = 1.10


def resident() -> float:
    """Resident memory in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def watch(port: int, stop: threading.Event, reads: Callable[[], bool]) -> None:
    """A viewer that reads while `reads` says so; it comes back when it was thrown out."""
    while not stop.is_set():
        with socket.create_connection(("127.0.0.1", port), 30) as connection:
            head = f"GET /stream?pair=1 HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n"
            connection.sendall(head.encode())
            while not stop.is_set():
                if not reads():
                    time.sleep(0.5)
                elif not connection.recv(1 << 16):
                    break


def main() -> int:
    """Run, report each minute, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--model", default="median")
    parser.add_argument("--size", default="320x180")
    asked = parser.parse_args()
    keep_memory()
    source = f"lavfi:testsrc2=size={asked.size}:rate=25"
    latencies, memory = [], []
    stop = threading.Event()
    with Live(LiveOptions(source, model=asked.model, resolution="source")) as live:
        server = LiveServer(live, ("127.0.0.1", 0))
        server.start()
        began = time.monotonic()

        def odd_minute() -> bool:
            return int((time.monotonic() - began) / 60) % 2 == 0

        for reads in (lambda: True, odd_minute):
            arguments = (server.port, stop, reads)
            threading.Thread(target=watch, args=arguments, daemon=True).start()
        for minute in range(1, max(2, round(asked.minutes)) + 1):
            time.sleep(60)
            total = live.times.percentiles()["total"]
            latencies.append(total[1])
            memory.append(resident())
            status = live.status()
            sys.stdout.write(
                f"minute {minute}: p50 {total[0]:.0f} ms, p95 {total[1]:.0f} ms, "
                f"{memory[-1]:.0f} MiB, {status['frames']} frames, {status['dropped']} dropped\n"
            )
            sys.stdout.flush()
        stop.set()
        server.shutdown()
    good = latencies[-1] <= SLACK * latencies[0] and memory[-1] <= SLACK * memory[0]
    sys.stdout.write("steady\n" if good else "NOT steady\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
