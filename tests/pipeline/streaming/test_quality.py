"""Which network is meant: a name before a file before a quality."""

from __future__ import annotations

import os

import pytest

from derain.models.registry import is_ready
from derain.pipeline.streaming.quality import NETWORKS, Kind, Quality, choose_model


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("quality", ["fast", "balanced", "best"])
def test_qualities_name_networks_whose_weights_are_shipped(kind: Kind, quality: Quality) -> None:
    name, weights = choose_model(kind, quality=quality)
    assert is_ready(name) and weights is None
    assert choose_model(kind)[0] == NETWORKS[kind]["balanced"]


def test_a_name_goes_before_all_else() -> None:
    assert choose_model("video", "rescan", "w.safetensors", "fast") == ("rescan", "w.safetensors")


def test_weights_alone_are_a_file_though_they_be_called_as_a_network() -> None:
    assert choose_model("video", None, "swift") == (os.path.join(".", "swift"), None)
