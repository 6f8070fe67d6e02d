"""Small images for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray


def colors(height: int = 20, width: int = 32, channels: int = 3) -> NDArray[np.uint8]:
    """Smooth, and no turn of it looks like another."""
    y, x = np.mgrid[:height, :width]
    planes = [x * 6, y * 9, x * 2 + y * 5, x * 4 + y * 6]
    return np.dstack([each.astype(np.uint8) for each in planes[:channels]])


@pytest.fixture
def draw() -> Callable[..., NDArray[np.uint8]]:
    """`draw(height=20, width=32, channels=3)`: (H, W, C) uint8."""
    return colors


@pytest.fixture
def profile() -> bytes:
    """The smallest colour profile that readers take: a head, one tag, and text."""
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
