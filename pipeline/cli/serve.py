"""The command `derain serve`: options in, a server until the user ends it.

Heavy imports stay inside the command.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from derain.models.errors import UsageError
from derain.pipeline.cli.common import COMMON, FILES, Debug, Device, say

HTTP = "127.0.0.1:8080"


def serve(
    http: Annotated[
        str, typer.Option(help="Where the page is served.", rich_help_panel=COMMON)
    ] = HTTP,
    folder: Annotated[
        Path,
        typer.Option(
            help="Its films can be named; uploads and results go there.", rich_help_panel=FILES
        ),
    ] = Path(),
    watch: Annotated[
        Path | None,
        typer.Option(help="Derain each film that comes into this folder.", rich_help_panel=FILES),
    ] = None,
    into: Annotated[
        Path | None, typer.Option(help="Where the films of --watch go.", rich_help_panel=FILES)
    ] = None,
    limit: Annotated[
        float,
        typer.Option(min=0.001, help="Gigabytes of an upload, at most.", rich_help_panel=FILES),
    ] = 20.0,
    jobs: Annotated[
        int, typer.Option(min=1, help="Films at the same time.", rich_help_panel=COMMON)
    ] = 1,
    token: Annotated[
        str | None,
        typer.Option(
            help="Secret to ask for; made up for addresses others can reach.",
            rich_help_panel=COMMON,
        ),
    ] = None,
    device: Device = "auto",
    debug: Debug = False,
) -> None:
    """Derain films from a page in the browser, and from other programs by a REST interface."""
    if (watch is None) != (into is None):
        raise UsageError("--watch and --into belong together; give both.")
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}; make it first.")
    from derain.pipeline.serve.queue import QueueOptions
    from derain.pipeline.serve.server import JobServer, ServeOptions
    from derain.pipeline.serve.watch import Watched
    from derain.pipeline.streaming.inputs import interruptible
    from derain.pipeline.web.access import choose_token
    from derain.pipeline.web.address import parse_address

    host, port = parse_address(http)
    options = ServeOptions(
        folder=folder,
        queue=QueueOptions([sys.executable, "-m", "derain.pipeline.cli.job"], jobs, device),
        limit=limit,
        watched=Watched(watch, into) if watch is not None and into is not None else None,
    )
    with interruptible() as stop:
        server = JobServer(options, (host, port), choose_token(token, host), say)
        server.start()
        say(f"open {server.url}")
        stop.wait()
        server.shutdown()


def add_commands(app: typer.Typer) -> None:
    """Register the command on `app`."""
    app.command("serve", rich_help_panel="Remove rain")(serve)
