"""An empty application behind the guard, whose errors are all `{"error": sentence}`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from derain.models.errors import DerainError
from derain.pipeline.web.access import Access, AccessGuard


def create_app(
    access: Access,
    title: str,
    *,
    openapi: str | None = None,
    closing: Callable[[], Awaitable[None]] | None = None,
) -> FastAPI:
    """The application; routes are added by the caller.

    Args:
        access: who may ask.
        title: the program's name.
        openapi: path of the routes' description, None for none.
        closing: awaited in the server's loop when it ends.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        if closing is not None:
            await closing()

    app = FastAPI(
        title=title, openapi_url=openapi, docs_url=None, redoc_url=None, lifespan=lifespan
    )
    app.add_middleware(AccessGuard, access=access)

    @app.exception_handler(404)
    def not_found(request: Request, error: HTTPException) -> Response:
        unknown = error.detail == "Not Found"  # no route; else a route's own sentence
        return refuse(404, "There is nothing here; the page is at /." if unknown else error.detail)

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        return refuse(error.status_code, error.detail, error.headers)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        return refuse(400, "; ".join(describe(each) for each in error.errors()[:3]) + ".")

    @app.exception_handler(DerainError)
    def failed(request: Request, error: DerainError) -> Response:
        return refuse(400, str(error))

    return app


def refuse(status: int, text: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An answer that is one sentence.

    Args:
        status: HTTP's.
        text: one sentence.
        headers: more than the usual ones.
    """
    return JSONResponse({"error": text}, status, headers)


def describe(error: dict[str, Any]) -> str:
    """One error of pydantic: where, and what is wrong; never the value that came."""
    where = [str(part) for part in error["loc"] if part not in ("body", "query", "path")]
    return ": ".join(filter(None, (".".join(where)[:100], str(error["msg"]))))
