"""What presets of single-image networks take."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from derain.configs.single_image import PairsConfig, SingleImageConfig


def test_a_loss_must_be_named_and_weights_are_not_negative() -> None:
    assert SingleImageConfig(loss="dcsfn").l1 == 0
    for wrong in (
        {},
        {"loss": "other"},
        {"loss": "remaen", "edge": -1},
        {"loss": "spanet", "x": 1},
    ):
        with pytest.raises(ValidationError):
            SingleImageConfig.model_validate(wrong)


def test_pairs_have_a_folder_and_a_layout() -> None:
    assert PairsConfig(folder="a", layout="folders").validation is None
    for wrong in ({"folder": "a"}, {"folder": "a", "layout": "x", "clean_side": "top"}):
        with pytest.raises(ValidationError):
            PairsConfig.model_validate(wrong)
