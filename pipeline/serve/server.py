"""The server: its folder, its queue, its page and its interface, put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import Response

from derain.pipeline.serve.api import Api
from derain.pipeline.serve.changes import Changes
from derain.pipeline.serve.desk import Desk
from derain.pipeline.serve.folders import Folders
from derain.pipeline.serve.frame_process import BusyError, FrameProcess
from derain.pipeline.serve.jobs import ConflictError
from derain.pipeline.serve.queue import Queue, QueueOptions
from derain.pipeline.serve.store import Store
from derain.pipeline.serve.watch import Watched, Watcher
from derain.pipeline.web.access import Access
from derain.pipeline.web.app import create_app, refuse
from derain.pipeline.web.server import WebServer

COOKIE = "derain-serve"
GIGABYTE = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """What a user can ask of `derain serve`."""

    folder: Path
    queue: QueueOptions
    limit: float = 20.0  # gigabytes of an upload
    watched: Watched | None = None


class JobServer(WebServer):
    """Take films and give them back derained, until `shutdown`.

    Args:
        options: see `ServeOptions`.
        address: host and port; port 0 takes a free one.
        token: what is asked of everybody; see `WebServer`.
        log: told what a user should know.

    Raises:
        DerainError: the address or the folder cannot be used.
    """

    def __init__(
        self,
        options: ServeOptions,
        address: tuple[str, int],
        token: str | None = None,
        log: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.access = Access(token, COOKIE, streamed=("/api/jobs",))
        app = create_app(self.access, "derain serve", openapi="/openapi.json")
        super().__init__(app, address, token)
        folders = Folders(options.folder.resolve())
        if options.watched is not None:
            options.watched.check()
        folders.make()
        changes = Changes()
        self.store = Store(folders.database, changes.notify)
        folders.sweep(self.store.all())
        self.frames = FrameProcess(folders)
        self.queue = Queue(self.store, folders, options.queue)
        desk = Desk(folders, self.store, self.queue, self.frames)
        self.watcher: Watcher | None = None
        if options.watched is not None:
            self.watcher = Watcher(
                options.watched,
                self.store,
                lambda path, into: desk.add_file(path, into, origin="watch"),
                log,
            )
        api = Api(desk, self.frames, changes, round(options.limit * GIGABYTE))
        app.include_router(api.router())
        self._add_pages(app)

    def _add_pages(self, app: FastAPI) -> None:
        for path, name in (("/", "page.html"), ("/api", "api.html")):
            self._add_page(app, path, read(name))
        for name in ("page.css", "page.js", "films.js", "viewer.js"):
            self._add_file(app, name)

        @app.exception_handler(ConflictError)
        def conflict(request: Request, error: ConflictError) -> Response:
            return refuse(409, str(error))

        @app.exception_handler(BusyError)
        def busy(request: Request, error: BusyError) -> Response:
            return refuse(503, str(error))

    def _add_page(self, app: FastAPI, path: str, html: str) -> None:
        @app.get(path, include_in_schema=False)
        def page(request: Request) -> Response:
            return self.access.page(request, html)

    def _add_file(self, app: FastAPI, name: str) -> None:
        text, kind = read(name), "text/css" if name.endswith(".css") else "text/javascript"

        @app.get(f"/{name}", include_in_schema=False)
        def file() -> Response:
            return Response(text, media_type=kind)

    def start(self) -> None:
        """Answer, and go on with the jobs that are there."""
        super().start()
        self.queue.start()
        if self.watcher is not None:
            self.watcher.start()

    def shutdown(self) -> None:
        """Stop the jobs so that they can go on, and answer nobody any more."""
        if self.watcher is not None:
            self.watcher.close()
        super().shutdown()
        self.queue.close()
        self.frames.close()
        self.store.close()


def read(name: str) -> str:
    """A file of the page."""
    return files("derain.pipeline.serve").joinpath(name).read_text("utf-8")
