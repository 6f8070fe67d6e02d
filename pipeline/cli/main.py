"""The `derain` command: its groups of commands, and what becomes of errors.

Exit codes: 0 all done, 1 some inputs failed, 2 wrong use, 130 interrupted.
Heavy imports stay inside the commands, so that `derain --help` answers at once.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import typer

from derain.models.errors import DerainError, UsageError
from derain.models.log import mask_credentials
from derain.pipeline.cli import (
    distributed,
    lab,
    live,
    preview,
    restore,
    serve,
    tools,
    train,
)
from derain.pipeline.cli.allocator import keep_memory
from derain.pipeline.cli.common import say
from derain.pipeline.cli.signals import Terminated

app = typer.Typer(name="derain", no_args_is_help=True, pretty_exceptions_enable=False)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"derain {version('derain')}")
        raise typer.Exit


@app.callback()
def _commands(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and end."
        ),
    ] = False,
) -> None:
    """Remove rain from video: the same film without rain, sound and timing untouched."""


for group in (restore, preview, live, serve, distributed, tools, lab, train):
    group.add_commands(app)


def report_error(error: BaseException) -> int:
    """Write one sentence to standard error; the exit code."""
    if isinstance(error, (KeyboardInterrupt, Terminated)):
        say("interrupted")
        return error.exit_code if isinstance(error, Terminated) else 130
    if isinstance(error, (DerainError, OSError)):
        text = str(error)  # an address may hold a password; "key=value" is none
        say(f"error: {mask_credentials(text) if '://' in text else text}")
        return 2 if isinstance(error, UsageError) else 1
    if not isinstance(error, Exception):
        raise error
    say(f"error: Something went wrong ({type(error).__name__}: {error}); --debug shows where.")
    return 1


def main() -> None:
    """Run the command line: a failure becomes one sentence and an exit code, unless --debug."""
    os.environ.setdefault("SVT_LOG", "1")  # its encoder would print a page; 1 is errors alone
    keep_memory()
    debug = "--debug" in sys.argv or bool(os.environ.get("DERAIN_DEBUG"))
    if debug:
        logging.basicConfig(format="%(message)s")
        logging.getLogger("derain").setLevel(logging.DEBUG)
    try:
        app()
    except (Exception, KeyboardInterrupt, Terminated) as error:
        if debug:
            raise
        sys.exit(report_error(error))
