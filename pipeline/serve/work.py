"""What a job's own process does: one order from standard input, events to standard error.

The process ends when its standard input does: the server closes it to stop the job, and the system
closes it when the server is gone, whatever ended it. A video then keeps its part file and the state
to go on from.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from derain.models.errors import DerainError
from derain.pipeline.serve.jobs import Settings
from derain.pipeline.streaming.quality import choose_model

if TYPE_CHECKING:
    from derain.pipeline.streaming.options import VideoOptions

GRACE = 30.0  # seconds that a job has to write its last frames
INTERVAL = 0.5  # seconds between two events of progress


class Order(BaseModel):
    """What is to be done."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["video", "preview"]
    source: str
    target: str  # the film, or the sheet of a preview
    settings: Settings
    device: str = "auto"


def work() -> int:
    """Do what standard input orders; the exit code."""
    line = sys.stdin.readline()
    if not line:
        return 130  # the server was gone before it said anything
    order = Order.model_validate_json(line)
    threading.Thread(target=_stop_at_the_end, name="stop", daemon=True).start()
    try:
        return _video(order) if order.kind == "video" else _preview(order)
    except Exception as error:
        known = isinstance(error, (DerainError, OSError))
        text = f"derain itself met a fault ({type(error).__name__}: {error})."
        _tell("error", text=str(error) if known else text)
        return 1


def _stop_at_the_end() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    signal.raise_signal(signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(130)


def _options(settings: Settings, device: str) -> VideoOptions:
    """The dials of a job, as `derain video` has them."""
    from derain.pipeline.streaming.options import VideoOptions
    from derain.pipeline.video import Encoding

    model, _ = choose_model("video", quality=settings.quality)
    return VideoOptions(
        model=model,
        device=device,
        engine="auto",
        streaks=settings.streaks,
        haze=settings.haze,
        boldness=settings.boldness,
        speed=settings.speed,
        protect=settings.protect,
        encoding=Encoding(settings.codec, settings.crf),
        resume=True,
        allow_damaged=True,  # its notices say what was damaged
    )


def _video(order: Order) -> int:
    from derain.pipeline.streaming.inputs import Task, interruptible, run_tasks
    from derain.pipeline.streaming.progress import JsonEvents

    options = _options(order.settings, order.device)
    with interruptible([order.target]) as stop:
        return run_tasks(
            [Task(order.source, order.target)], options, JsonEvents(INTERVAL), stop=stop
        )


def _preview(order: Order) -> int:
    from derain.pipeline.preview.look import preview, write_sheet
    from derain.pipeline.streaming.options import UNCHANGED

    found = preview(order.source, _options(order.settings, order.device))
    write_sheet(Path(order.target), found.spots)
    nothing = None
    if found.changed < UNCHANGED:
        what = "drops on glass and no falling rain" if found.drops else "no falling rain"
        nothing = f"The film shows {what}: next to nothing of it would be changed."
    _tell(
        "preview",
        rain=found.kinds,
        nothing=nothing,
        fps=found.rate,
        seconds=found.seconds,
        size=found.size,
    )
    return 0


def _tell(event: str, **values: object) -> None:
    sys.stderr.write(json.dumps({"event": event} | values) + "\n")
    sys.stderr.flush()
