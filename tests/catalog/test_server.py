from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from saxs_bluesky.catalog import open_catalog, split_key, without_key
from saxs_bluesky.errors import CatalogError
from tests.helpers.tiled_servers import TiledOnPostgres

KEY = "changemetoo0123456789"


@pytest.mark.parametrize(
    ("uri", "bare", "key"),
    [
        ("http://host:8000/api/v1?api_key=abc1", "http://host:8000/api/v1", "abc1"),
        ("http://host/api/v1/?x=1&api_key=abc1&y=", "http://host/api/v1/?x=1&y=", "abc1"),
        ("http://host/api/v1", "http://host/api/v1", None),
        ("https://host/?api_key=", "https://host/", ""),
    ],
)
def test_key_is_taken_out_of_an_address(uri, bare, key):
    assert split_key(uri) == (bare, key)
    assert without_key(uri) == bare


def test_folder_has_no_key():
    assert without_key("odd?api_key=folder") == "odd?api_key=folder"


@pytest.fixture
def refusing() -> Iterator[tuple[str, list[str]]]:
    """A server that has nothing, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.requestline)
            self.send_error(404, "no such thing")

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/api/v1", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_key_stands_in_no_error_and_in_no_address_that_is_asked_for(refusing, caplog):
    uri, asked = refusing
    with caplog.at_level(logging.DEBUG), pytest.raises(CatalogError) as caught:
        open_catalog(f"{uri}?api_key={KEY}")
    assert asked
    assert f"{uri}: wanted a Tiled server that answers" in str(caught.value)
    errors: list[BaseException | None] = [caught.value, caught.value.__cause__]
    for text in (*map(str, errors), *asked, *(record.getMessage() for record in caplog.records)):
        assert KEY not in text


def test_server_that_is_away_is_named_without_the_key():
    begin = time.monotonic()
    with pytest.raises(CatalogError) as caught:
        open_catalog(f"http://127.0.0.1:9/api/v1?api_key={KEY}")
    assert "http://127.0.0.1:9/api/v1: wanted a Tiled server that answers" in str(caught.value)
    assert KEY not in str(caught.value)
    assert time.monotonic() - begin < 60


def test_key_of_a_real_server(tiled_on_postgres: TiledOnPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    server = tiled_on_postgres
    told = server.log.read_text().count(server.key)  # Tiled itself shows it when it starts
    monkeypatch.delenv("TILED_API_KEY", raising=False)
    open_catalog(f"{server.uri}?api_key={server.key}").context.close()
    assert server.log.read_text().count(server.key) == told
    with pytest.raises(CatalogError, match="the server wants a key: set TILED_API_KEY"):
        open_catalog(server.uri)
    with pytest.raises(CatalogError, match="the server does not accept the key: set TILED_API_KEY") as caught:
        open_catalog(f"{server.uri}?api_key=wrong1")
    assert "wrong1" not in str(caught.value)
    monkeypatch.setenv("TILED_API_KEY", server.key)
    open_catalog(server.uri).context.close()
