"""Calibration: the ranges that a network's 8-bit integers are to cover, from rendered rain.

Training is over by then; the ranges go into the weight file, and engines read them from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy
from pathlib import Path

import torch
from torch import Tensor

from derain.models import Derainer, DerainError, load_model
from derain.models.log import Log, say_nothing
from derain.models.networks.swift import Swift
from derain.models.networks.swift_core import CoreInputs, CoreOutputs
from derain.models.runtime.int8 import observe_ranges
from derain.models.weights_io import read_weights, save_model
from derain.stages.data.rain import render_rain, sample_settings
from derain.stages.data.rendered_clips import find_clips, read_clip

CLIPS = 12  # spread over the folder
FRAMES = 8  # of each
LOOKED_AT = (
    4,
    7,
)  # frames whose core is watched: behind the first ones, where all states are there
DRY = 5  # one clip in so many gets no rain
LINES, COLUMNS = 320, 416  # at most


class _Recorder:
    """Runs the core of a network and keeps what it is shown."""

    def __init__(self, network: Swift) -> None:
        self.network = network
        self.seen: list[CoreInputs] = []

    def __call__(self, inputs: CoreInputs) -> CoreOutputs:
        self.seen.append(inputs)
        return self.network.core(inputs)


def calibrate_file(weights: Path, clips: Path, target: Path, progress: Log = say_nothing) -> None:
    """Write a weight file with the ranges of its network.

    Args:
        weights: of `swift` or `swift-plus`, written by derain.
        clips: a folder of clean clips.
        target: the file to write; it may be `weights` itself.
        progress: told of each clip.

    Raises:
        DerainError: weights of another network, no clips, or a file that cannot be read or written.
    """
    network = load_model(weights)
    if not isinstance(network, Swift) or not network.has_hidden_state:
        raise DerainError("Only swift and swift-plus have a core for integers; name such weights.")
    files = find_clips(clips)
    files = files[:: max(1, len(files) // CLIPS)][:CLIPS]
    ranges = observe_ranges(network, _core_inputs(network, _rainy(files, progress)))
    state, description = read_weights(weights)
    note = description.note | {"ranges": ranges}
    short = all(torch.equal(each.half().float(), each) for each in state.values())
    dtype = torch.float16 if short else torch.float32  # as they are in the file
    try:
        save_model(network, target, state=state, dtype=dtype, note=note)
    except OSError as error:
        raise DerainError(f"{target} cannot be written ({error}); choose another place.") from error


def _rainy(files: Iterable[Path], progress: Log) -> Iterator[Tensor]:
    """The beginning of each clip in rain, (FRAMES, 3, H, W) in [0, 1]; some stay dry."""
    for number, file in enumerate(files):
        progress(f"calibrating on {file.name}")
        frames = read_clip(file)[:FRAMES, :LINES, :COLUMNS]
        clean = torch.from_numpy(frames.copy()).permute(0, 3, 1, 2).float() / 255
        if number % DRY == DRY - 1:
            yield clean
            continue
        generator = torch.Generator().manual_seed(number)
        yield render_rain(clean, sample_settings(generator), number).rainy


def _core_inputs(network: Swift, clips: Iterable[Tensor]) -> Iterator[CoreInputs]:
    watched, recorder = copy(network), _Recorder(network)
    watched.engine = recorder
    for clip in clips:
        recorder.seen.clear()
        derainer = Derainer(watched, device="cpu", precision="fp32", engine="torch")
        for _ in derainer.stream(clip):
            pass
        yield from (recorder.seen[i] for i in LOOKED_AT if i < len(recorder.seen))
