"""Pictures of films for the page, decoded in a process of its own: files may be hostile.

    python -m derain.pipeline.serve.frames

reads requests as lines of JSON and answers each with a line of JSON, which says how many bytes
follow. It ends when its input does.
"""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from derain.models.errors import DerainError
from derain.pipeline.serve.jobs import Film
from derain.pipeline.video import VideoReader
from derain.pipeline.video.color import to_bytes
from derain.pipeline.video.encoders import encoder
from derain.pipeline.video.frames import upright
from derain.pipeline.video.output_files import output_files

QUALITY = 88  # of JPEG
# Kinds of file that hold their film themselves: playlists would have other files or URLs opened.
WHITELIST = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,nut,flv,asf,ogg,gif,"
    "yuv4mpegpipe,h264,hevc,av1,obu,ivf,rm,mxf"
)
Picture = NDArray[np.uint8]


def probe(path: str, codec: str | None = None) -> Film:
    """What a film is; `codec` is an encoder that must be there, too.

    Raises:
        DerainError: it is none, or there is no such encoder.
    """
    if codec is not None:
        encoder(codec)
    with VideoReader(path, options={"format_whitelist": WHITELIST}) as reader:
        video = reader.video
        matrix = video.display_matrix
        turned = matrix is not None and abs(matrix[1]) > abs(matrix[0])
        size = (video.height, video.width) if turned else (video.width, video.height)
    return Film(
        width=size[0],
        height=size[1],
        fps=float(video.rate),
        frames=video.frames,
        seconds=video.duration,
    )


def pair(source: str, target: str, at: float, width: int) -> tuple[bytes, float]:
    """JPEG of a frame before, and below it the same frame after; and the frame's time in seconds.

    Args:
        source: the film.
        target: its result, finished or still being written.
        at: seconds from the beginning; the last frame that is there where it is later.
        width: pixels across, at most.

    Raises:
        DerainError: there is no frame yet.
    """
    after, time = frame_near(growing(target), at)
    before, _ = frame_near(source, float(time))
    if after.shape != before.shape:
        raise DerainError("The result is of another size than the film.")
    both = np.concatenate([before, after])
    if width < both.shape[1]:
        height = max(1, round(before.shape[0] * width / both.shape[1]))
        both = np.concatenate(
            [cv2.resize(x, (width, height), interpolation=cv2.INTER_AREA) for x in (before, after)]
        )
    ok, data = cv2.imencode(".jpg", both[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not ok:
        raise DerainError("The frame is too large for a JPEG.")
    return data.tobytes(), float(time)


def growing(target: str) -> str:
    """The file that holds most of a result by now.

    Raises:
        DerainError: nothing was written yet.
    """
    files = output_files(target)
    candidates = [] if files is None else [files.target, files.part, files.previous]
    sizes = {path: path.stat().st_size for path in candidates if path.is_file()}
    if files is not None and files.target in sizes:
        return str(files.target)
    if not any(sizes.values()):
        raise DerainError("No frame is done yet; wait.")
    return str(max(sizes, key=lambda path: sizes[path]))


def frame_near(path: str, at: float) -> tuple[Picture, Fraction]:
    """The frame that is shown at a time, else the last one, upright; and its own time.

    Args:
        path: a film, perhaps still growing.
        at: seconds, as its time stamps count.
    """
    with VideoReader(path) as reader:
        # Half a frame early: Matroska rounds to milliseconds, MP4 does not.
        due = Fraction(at).limit_denominator(100000) - 1 / (2 * Fraction(reader.video.rate))
        if due > 1:
            reader.seek(due)
        found = None
        for frame in reader.frames():
            found = frame
            if frame.pts * frame.time_base >= due:
                break
        if found is None:
            raise DerainError("No frame of it can be decoded.")
        picture = to_bytes(reader.to_rgb(found))
        return upright(picture, reader.video.display_matrix), found.pts * found.time_base


def answer(request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """One request: what is told, and the bytes that follow."""
    try:
        if request["ask"] == "probe":
            film = probe(request["path"], request["codec"])
            return {"film": film.model_dump()}, b""
        data, time = pair(request["source"], request["target"], request["at"], request["width"])
        return {"time": time}, data
    except (DerainError, OSError) as error:
        return {"error": str(error)}, b""
    except Exception as error:
        return {"error": f"The film cannot be shown ({type(error).__name__})."}, b""


def main() -> None:
    """Answer until nobody asks any more."""
    output = sys.stdout.buffer
    for line in sys.stdin:
        told, data = answer(json.loads(line))
        output.write(json.dumps(told | {"bytes": len(data)}).encode() + b"\n" + data)
        output.flush()


if __name__ == "__main__":
    main()
