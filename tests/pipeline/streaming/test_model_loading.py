"""Options become a stream through a network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from derain.models.errors import DerainError
from derain.models.video_model import VideoModel
from derain.pipeline.streaming.model_loading import open_derainer
from derain.pipeline.streaming.options import VideoOptions


def test_the_named_network_is_loaded_and_runs_as_asked() -> None:
    options = VideoOptions(model="median", device="cpu", precision="fp32", tile="128")
    derainer = open_derainer(options, None, lambda _: None)
    assert type(derainer.model).__name__ == "AlignedMedian"
    assert derainer.device.type == "cpu" and derainer.dtype == torch.float32


def test_a_given_network_goes_before_the_named_one(identity: VideoModel) -> None:
    options = VideoOptions(model="nosuch", device="cpu", precision="fp32")
    assert open_derainer(options, identity, lambda _: None).model is identity


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "nosuch"}, "no model 'nosuch'"),
        ({"device": "tpu"}, "tpu"),
        ({"precision": "fp7"}, "fp7"),
        ({"streaks": 1.5}, "between 0 and 1"),
    ],
)
def test_what_cannot_be_is_told(changes: dict[str, object], words: str) -> None:
    options = VideoOptions(**{"model": "median", "device": "cpu"} | changes)  # type: ignore[arg-type]
    with pytest.raises(DerainError, match=words):
        open_derainer(options, None, lambda _: None)


def test_dials_reach_the_result(layered: VideoModel) -> None:
    frame, results = torch.full((3, 8, 8), 0.5), []
    for streaks in (0.0, 0.5, 1.0):
        options = VideoOptions(device="cpu", precision="fp32", streaks=streaks)
        output = open_derainer(options, layered, lambda _: None).push(frame)
        assert output is not None
        results.append(float(output.image.mean()))
    assert results == pytest.approx([0.5, 0.45, 0.4], abs=1e-4)
    assert isinstance(layered, nn.Module)
