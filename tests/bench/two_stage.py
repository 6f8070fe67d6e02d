"""Time one step of the two-stage network against a literal forward, in one process.

    python tests/bench/two_stage.py

All run in turns; medians of CPU time, which other programs disturb little, and of
wall time. Also the cost of the slim network that is trained.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from derain.models.networks.two_stage import State, TwoStage, convert_reference
from derain.models.runtime.derainer import on_device

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models" / "networks" / "two_stage"))
from two_stage_literal import Literal, rule_weights


def measure(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """Median CPU and wall milliseconds of each run, in turns."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for index in range(rounds + 1):
        for name, run in runs.items():
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            spent = time.process_time() - cpu, time.perf_counter() - wall
            if index:  # the first round warms up
                times[name].append(spent)
    return {
        name: (
            1e3 * statistics.median(cpu for cpu, _ in spent),
            1e3 * statistics.median(wall for _, wall in spent),
        )
        for name, spent in times.items()
    }


def fresh(model: TwoStage, window: torch.Tensor) -> State:
    """The state before the first frame of windows like this one."""
    batch, _, _, height, width = window.shape
    return model.initial_state(batch, height, width, device=window.device, dtype=window.dtype)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="96x64", help="of the frame, multiples of 8")
    parser.add_argument("--width", type=int, default=32, help="of the reference network")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    width, height = (int(x) for x in options.size.split("x"))
    window = torch.rand(1, 5, 3, height, width)

    weights = {role: rule_weights(role, options.width) for role in ("res", "haze", "s2")}
    settings, state_dict = convert_reference(weights)
    reference = TwoStage(**settings).eval()
    reference.load_state_dict(state_dict)
    reference = on_device(reference, torch.device("cpu"))
    slim = on_device(TwoStage().eval(), torch.device("cpu"))
    states = {name: fresh(model, window) for name, model in (("r", reference), ("s", slim))}
    plain = Literal(weights)
    runs: dict[str, Callable[[], object]] = {
        "literal forward": lambda: plain.step(window),
        "reference": lambda: reference.step_window(window, states["r"]),
        "slim": lambda: slim.step_window(window, states["s"]),
    }
    with torch.inference_mode():
        found = measure(runs, options.rounds)
        first = found["literal forward"]
        print(f"{options.size}, {options.threads} thread(s), width {options.width}")  # noqa: T201
        for name, (cpu, wall) in found.items():
            with FlopCounterMode(display=False) as counter:
                runs[name]()
            cost = counter.get_total_flops() / (1e3 * width * height)
            print(  # noqa: T201
                f"{name:16} {cost:7.0f} kFLOP/px   CPU {cpu:7.1f} ms ({cpu / first[0]:.2f})   "
                f"wall {wall:7.1f} ms ({wall / first[1]:.2f})"
            )


if __name__ == "__main__":
    main()
