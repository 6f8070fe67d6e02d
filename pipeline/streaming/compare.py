"""Images that show two clips at once: side by side, a wipe, contact sheets.

Pixels in, pixels out, (H, W, 3) uint8 RGB. Reading and writing files is done elsewhere.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from derain.models.errors import DerainError

Image = NDArray[np.uint8]  # (H, W, 3) RGB
Mode = Literal["side", "wipe"]

LINE = np.array((255, 255, 255), np.uint8)


def compare_frames(before: Image, after: Image, mode: str = "side") -> Image:
    """One image of two: `side` is twice as wide, `wipe` shows the left half of `before`.

    Args:
        before: (H, W, 3) uint8.
        after: (H, W, 3) uint8.
        mode: "side" or "wipe".

    Raises:
        DerainError: unknown mode, or images of different sizes.
    """
    if before.shape != after.shape:
        raise DerainError(
            f"Frames of {before.shape[1]}x{before.shape[0]} and {after.shape[1]}x"
            f"{after.shape[0]} cannot be compared; give two of one size."
        )
    if mode == "side":
        return np.concatenate([label(before, "before"), label(after, "after")], 1)
    if mode != "wipe":
        raise DerainError(f"'{mode}' is not a way to compare; use side or wipe.")
    middle = before.shape[1] // 2
    image = np.concatenate([before[:, :middle], after[:, middle:]], 1)
    image[:, max(0, middle - 1) : middle + 1] = LINE
    return label(label(image, "before"), "after", right=True)


def label(image: Image, text: str, right: bool = False) -> Image:
    """A copy with a small caption in a dark box, at the top left or right.

    Images too small for it stay as they are: a caption must not hide what it names.

    Args:
        image: (H, W, 3) uint8.
        text: one line.
        right: whether it stands at the right.
    """
    height, width = image.shape[:2]
    size = max(10, height // 24)
    font, thick = cv2.FONT_HERSHEY_SIMPLEX, max(1, size // 14)
    scale = size / 30
    (text_width, text_height), below = cv2.getTextSize(text, font, scale, thick)
    pad = max(3, size // 4)
    box_width, box_height = text_width + 2 * pad, text_height + below + 2 * pad
    if box_width > width // 2 or box_height > height // 4:
        return image.copy()
    left = width - box_width if right else 0
    image = image.copy()
    image[:box_height, left : left + box_width] //= 3
    place = (left + pad, pad + text_height)
    return np.asarray(
        cv2.putText(image, text, place, font, scale, (255, 255, 255), thick, cv2.LINE_AA),
        np.uint8,
    )


def contact_sheet(rows: dict[str, list[Image]], gap: int = 4, width: int | None = None) -> Image:
    """A sheet of images of one size: a labelled row for each clip, a column for each moment.

    Args:
        rows: caption -> images; rows of the same length.
        gap: pixels of white between images.
        width: of the whole sheet, scaled down to it; None leaves the images' own size.

    Raises:
        DerainError: no images, or rows of different lengths or sizes.
    """
    shapes = {image.shape for images in rows.values() for image in images}
    lengths = {len(images) for images in rows.values()}
    if len(shapes) != 1 or len(lengths) != 1:
        raise DerainError("A contact sheet needs rows of equal length with images of one size.")
    height, column = shapes.pop()[:2]
    sheet = np.full(
        (len(rows) * (height + gap) - gap, lengths.pop() * (column + gap) - gap, 3), 255, np.uint8
    )
    for i, (name, images) in enumerate(rows.items()):
        for j, image in enumerate(images):
            top, left = i * (height + gap), j * (column + gap)
            shown = label(image, name) if j == 0 else image
            sheet[top : top + height, left : left + column] = shown
    if width is not None and width < sheet.shape[1]:
        size = (width, round(sheet.shape[0] * width / sheet.shape[1]))
        sheet = np.asarray(cv2.resize(sheet, size, interpolation=cv2.INTER_AREA), np.uint8)
    return sheet
