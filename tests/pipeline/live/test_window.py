"""The window: keys, what it shows, and that it opens under a display and nowhere else."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from torch import nn

from derain.pipeline.live.preview import PreviewFrame
from derain.pipeline.live.session import Live, LiveOptions
from derain.pipeline.live.window import Window, can_open_window


def test_keys_and_what_is_shown(
    make_clip: Callable[..., Path], invert: nn.Module, tmp_path: Path
) -> None:
    said: list[str] = []
    with Live(LiveOptions(str(make_clip(frames=3)), resolution="source"), invert) as live:
        while not live.ended:
            live.broadcaster.wait(99, 0.05)
        shown = live.broadcaster.newest
        assert isinstance(shown, PreviewFrame)
        window = Window(live, tmp_path, said.append)
        assert (window.compose(shown) == shown.image()[..., ::-1]).all()
        window.key(ord("c"), shown)
        wipe = window.compose(shown)
        assert (wipe[:, :30] == shown.rainy()[:, :30, ::-1]).all()
        assert (wipe[:, 34:] == shown.image()[:, 34:, ::-1]).all()
        window.key(ord("c"), shown)
        assert (window.compose(shown) == shown.rainy()[..., ::-1]).all()
        window.key(ord(" "), shown)
        assert not live.running.is_set()
        window.key(ord(" "), shown)
        assert live.running.is_set()
        window.key(ord("s"), shown)
        (saved,) = tmp_path.glob("derain-*.png")
        assert (cv2.imread(str(saved)) == shown.image()[..., ::-1]).all()
        assert said == [f"saved {saved}"]
        window.key(-1, shown)
        assert not window.done
        window.key(ord("q"), shown)
        assert window.done


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
def test_without_a_display_no_window_can_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not can_open_window()
    monkeypatch.setenv("DISPLAY", ":987")  # named, but not there
    assert not can_open_window()


@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="needs xvfb-run")
def test_the_command_shows_a_window_under_a_display() -> None:
    main = "from derain.pipeline.cli.main import main; main()"
    words = ["live", "lavfi:testsrc2=size=64x48", "--model", "median", "--seconds", "3"]
    command = ["xvfb-run", "-a", sys.executable, "-c", main, *words]
    pipe = subprocess.PIPE
    # A session of its own, so that the display ends with what hangs under it.
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    try:
        _, said = process.communicate(timeout=200)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, said
    assert "showing in a window" in said and "frames derained" in said
