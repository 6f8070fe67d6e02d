"""Signals that come while the command starts end it: one sentence, the code, nothing left."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# A signal while the module that is named is being loaded, or while the command works.
SCRIPT = """
import importlib.abc, os, signal, sys
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Finder())
sys.argv = ["derain", "video", {source!r}, "-o", {target!r}]
from derain.pipeline.cli.start import main
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no signals of POSIX")
@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("typer", signal.SIGTERM),
        ("derain.pipeline.streaming.inputs", signal.SIGINT),
        ("torch", signal.SIGTERM),  # where `video` itself is told
    ],
)
def test_a_signal_while_modules_load(
    make_clip: Callable[..., Path], tmp_path: Path, name: str, number: signal.Signals
) -> None:
    target = tmp_path / "out.mkv"
    script = SCRIPT.format(
        name=name, number=int(number), source=str(make_clip("in.mkv")), target=str(target)
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 128 + number
    told = "stopping; once more to stop at once\nStopped before the first frame.\n"
    assert done.stderr == (told if name == "torch" else "interrupted\n")
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]
