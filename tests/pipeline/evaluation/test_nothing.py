"""The network that does nothing."""

from __future__ import annotations

import torch

from derain.models import Derainer
from derain.pipeline.evaluation.nothing import Nothing


def test_each_frame_comes_back_at_once() -> None:
    derainer = Derainer(Nothing(), device="cpu", precision="fp32")
    for size in ((5, 7), (5, 7), (5, 7)):
        frame = torch.rand(3, *size)
        output = derainer.push(frame)
        assert output is not None and torch.equal(output.image[0], frame)
    assert derainer.flush() == []
