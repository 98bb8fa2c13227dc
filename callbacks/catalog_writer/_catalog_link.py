"""The catalog as its writer reaches it: opened late, asked for a sign of life, and left alone while it is away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from saxs_bluesky.catalog import open_catalog
from saxs_bluesky.errors import CatalogError

LONGEST_PAUSE = 10.0  # seconds between looks at a catalog that is away
_ANSWER_TIMEOUT = 5.0  # seconds


class CatalogLink:
    """Opens a catalog, and finds out whether it answers.

    Parameters
    ----------
    catalog
        An open catalog; or a folder, a URI or a function without arguments, opened by the first `reach`.
    ended
        Set when the writer is closed: its thread asks nothing more.
    first_pause
        Seconds until a catalog that does not answer is asked again; the pause doubles each time.
    """

    def __init__(self, catalog: Any, ended: threading.Event, first_pause: float) -> None:
        self._open = _opener(catalog)
        self._is_own = isinstance(catalog, str) and "://" in catalog  # the client of a folder is everybody's
        self._ended = ended
        self._first_pause = first_pause
        self._thread: threading.Thread | None = None
        #: The open catalog; None before it was reached for the first time.
        self.catalog: Any = None
        #: Seconds until it is asked again; 0 while it answers.
        self.pause = 0.0

    def reach(self) -> None:
        """Ask the catalog for a sign of life, once: Tiled's client would go on asking for most of a minute.

        Whatever is raised says that it is away; there are as many ways as networks.
        """
        if self.catalog is None:
            self._thread = threading.current_thread()
            self.catalog = self._open()
            self.catalog.context.http_client.event_hooks["request"].append(self._refuse_request)
        http = self.catalog.context.http_client
        timeout = {} if hasattr(http, "app") else {"timeout": _ANSWER_TIMEOUT}
        http.get(self.catalog.uri, **timeout).raise_for_status()
        self.pause = 0.0

    def pause_longer(self) -> None:
        """Leave the catalog alone for a while."""
        self.pause = min(2 * self.pause or self._first_pause, LONGEST_PAUSE)

    def _refuse_request(self, _request: Any) -> None:
        """Let the thread end between two requests; an embedded catalog that is closed under one never answers."""
        if self._ended.is_set() and threading.current_thread() is self._thread:
            raise CatalogError("the writer is closed")

    def close(self) -> None:
        """Let go of the catalog; one that was opened for this link only is closed."""
        if self.catalog is None:
            return
        with suppress(ValueError):
            self.catalog.context.http_client.event_hooks["request"].remove(self._refuse_request)
        if self._is_own:
            self.catalog.context.close()


def _opener(catalog: Any) -> Callable[[], Any]:
    if isinstance(catalog, str | Path):
        return lambda: open_catalog(catalog)
    if hasattr(catalog, "context"):
        return lambda: catalog
    opener: Callable[[], Any] = catalog
    return opener
