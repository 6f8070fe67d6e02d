"""The interface: films in, jobs and results out, and who may ask."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from derain.models.errors import DerainError
from derain.pipeline.serve.names import clean_name

Film = Callable[..., Path]
Start = Callable[..., Any]


def test_an_upload_becomes_a_result(within: Start, film: Film) -> None:
    server = within()
    body = film().read_bytes()
    added = server.ask("POST", "/api/jobs", body, name="C:\\my\\räin.MP4", crf=20, streaks=0.5)
    assert added.status == 201
    job = added.json
    assert (job["name"], job["result"]) == ("räin.MP4", "räin_clean.mp4")
    assert job["size"] == len(body) and job["film"]["frames"] == job["total"] == 12
    assert job["settings"] == {
        "quality": "balanced", "streaks": 0.5, "haze": 1.0, "boldness": 0.5,
        "speed": "best", "protect": [], "codec": None, "crf": 20.0,
    }  # fmt: skip
    job = server.wait(job["id"], lambda job: job["state"] == "done")
    assert job["frames"] == 40 and job["notices"] == ["A notice."] and job["result_size"] == 400
    result = server.ask("GET", f"/api/jobs/{job['id']}/result")
    assert result.body == b"film" * 100
    assert "r%C3%A4in_clean.mp4" in result.headers["content-disposition"]
    part = server.ask("GET", f"/api/jobs/{job['id']}/result", headers={"Range": "bytes=4-7"})
    assert (part.status, part.body) == (206, b"film")
    # Nothing is lost by a start that nobody meant; it is made anew on demand.
    assert server.ask("POST", f"/api/jobs/{job['id']}/start").status == 409
    assert server.ask("POST", f"/api/jobs/{job['id']}/start?again=true").json["state"] == "queued"
    server.wait(job["id"], lambda job: job["state"] == "done")
    assert server.ask("DELETE", f"/api/jobs/{job['id']}").status == 204
    assert server.ask("GET", f"/api/jobs/{job['id']}").status == 404
    assert not list((server.folder / ".derain-serve" / "jobs").iterdir())


def test_a_film_of_the_folder_is_named(within: Start, film: Film) -> None:
    server = within()
    (server.folder / "rain.mp4").write_bytes(film().read_bytes())
    (server.folder / "notes.txt").write_text("no film")
    (server.folder / "rain.part.mp4").write_text("half a film")
    assert [each["name"] for each in server.ask("GET", "/api/films").json] == ["rain.mp4"]
    one, two = (server.ask("POST", "/api/jobs", film="rain.mp4").json for _ in range(2))
    assert (one["result"], two["result"]) == ("rain.mp4", "rain-2.mp4")
    for job in (one, two):
        server.wait(job["id"], lambda job: job["state"] == "done")
    assert server.ask("DELETE", f"/api/jobs/{one['id']}").status == 204
    assert (server.folder / "derained" / "rain.mp4").is_file()  # what is made stays
    for name in ("../rain.mp4", "derained/rain.mp4", "/etc/passwd", "notes.txt", ""):
        assert server.ask("POST", "/api/jobs", film=name).status == 400, name


def test_names_of_clients_are_no_paths(within: Start, film: Film) -> None:
    server = within()
    job = server.ask("POST", "/api/jobs", film().read_bytes(), name="../../\x00evil\n.mp4").json
    assert job["name"] == "evil.mp4" or job["name"] == "evil .mp4"
    inside = {path.name for path in (server.folder / ".derain-serve" / "jobs").rglob("*")}
    assert "film.mp4" in inside and not any("evil" in name for name in inside)
    for name in ("film", "film.exe", "..", "", "film.mp4/", "x.mp4\\..\\y"):
        with pytest.raises(DerainError, match="end as"):
            clean_name(name)
    assert len(clean_name("x" * 900 + ".mkv")) == 150


def test_what_is_no_film_is_refused(within: Start, film: Film, tmp_path: Path) -> None:
    server = within(limit=1e-4)
    secret = tmp_path / "secret.ts"
    secret.write_bytes(film().read_bytes())
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n"
    listed = f"ffconcat version 1.0\nfile 'file:{secret}'\n"
    for body in (b"", b"nonsense" * 99, playlist.encode(), listed.encode()):
        refused = server.ask("POST", "/api/jobs", body, name="film.mp4")
        assert refused.status == 400, body
        assert str(tmp_path) not in refused.json["error"]
    large = server.ask("POST", "/api/jobs", b"x" * 100_001, name="film.mp4")
    assert large.status == 413 and large.headers["connection"] == "close"
    assert server.ask("POST", "/api/jobs", b"x", name="film.exe").status == 400
    assert server.ask("POST", "/api/jobs", b"x").status == 400
    assert server.ask("POST", "/api/jobs", b"x", name="a.mp4", qualty="best").status == 400
    wrong = server.ask("POST", "/api/jobs", film().read_bytes(), name="a.mp4", codec="nosuch")
    assert wrong.status == 400 and "nosuch" in wrong.json["error"]
    assert not server.ask("GET", "/api/jobs").json
    assert not list((server.folder / ".derain-serve" / "uploads").iterdir())


def test_regions_to_protect_lie_in_the_film(within: Start, film: Film) -> None:
    server = within()
    (server.folder / "rain.mp4").write_bytes(film().read_bytes())  # 64x48
    ask = "/api/jobs?film=rain.mp4&hold=true"
    job = server.ask("POST", f"{ask}&speed=fast&protect=0,0,64,8&protect=0,40,8,8").json
    assert job["settings"]["speed"] == "fast"
    assert job["settings"]["protect"] == ["0,0,64,8", "0,40,8,8"]
    for region in ("0,0,65,8", "0,0,0,8", "60,40,8,9"):
        refused = server.ask("POST", f"{ask}&protect={region}")
        assert refused.status == 400 and "frames of 64x48" in refused.json["error"]
        at = f"/api/jobs/{job['id']}"
        assert server.ask("PATCH", at, {"protect": [region]}).status == 400
    for region in ("mask.png", "/etc/passwd", "1,2,3", "-1,0,4,4"):
        assert server.ask("POST", f"{ask}&protect={region}").status == 400
    assert len(server.ask("GET", "/api/jobs").json) == 1


def test_events_tell_until_the_end(within: Start, film: Film) -> None:
    server = within()
    job_id = server.ask("POST", "/api/jobs", film().read_bytes(), name="a.mp4").json["id"]
    events = server.ask("GET", f"/api/jobs/{job_id}/events")
    assert events.headers["content-type"].startswith("text/event-stream")
    told = [
        json.loads(line.removeprefix("data: "))
        for line in events.body.decode().splitlines()
        if line.startswith("data: ")
    ]
    assert told[-1]["state"] == "done"
    frames = [each["frames"] for each in told]
    assert frames == sorted(frames) and "source" not in told[0]
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", "/api/events")
    answer = connection.getresponse()
    assert answer.readline() == b"event: job\n"
    connection.close()


def test_who_may_ask(within: Start, film: Film) -> None:
    server = within("secret")
    for path in ("/api/jobs", "/openapi.json", "/api/films"):
        assert server.ask("GET", path).status == 403
        assert server.ask("GET", path + "?token=wrong").status == 403
        assert server.ask("GET", path + "?token=secret").status == 200
        bearer = {"Authorization": "Bearer secret"}
        assert server.ask("GET", path, headers=bearer).status == 200
        assert (
            server.ask("GET", path, headers=bearer | {"Origin": "http://x.example"}).status == 403
        )
    body = film().read_bytes()
    refused = server.ask("POST", "/api/jobs", body, name="a.mp4")
    assert refused.status == 403 and not server.ask("GET", "/api/jobs?token=secret").json
    assert server.ask("POST", "/api/jobs?token=secret&hold=1", body, None).status == 400
    added = server.ask("POST", "/api/jobs", body, name="a.mp4", token="secret")
    assert added.status == 201 and "secret" not in added.body.decode()
    server.close()
    server = within()
    assert server.ask("GET", "/api/jobs", headers={"Host": "evil.example"}).status == 403
    foreign = {"Origin": "http://evil.example"}
    assert server.ask("POST", "/api/jobs", b"x", foreign, name="a.mp4").status == 403


def test_the_interface_is_described(within: Start) -> None:
    described = within().ask("GET", "/openapi.json").json
    assert "/api/jobs/{job_id}/events" in described["paths"]
    assert (
        "application/octet-stream"
        in described["paths"]["/api/jobs"]["post"]["requestBody"]["content"]
    )
    assert "source" not in described["components"]["schemas"]["JobView"]["properties"]
