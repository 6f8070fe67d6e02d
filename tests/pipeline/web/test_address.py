"""Addresses to listen at and to open."""

from __future__ import annotations

import pytest

from derain.models.errors import UsageError
from derain.pipeline.web import address
from derain.pipeline.web.address import page_url, parse_address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8000", ("127.0.0.1", 8000)),
        ("[::1]:80", ("::1", 80)),
        (":8000", ("127.0.0.1", 8000)),
        ("8000", ("127.0.0.1", 8000)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
    ],
)
def test_host_and_port(text: str, expected: tuple[str, int]) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text", ["", "host", "host:", "host:x", "1:65536", "1:-1", "1:٣", "1:123456"]
)
def test_no_addresses(text: str) -> None:
    with pytest.raises(UsageError, match="--http takes an address"):
        parse_address(text)


def test_a_browser_can_go_to_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "own_address", lambda: "192.0.2.7")
    assert page_url("127.0.0.1", 80, None) == "http://127.0.0.1:80/"
    assert page_url("::1", 80, "x") == "http://[::1]:80/?token=x"
    assert page_url("0.0.0.0", 8000, "x") == "http://192.0.2.7:8000/?token=x"
