"""How torch's threads wait, which has to be said before torch is loaded, and how many there are."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Torch's threads would spin for milliseconds while they wait and take the cores from decoder and
# encoder: six times slower on two busy cores. Spinning for some microseconds is best: 15.9 frames a
# second where sleeping at once gives 12.3.
POLICY = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "20000"}


def set_wait_policy() -> None:
    """Set it for torch, unless the user's own setting is there; warn where it is too late."""
    if "torch" in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
        settings = " ".join(f"{name}={value}" for name, value in POLICY.items())
        warnings.warn(
            "torch was imported before derain, so its threads spin while they wait, which can be "
            f"several times slower on a busy machine; import derain.models first, or set "
            f"{settings} in the environment.",
            RuntimeWarning,
            stacklevel=3,
        )
        return
    for name, value in POLICY.items():
        os.environ.setdefault(name, value)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """So many threads for what this thread does in torch meanwhile."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
