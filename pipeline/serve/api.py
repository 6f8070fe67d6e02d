"""The REST interface: films in, jobs, their events, frames and results out.

`/openapi.json` describes it, `/api` shows that to people.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from derain.pipeline.serve.changes import Changes, job_events
from derain.pipeline.serve.desk import Desk
from derain.pipeline.serve.frame_process import FrameProcess
from derain.pipeline.serve.jobs import Job, JobView, Settings
from derain.pipeline.serve.names import clean_name, films_in
from derain.pipeline.serve.uploads import save_body
from derain.pipeline.web.streams import ClosingStream

LISTENERS = 64  # of events at the same time
UPLOADS = 8
LATEST = 1e7  # seconds of a film


class NewJob(Settings):
    """Query of a new job: the film, the dials."""

    name: str | None = Field(
        None, max_length=1000, description="of the film that is the body of the request"
    )
    film: str | None = Field(
        None, max_length=1000, description="a film of the server's folder, without a body"
    )
    hold: bool = Field(False, description="wait until the job is started")
    token: str | None = Field(None, description="the server's; Authorization: Bearer does as well")

    @property
    def settings(self) -> Settings:
        """The dials alone."""
        return Settings(**{name: getattr(self, name) for name in Settings.model_fields})


class NamedFilm(BaseModel):
    """A film of the server's folder."""

    model_config = ConfigDict(frozen=True)

    name: str
    size: int


class Answer(BaseModel):
    """What went wrong, as a sentence."""

    error: str


@dataclass(slots=True)
class Api:
    """The routes; plain functions run in threads."""

    desk: Desk
    frames: FrameProcess
    changes: Changes
    limit: int  # bytes of an upload
    uploading: int = 0

    def router(self) -> APIRouter:
        """All of them."""
        wrong: dict[int | str, dict[str, Any]] = {
            code: {"model": Answer} for code in (400, 403, 404, 409)
        }
        router = APIRouter(prefix="/api", responses=wrong)
        self._add_jobs(router)
        self._add_actions(router)
        self._add_files(router)
        return router

    def _add_jobs(self, router: APIRouter) -> None:
        @router.get("/films", summary="The films of the server's folder")
        def films() -> list[NamedFilm]:
            found = films_in(self.desk.folders.root)
            return [NamedFilm(name=n, size=p.stat().st_size) for n, p in found.items()]

        @router.get("/jobs", response_model=list[JobView], summary="All jobs, oldest first")
        def jobs() -> list[Job]:
            return list(self.desk.store.all().values())

        @router.post(
            "/jobs",
            response_model=JobView,
            status_code=201,
            summary="A new job: the body is the film, or film= names one of the folder",
            openapi_extra={"requestBody": {"content": {"application/octet-stream": {}}}},
        )
        async def add(request: Request, new: Annotated[NewJob, Query()]) -> Job:
            if (new.name is None) == (new.film is None):
                raise HTTPException(
                    400,
                    "Give name= with the film as body, or film= with one of the folder.",
                    {"Connection": "close"},
                )
            if new.film is not None:
                named = self.desk.add_named
                return await run_in_threadpool(named, new.film, new.settings, new.hold)
            return await self._upload(request, new.name or "", new)

        @router.get("/jobs/{job_id}", response_model=JobView, summary="One job")
        def job(job_id: str) -> Job:
            return self._job(job_id)

        @router.patch("/jobs/{job_id}", response_model=JobView, summary="Turn the dials of a job")
        def change(job_id: str, settings: Settings) -> Job:
            job = self._job(job_id)
            if settings.codec is not None or settings.protect:
                self.desk.film_for(Path(job.source), job.name, settings)
            self.desk.queue.change(job_id, settings)
            return self._job(job_id)

        @router.delete("/jobs/{job_id}", status_code=204, summary="Forget a job and its upload")
        def remove(job_id: str) -> None:
            self._job(job_id)
            self.desk.remove(job_id)

    def _add_actions(self, router: APIRouter) -> None:
        queue = self.desk.queue

        @router.post("/jobs/{job_id}/start", response_model=JobView, summary="Start or resume")
        def start(job_id: str, again: bool = False) -> Job:
            self._job(job_id)
            queue.enqueue(job_id, again)
            return self._job(job_id)

        @router.post("/jobs/{job_id}/stop", response_model=JobView, summary="Stop; start resumes")
        def stop(job_id: str) -> Job:
            self._job(job_id)
            queue.stop(job_id)
            return self._job(job_id)

        @router.post("/jobs/{job_id}/preview", response_model=JobView, summary="Make a preview")
        def preview(job_id: str) -> Job:
            self._job(job_id)
            queue.preview(job_id)
            return self._job(job_id)

        @router.get("/events", summary="Events of all jobs", response_class=ClosingStream)
        async def events() -> Response:
            return self._events()

        @router.get(
            "/jobs/{job_id}/events",
            summary="Events of one job, until nothing happens to it any more",
            response_class=ClosingStream,
        )
        async def job_events(job_id: str) -> Response:
            self._job(job_id)
            return self._events(job_id)

    def _add_files(self, router: APIRouter) -> None:
        @router.get(
            "/jobs/{job_id}/frame.jpg",
            summary="A frame before, and below it the same frame after, while it is rendered, too",
            response_class=Response,
        )
        def frame(
            job_id: str, at: Annotated[float, Query(ge=0, le=LATEST, allow_inf_nan=False)] = LATEST
        ) -> Response:
            data, time = self.frames.pair(self._job(job_id), at)
            return Response(data, media_type="image/jpeg", headers={"X-Time": f"{time:.3f}"})

        @router.get("/jobs/{job_id}/preview.png", summary="The sheet", response_class=FileResponse)
        def sheet(job_id: str) -> Response:
            job = self._job(job_id)
            path = self.desk.folders.sheet(job_id)
            if job.preview is None or job.preview.state != "done" or not path.is_file():
                raise HTTPException(404, "There is no preview of this job yet.")
            return FileResponse(path, media_type="image/png")

        @router.get("/jobs/{job_id}/result", summary="The film", response_class=FileResponse)
        def result(job_id: str) -> Response:
            job = self._job(job_id)
            if job.state != "done":
                raise HTTPException(409, "This job is not done yet.")
            if not Path(job.target).is_file():
                raise HTTPException(404, "The result was moved away.")
            return FileResponse(
                job.target, media_type="application/octet-stream", filename=job.result
            )

    def _job(self, job_id: str) -> Job:
        job = self.desk.store.get(job_id)
        if job is None:
            raise HTTPException(404, "There is no such job.")
        return job

    async def _upload(self, request: Request, name: str, new: NewJob) -> Job:
        clean_name(name)  # refused before it is sent
        if self.uploading >= UPLOADS:
            raise HTTPException(
                503, "Too many films are being sent; wait for one.", {"Connection": "close"}
            )
        self.uploading += 1
        body = self.desk.folders.uploads / secrets.token_hex(8)
        try:
            if not await save_body(request, body, self.limit):
                raise HTTPException(400, "The body of the request is empty; send the film as it.")
            return await run_in_threadpool(self.desk.add_upload, body, name, new.settings, new.hold)
        finally:
            self.uploading -= 1
            body.unlink(missing_ok=True)

    def _events(self, only: str | None = None) -> Response:
        if len(self.changes) >= LISTENERS:
            raise HTTPException(503, "Too many are listening; close another page.")
        stream: AsyncGenerator[bytes, None] = job_events(self.changes, self.desk.store.all, only)
        return ClosingStream(stream, media_type="text/event-stream")
