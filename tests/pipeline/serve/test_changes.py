"""News of jobs: once for each change, and an end when nothing happens any more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator

import pytest

from derain.pipeline.serve import changes as module
from derain.pipeline.serve.changes import Changes, is_settled, job_events
from derain.pipeline.serve.jobs import Job, Preview


def job(id: str = "a", **changes: object) -> Job:
    """A job that waits."""
    values = {"id": id, "name": "rain.mp4", "result": "rain.mp4", "origin": "upload"}
    values |= {"state": "queued", "source": "/in/x.mp4", "target": "/out/x.mp4"}
    return Job.model_validate(values | changes)


def test_jobs_are_settled_when_nobody_works_on_them() -> None:
    assert not is_settled(job()) and not is_settled(job(state="running"))
    assert is_settled(job(state="done")) and is_settled(job(state="held"))
    assert not is_settled(job(state="held", preview=Preview(state="running")))
    assert is_settled(job(state="held", preview=Preview(state="done")))


async def following(events: AsyncGenerator[bytes, None]) -> str:
    return (await asyncio.wait_for(anext(events), 10)).decode()


def test_each_change_is_told_once_and_jobs_that_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACE", 0.0)
    changes, jobs = Changes(), {"a": job("a"), "b": job("b")}

    async def watch() -> list[str]:
        events = job_events(changes, lambda: jobs)
        told = [await following(events), await following(events)]
        jobs["a"] = job("a", state="running")
        changes.notify()
        told.append(await following(events))
        del jobs["b"]
        threading.Thread(target=changes.notify).start()  # from any thread
        told.append(await following(events))
        await events.aclose()
        return told

    told = asyncio.run(watch())
    assert [text.split("\n")[0] for text in told] == ["event: job"] * 3 + ["event: removed"]
    assert '"state":"running"' in told[2] and told[3] == "event: removed\ndata: b\n\n"
    assert len(changes) == 0


def test_one_job_is_followed_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACE", 0.0)
    changes, jobs = Changes(), {"a": job("a"), "b": job("b")}

    async def watch() -> list[str]:
        events = job_events(changes, lambda: jobs, only="a")
        told = [await following(events)]
        jobs["a"] = job("a", state="done")
        changes.notify()
        told += [text.decode() async for text in events]
        return told

    told = asyncio.run(watch())
    assert len(told) == 2 and '"state":"done"' in told[1]


def test_a_quiet_connection_says_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET", 0.01)

    async def watch() -> str:
        events = job_events(Changes(), dict)
        text = await following(events)
        await events.aclose()
        return text

    assert asyncio.run(watch()) == ": nothing new\n\n"
