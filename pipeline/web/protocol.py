"""HTTP/1.1 by uvicorn, with limits on clients that send or read slowly.

A client that has shown nothing yet costs a connection: only `WAITING` of them may be open, and one
more closes the one that waited longest, so that whoever sends its request at once gets through
however many do not. A request's head must be there after `HEAD_SECONDS` as a whole, and who does
not read an answer for `STALL_SECONDS` is cut off. Answers to the unauthorised are short and close
the connection, so those that last are of authorised viewers alone, and are bounded by the
application.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from typing import cast

from uvicorn.protocols.http.h11_impl import H11Protocol

WAITING = 64  # connections whose request is not there yet
HEAD_SECONDS = 10.0
STALL_SECONDS = 20.0
SEND_BUFFER = 1 << 17  # bytes: a slow viewer must not fill megabytes with frames of the past


class GuardedProtocol(H11Protocol):
    """One connection."""

    since = 0.0  # the loop's time at which the connection began to wait for its request
    head_timer: asyncio.TimerHandle | None = None
    stall_timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        super().connection_made(cast(asyncio.Transport, transport))
        peer: socket.socket = transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._await_head()
        waiting = [x for x in cast(Iterable[GuardedProtocol], self.connections) if x.waiting]
        if len(waiting) > WAITING:
            min(waiting, key=lambda each: each.since).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        _cancel(self.head_timer)
        _cancel(self.stall_timer)
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """An answer is given; the next request must come in time, too."""
        self._await_head()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        _cancel(self.stall_timer)
        self.stall_timer = self.loop.call_later(STALL_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        _cancel(self.stall_timer)

    def _await_head(self) -> None:
        self.since = self.loop.time()
        _cancel(self.head_timer)
        self.head_timer = self.loop.call_later(HEAD_SECONDS, self._end_if_waiting)

    def _end_if_waiting(self) -> None:
        if self.waiting:
            self.transport.abort()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
