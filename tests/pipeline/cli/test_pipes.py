"""The pipes of pipeline/README.md, run by a shell as they are written there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[3] / "pipeline" / "README.md"
LINES = [
    line
    for block in re.findall(r"^```\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if " | " in line
]
MAIN = "from derain.pipeline.cli.start import main; main()"


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES)
def test_pipes_run_as_typed(
    make_clip: Callable[..., Path], contents: Callable[[Path], Any], tmp_path: Path, line: str
) -> None:
    programs = [part.split()[0] for part in line.split(" | ")]
    for program in set(programs) - {"derain"}:
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    make_clip("rain.mp4", frames=10, audio="aac")
    # This checkout's derain, the quick network, a player without a screen.
    shell = (
        f'derain() {{ {sys.executable} -c "{MAIN}" "$@" --quality fast; }}\n'
        'mpv() { command mpv --vo=null --ao=null --untimed "$@"; }\n'
        f"set -o pipefail; {line}"
    )
    done = subprocess.run(
        ["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    result = tmp_path / line.split()[-1]
    if programs[-1] == "ffmpeg":
        assert len(contents(result).times) == 10
        assert bool(contents(result).packets) == ("-c:a copy" in line)  # y4m has no sound
