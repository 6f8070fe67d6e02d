"""uvicorn in a thread of its own, on a socket that is bound before anything is shown."""

from __future__ import annotations

import os
import socket
import threading
import time

from fastapi import FastAPI
from uvicorn import Config, Server

from derain.models.errors import DerainError
from derain.pipeline.web.address import LOOPBACK, page_url
from derain.pipeline.web.protocol import GuardedProtocol

KEEP_ALIVE = 5  # seconds between two requests of a connection
GRACE = 2  # seconds that answers have at the end
PATIENCE = 30.0  # seconds for the thread to start or to end


class WebServer:
    """Serve an application in a thread until `shutdown`.

    Args:
        app: what to serve; see `create_app`.
        address: host and port; port 0 takes a free one.
        token: what `app` asks of everybody; without one the host must be this machine's loopback.

    Raises:
        DerainError: the port is taken, or the address needs a token.
    """

    def __init__(self, app: FastAPI, address: tuple[str, int], token: str | None = None) -> None:
        host, port = address
        if token is None and host not in LOOPBACK:
            raise DerainError(f"Others can reach {host}; choose a secret for them with --token.")
        self.token = token
        self.socket = _listen(host, port)
        self.host, self.port = self.socket.getsockname()[:2]
        self._server = Server(
            Config(
                app,
                http=GuardedProtocol,
                ws="none",
                lifespan="on",
                loop="asyncio",
                log_config=None,
                # The terminal belongs to the user: what clients do is no news.
                log_level="error" if os.environ.get("DERAIN_DEBUG") else "critical",
                access_log=False,
                server_header=False,
                proxy_headers=False,  # who asks is who connects
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=GRACE,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, args=([self.socket],), name="http", daemon=True
        )

    @property
    def url(self) -> str:
        """Where the page is, with the token; for others the address of this machine."""
        return page_url(self.host, self.port, self.token)

    def start(self) -> None:
        """Serve; when this returns, connections are answered."""
        self._thread.start()
        until = time.monotonic() + PATIENCE
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > until:
                raise DerainError(f"The page on {self.host}:{self.port} does not start; try again.")
            time.sleep(0.005)

    def shutdown(self) -> None:
        """Answer nobody any more; what lasts is cut off after `GRACE`."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(PATIENCE)
        self.socket.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise DerainError(
            f"The page cannot be served on {host}:{port} ({error.strerror}); choose another --http."
        ) from error
