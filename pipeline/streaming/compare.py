"""Pictures that show two clips at once: side by side, a wipe, contact sheets.

Pixels in, pixels out, (H, W, 3) uint8 RGB. Reading and writing files is done elsewhere.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from derain.models.errors import DerainError

Picture = NDArray[np.uint8]  # (H, W, 3) RGB
Mode = Literal["side", "wipe"]

LINE = np.array((255, 255, 255), np.uint8)


def compare_frames(before: Picture, after: Picture, mode: str = "side") -> Picture:
    """One picture of two: `side` is twice as wide, `wipe` shows the left half of `before`.

    Args:
        before: (H, W, 3) uint8.
        after: (H, W, 3) uint8.
        mode: "side" or "wipe".

    Raises:
        DerainError: unknown mode, or pictures of different sizes.
    """
    if before.shape != after.shape:
        raise DerainError(
            f"Pictures of {before.shape[1]}x{before.shape[0]} and {after.shape[1]}x"
            f"{after.shape[0]} cannot be compared; give two of one size."
        )
    if mode == "side":
        return np.concatenate([label(before, "before"), label(after, "after")], 1)
    if mode != "wipe":
        raise DerainError(f"'{mode}' is not a way to compare; use side or wipe.")
    middle = before.shape[1] // 2
    picture = np.concatenate([before[:, :middle], after[:, middle:]], 1)
    picture[:, max(0, middle - 1) : middle + 1] = LINE
    return label(label(picture, "before"), "after", right=True)


def label(picture: Picture, text: str, right: bool = False) -> Picture:
    """A copy with a small caption in a dark box, at the top left or right.

    Pictures too small for it stay as they are: a caption must not hide what it names.

    Args:
        picture: (H, W, 3) uint8.
        text: one line.
        right: whether it stands at the right.
    """
    height, width = picture.shape[:2]
    size = max(10, height // 24)
    font, thick = cv2.FONT_HERSHEY_SIMPLEX, max(1, size // 14)
    scale = size / 30
    (text_width, text_height), below = cv2.getTextSize(text, font, scale, thick)
    pad = max(3, size // 4)
    box_width, box_height = text_width + 2 * pad, text_height + below + 2 * pad
    if box_width > width // 2 or box_height > height // 4:
        return picture.copy()
    left = width - box_width if right else 0
    picture = picture.copy()
    picture[:box_height, left : left + box_width] //= 3
    place = (left + pad, pad + text_height)
    return np.asarray(
        cv2.putText(picture, text, place, font, scale, (255, 255, 255), thick, cv2.LINE_AA),
        np.uint8,
    )


def contact_sheet(
    rows: dict[str, list[Picture]], gap: int = 4, width: int | None = None
) -> Picture:
    """A sheet of pictures of one size: a labelled row for each clip, a column for each moment.

    Args:
        rows: caption -> pictures; rows of the same length.
        gap: pixels of white between pictures.
        width: of the whole sheet, scaled down to it; None leaves the pictures' own size.

    Raises:
        DerainError: no pictures, or rows of different lengths or sizes.
    """
    shapes = {picture.shape for pictures in rows.values() for picture in pictures}
    lengths = {len(pictures) for pictures in rows.values()}
    if len(shapes) != 1 or len(lengths) != 1:
        raise DerainError("A contact sheet needs rows of equal length with pictures of one size.")
    height, column = shapes.pop()[:2]
    sheet = np.full(
        (len(rows) * (height + gap) - gap, lengths.pop() * (column + gap) - gap, 3), 255, np.uint8
    )
    for i, (name, pictures) in enumerate(rows.items()):
        for j, picture in enumerate(pictures):
            top, left = i * (height + gap), j * (column + gap)
            shown = label(picture, name) if j == 0 else picture
            sheet[top : top + height, left : left + column] = shown
    if width is not None and width < sheet.shape[1]:
        size = (width, round(sheet.shape[0] * width / sheet.shape[1]))
        sheet = np.asarray(cv2.resize(sheet, size, interpolation=cv2.INTER_AREA), np.uint8)
    return sheet
