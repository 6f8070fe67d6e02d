"""Time the single-image networks against literal forwards of their equations.

    python tests/bench/single_image.py [--height 128] [--width 160] [--threads 1] [--rounds 9]

Fast and literal runs take turns, so that other work on the machine slows both alike; medians of the
CPU time are printed with their ratio and the largest difference of the results. A literal forward
has one convolution for each gate and planes of channels; it is the one its test compares with.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models"))

Forward = Callable[[Tensor], Tensor]


def rescan(unit: str) -> tuple[Forward, Forward]:
    test = import_module("test_rescan")
    state = test.original(unit)
    return test.build(state), lambda x: test.literal(state, x, unit, "full", 4)[-1]


def dcsfn(unit: str) -> tuple[Forward, Forward]:
    test = import_module("test_dcsfn")
    state = test.original(unit=unit)
    return test.build(state), lambda x: test.literal(state, x)


def spanet(direction_gate: bool) -> tuple[Forward, Forward]:
    test = import_module("test_spanet")
    state = test.original()
    fast = test.build(state, direction_gate=direction_gate)
    return fast, lambda x: test.literal(state, x, direction_gate)[0]


def remaen() -> tuple[Forward, Forward]:
    test = import_module("test_remaen")
    state = test.original()
    return test.build(state), lambda x: test.literal(state, x)[-1]


# (name, a function that gives (fast, literal))
NETWORKS: list[tuple[str, Callable[[], tuple[Forward, Forward]]]] = [
    ("rescan conv", lambda: rescan("conv")),
    ("rescan rnn", lambda: rescan("rnn")),
    ("rescan gru", lambda: rescan("gru")),
    ("rescan lstm", lambda: rescan("lstm")),
    ("spanet", lambda: spanet(False)),
    ("spanet gated", lambda: spanet(True)),
    ("remaen", remaen),
    ("dcsfn gru", lambda: dcsfn("gru")),
    ("dcsfn lstm", lambda: dcsfn("lstm")),
    ("dcsfn rnn", lambda: dcsfn("rnn")),
]


@torch.inference_mode()
def compare(fast: Forward, literal: Forward, rainy: Tensor, rounds: int) -> tuple[float, float]:
    """Median CPU seconds of both, after one round to warm up."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 1):
        for forward, times in zip((fast, literal), seconds, strict=True):
            start = time.process_time()
            forward(rainy)
            times.append(time.process_time() - start)
    return statistics.median(seconds[0][1:]), statistics.median(seconds[1][1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only networks whose name starts so")
    parser.add_argument("--height", type=int, default=128)
    parser.add_argument("--width", type=int, default=160)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rainy = torch.rand(1, 3, options.height, options.width)
    for name, build in NETWORKS:
        if options.names and not name.startswith(tuple(options.names)):
            continue
        fast, literal = build()
        with torch.inference_mode():
            difference = float((fast(rainy) - literal(rainy)).abs().max())
        a, b = compare(fast, literal, rainy, options.rounds)
        print(  # noqa: T201
            f"{name:14} fast {a * 1e3:8.1f} ms  literal {b * 1e3:8.1f} ms  "
            f"{b / a:5.2f} times as fast, difference {difference:.1e}"
        )


if __name__ == "__main__":
    main()
