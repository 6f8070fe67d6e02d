"""Frames of films for the page, decoded in a process of its own: files may be hostile.

    python -m derain.pipeline.serve.frames

reads requests as lines of JSON and answers each with a line of JSON, which says how many bytes
follow. It ends when its input does.
"""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from derain.models.errors import DerainError
from derain.pipeline.serve.jobs import Film
from derain.pipeline.video import Frame, VideoReader
from derain.pipeline.video.color import to_bytes
from derain.pipeline.video.encoders import encoder
from derain.pipeline.video.frames import is_turned, upright
from derain.pipeline.video.output_files import output_files

QUALITY = 88  # of JPEG
# Kinds of file that hold their film themselves: playlists would have other files or URLs opened.
WHITELIST = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,nut,flv,asf,ogg,gif,"
    "yuv4mpegpipe,h264,hevc,av1,obu,ivf,rm,mxf"
)
STEPS_BACK = (0, 20, 120)  # seconds before a frame from which it is looked for
Image = NDArray[np.uint8]
Message = dict[str, Any]  # what is asked or told, as a line of JSON


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
        size = (video.width, video.height)
        size = size[::-1] if is_turned(matrix) else size
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
    before, _ = frame_near(source, time)
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
    return data.tobytes(), time


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


def frame_near(path: str, at: float) -> tuple[Image, float]:
    """The frame that is shown at a time, else the last one, upright; and its own time.

    Args:
        path: a film, perhaps still growing.
        at: seconds from its beginning.

    Raises:
        DerainError: no frame can be decoded.
    """
    with VideoReader(path) as reader:
        origin = Fraction(reader.container.start_time or 0, av.time_base)
        # Half a frame early: Matroska rounds to milliseconds, MP4 does not.
        due = origin + Fraction(at).limit_denominator(100000) - 1 / (2 * reader.video.rate)
        for back in STEPS_BACK:
            if due - back <= origin + 1:
                break
            reader.seek(due - back)
            found = _first_from(reader, due, False)
            if found is not None:
                return _shown(reader, found, origin)
    with VideoReader(path) as reader:
        found = _first_from(reader, due, True)
        if found is None:
            raise DerainError("No frame of it can be decoded.")
        return _shown(reader, found, origin)


def _first_from(reader: VideoReader, due: Fraction, whole: bool) -> Frame | None:
    """The first frame from a time on, else the last one.

    None where nothing can be decoded, or, unless it is read as a `whole`, where what is read begins
    behind that time: some containers are wound too far.
    """
    found = None
    for frame in reader.frames():
        time = frame.pts * frame.time_base
        if found is None and not whole and time > due + 1 / reader.video.rate:
            return None
        found = frame
        if time >= due:
            break
    return found


def _shown(reader: VideoReader, frame: Frame, origin: Fraction) -> tuple[Image, float]:
    image = to_bytes(reader.to_rgb(frame))
    time = float(frame.pts * frame.time_base - origin)
    return upright(image, reader.video.display_matrix), time


def answer(request: Message) -> tuple[dict[str, object], bytes]:
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
