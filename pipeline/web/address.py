"""Where a page is served: host and port of an option, and the URL that a browser can open."""

from __future__ import annotations

import socket

from derain.models.errors import UsageError

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
EVERYWHERE = {"0.0.0.0", "::"}  # to listen at, not to go to


def parse_address(text: str) -> tuple[str, int]:
    """`127.0.0.1:8000`, `[::1]:8000`, `:8000` or `8000` to host and port.

    Raises:
        UsageError: it is none of these.
    """
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdecimal()) or len(port) > 5 or int(port) > 65535:
        raise UsageError(f"--http takes an address such as 127.0.0.1:8000, not '{text}'.")
    return host.strip("[]") or "127.0.0.1", int(port)


def own_address() -> str:
    """The address of this machine that its network knows; its name where there is no network."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only chooses the way out
            return str(probe.getsockname()[0])
    except OSError:
        return socket.gethostname()


def page_url(host: str, port: int, token: str | None) -> str:
    """Where a browser finds the page; an address for all is shown as this machine's own.

    Args:
        host, port: what the server listens at.
        token: the secret to put into the URL, if the server asks for one.
    """
    shown = own_address() if host in EVERYWHERE else host
    shown = f"[{shown}]" if ":" in shown else shown
    return f"http://{shown}:{port}/" + (f"?token={token}" if token else "")
