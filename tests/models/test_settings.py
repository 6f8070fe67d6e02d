"""Limits of what networks can be built with."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from derain.configs.schema import Strict
from derain.models.settings import (
    DcsfnSettings,
    MedianSettings,
    RescanSettings,
    SwiftSettings,
    TwoStageSettings,
)


@pytest.mark.parametrize(
    ("schema", "wrong"),
    [
        (SwiftSettings, {"widths": (24, 40)}),
        (SwiftSettings, {"widths": (24, 40, 513)}),
        (SwiftSettings, {"stages": 3}),
        (SwiftSettings, {"hidden": "24"}),  # what is written must have its type
        (SwiftSettings, {"hidden": -1}),
        (MedianSettings, {"soft": 0.0}),
        (MedianSettings, {"agree": float("nan")}),
        (TwoStageSettings, {"variant": "other"}),
        (RescanSettings, {"depth": 40}),  # whose dilation would be 2 ** 37
        (DcsfnSettings, {"scales": 5}),
        (DcsfnSettings, {"cross": 1}),
        (DcsfnSettings, {"nosuch": True}),
    ],
)
def test_values_beyond_limits_and_of_other_types_are_refused(
    schema: type[Strict], wrong: dict[str, object]
) -> None:
    with pytest.raises(ValidationError):
        schema.model_validate(wrong)


def test_lists_as_files_have_them_become_tuples() -> None:
    settings = SwiftSettings.model_validate({"widths": [8, 8, 8], "blocks": [0, 1]})
    assert settings.widths == (8, 8, 8) and settings.blocks == (0, 1)
