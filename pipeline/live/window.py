"""The window preview: OpenCV's window, where there is a display and OpenCV has windows.

Keys: space pauses, s saves a snapshot, c changes what is compared, q ends. The mouse moves the
border.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from derain.models.log import Log, say_nothing
from derain.pipeline.live.preview import PreviewFrame
from derain.pipeline.live.session import Live
from derain.pipeline.live.stats import Times
from derain.pipeline.video.color import to_bgr

TITLE = "derain live (space s c q)"
MODES = ("derained", "wipe", "rain")
TRIAL = f"cv2.namedWindow({TITLE!r}); cv2.destroyAllWindows()"


def can_open_window() -> bool:
    """Whether a window can be opened here.

    OpenCV ends the whole process where it finds no display, and hangs where PyAV was loaded before
    it (both bring libraries of X11 along); so another process tries first, as this one would.
    """
    loaded = [name for name in sys.modules if name in ("av", "cv2")]  # in order of loading
    trial = f"import {', '.join(loaded)}; {TRIAL}"
    try:
        tried = subprocess.run([sys.executable, "-c", trial], capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0


@dataclass(slots=True)
class Window:
    """What the user chose, by keys and mouse."""

    live: Live
    folder: Path  # for snapshots
    say: Log
    mode: str = "derained"
    border: float = 0.5  # of the wipe, as a share of the width
    done: bool = False

    def key(self, code: int, shown: PreviewFrame | None) -> None:
        """Obey a key; other keys do nothing."""
        key = chr(code) if 0 < code < 128 else ""
        if key in ("q", "\x1b"):
            self.done = True
        elif key == " ":
            self.live.control(paused=self.live.running.is_set())
        elif key == "c":
            self.mode = MODES[(MODES.index(self.mode) + 1) % len(MODES)]
        elif key == "s" and shown is not None:
            path = self.folder / time.strftime(f"derain-%Y%m%d-%H%M%S-{shown.number:06d}.png")
            try:
                path.write_bytes(shown.png())
            except OSError as error:
                return self.say(f"{path} cannot be written ({error.strerror}).")
            self.say(f"saved {path}")

    def compose(self, shown: PreviewFrame) -> NDArray[np.uint8]:
        """The image to show, (H, W, 3) BGR."""
        image = shown.rainy() if self.mode == "rain" else shown.image()
        if self.mode == "wipe":
            x = round(self.border * image.shape[1])
            image = np.concatenate([shown.rainy()[:, :x], image[:, x:]], 1)
            image[:, max(0, x - 1) : x + 1] = 255
        return to_bgr(image)


def show_window(
    live: Live,
    stop: threading.Event,
    *,
    folder: Path = Path(),
    say: Log = say_nothing,
) -> None:
    """Show frames until the user closes the window, `stop` is set, or the source ends.

    Must be called from the main thread, where `can_open_window`.

    Args:
        live: what to show.
        stop: set by somebody else to end.
        folder: for snapshots.
        say: told where a snapshot went.
    """
    window, times, last = Window(live, folder, say), Times(), 0
    newest: PreviewFrame | None = None

    def mouse(event: int, x: int, y: int, flags: int, _: object) -> None:
        if flags & cv2.EVENT_FLAG_LBUTTON and newest is not None:
            window.mode = "wipe"
            window.border = min(1.0, max(0.0, x / newest.rainy().shape[1]))

    # OpenCV's Qt complains at length about fonts that its wheels do not bring along.
    os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")
    cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
    cv2.setMouseCallback(TITLE, mouse)
    try:
        while not (window.done or stop.is_set() or live.ended):
            fresh = live.broadcaster.wait(last, 0.02)
            newest = fresh or newest
            if newest is not None:
                if last == 0:
                    height, width = newest.rainy().shape[:2]
                    cv2.resizeWindow(TITLE, width, height)
                began = time.perf_counter()
                image = window.compose(newest)
                spent = {"convert": time.perf_counter() - began}
                cv2.imshow(TITLE, image)
                window.key(cv2.waitKey(1), newest)
                last = newest.number
                if fresh is not None:
                    times.add(fresh.seen(spent))
            else:
                cv2.waitKey(1)
            if last and cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1:
                return
    finally:
        cv2.destroyAllWindows()
