"""Jobs that are held, stopped and that fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Film = Callable[..., Path]
Start = Callable[..., Any]


def test_held_stopped_and_failed_jobs(within: Start, film: Film) -> None:
    server = within()
    body = film().read_bytes()
    for name in ("slow", "crash", "wrong"):
        (server.folder / f"{name}.mp4").write_bytes(body)

    held = server.ask("POST", "/api/jobs", film="slow.mp4", hold=True).json
    at = f"/api/jobs/{held['id']}"
    assert held["state"] == "held"
    assert server.ask("PATCH", at, {"quality": "fast", "crf": 30}).json["settings"]["crf"] == 30
    assert server.ask("PATCH", at, {"codec": "nosuch"}).status == 400
    assert server.ask("PATCH", at, {"streaks": 2}).status == 400
    assert server.ask("POST", at + "/stop").status == 409
    assert server.ask("GET", at + "/preview.png").status == 404
    assert server.ask("POST", at + "/preview").status == 200
    job = server.wait(
        held["id"], lambda job: job["preview"]["state"] == "done" and job["state"] == "held"
    )
    assert job["preview"]["rain"] == ["falling streaks"] and job["preview"]["seconds"] == 20
    assert job["preview"]["settings"] == job["settings"]
    assert server.ask("GET", at + "/preview.png").body == b"sheet"

    assert server.ask("POST", at + "/start").status == 200
    server.wait(held["id"], lambda job: job["frames"] > 10)
    assert server.ask("POST", at + "/start").status == 409
    assert server.ask("DELETE", at).status == 409
    assert server.ask("PATCH", at, {"crf": 20}).status == 409
    assert server.ask("GET", at + "/result").status == 409
    assert server.ask("POST", at + "/stop").json["state"] == "stopping"
    stopped = server.wait(held["id"], lambda job: job["state"] == "stopped")
    assert 10 < stopped["frames"] < 40
    server.ask("POST", at + "/start")
    again = server.wait(held["id"], lambda job: job["frames"] > stopped["frames"])
    assert again["settings"]["crf"] == 30
    server.ask("POST", at + "/stop")

    for name, text in (("crash", "SIGSEGV"), ("wrong", "wrong.mp4 is wrong; mend it.")):
        job_id = server.ask("POST", "/api/jobs", film=f"{name}.mp4").json["id"]
        job = server.wait(job_id, lambda job: job["state"] == "failed")
        assert text in job["error"]
        assert str(server.folder) not in job["error"]
