"""Jobs outlive their server, however it ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.video import read_rgb


def test_killed_in_the_middle_of_two_jobs_both_are_finished(
    serve: Callable[..., Any], film: Callable[..., Path], tmp_path: Path
) -> None:
    server = serve()
    source = film(150, (160, 120))
    (server.folder / "named.mp4").write_bytes(source.read_bytes())
    ids = [server.ask("POST", "/api/jobs", film="named.mp4", quality="fast").json["id"]]
    body = source.read_bytes()
    added = server.ask("POST", "/api/jobs", body, name="sent.mp4", quality="fast")
    assert added.status == 201
    ids.append(added.json["id"])
    server.wait(ids[0], lambda job: 0 < job["frames"] < 150)
    server.kill()

    server.start()
    jobs = [server.wait(each, lambda job: job["state"] == "done") for each in ids]
    assert [job["frames"] for job in jobs] == [150] * 2
    assert [job["name"] for job in jobs] == ["named.mp4", "sent.mp4"]
    made = tmp_path / "made.mp4"
    derain_video(source, made, VideoOptions(model="median"))
    expected = list(read_rgb(made))
    for each in ids:
        path = tmp_path / f"{each}.mp4"
        path.write_bytes(server.ask("GET", f"/api/jobs/{each}/result").body)
        frames = list(read_rgb(path))
        assert len(frames) == len(expected)
        errors = [np.abs(x - y).mean() for x, y in zip(frames, expected, strict=True)]
        assert max(errors) < 2 / 255
    assert (server.folder / "derained" / "named.mp4").is_file()
    assert not list(server.folder.glob("derained/*part*"))
