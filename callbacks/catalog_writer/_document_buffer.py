"""A queue of documents, bounded by their size, that a thread empties."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import numpy as np

from saxs_bluesky.documents import Document

Batch = list[tuple[str, Document]]


class DocumentBuffer:
    """Takes documents at once, and hands them on in a thread of its own.

    Parameters
    ----------
    handle
        What gets the documents, as many together as there are.
    changed
        Notified when documents were put or handled.
    memory
        How many bytes of documents may wait.
    failed
        Told of a batch that could not be handled, and why; the thread goes on with the next.
    """

    def __init__(
        self,
        handle: Callable[[Batch], None],
        changed: threading.Condition,
        memory: int,
        failed: Callable[[Batch, Exception], None],
    ) -> None:
        self._handle = handle
        self._failed = failed
        self._changed = changed
        self._memory = memory
        self._batch: Batch = []
        self._bytes = 0
        self._in_hand = 0
        self._closed = False
        #: How many documents were put, and handled.
        self.put_so_far = self.handled_so_far = 0
        self._thread = threading.Thread(target=self._empty, name="catalog journal", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many documents are not handled yet."""
        return len(self._batch) + self._in_hand

    @property
    def has_room(self) -> bool:
        """True if half the memory is free."""
        return self._bytes < self._memory / 2

    def put(self, name: str, doc: Document) -> bool:
        """Take a document, with copies of its arrays; False where there is no room."""
        size, kept = _size_and_copy(doc)
        with self._changed:
            if self._closed or (self._batch and self._bytes + size > self._memory):
                return False
            self._batch.append((name, kept))
            self.put_so_far += 1
            self._bytes += size
            self._changed.notify_all()
        return True

    def close(self, timeout: float) -> None:
        """Take no more, handle what waits and end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout)

    @property
    def has_ended(self) -> bool:
        """True if it takes no more, and the last batch is handled."""
        return not self._thread.is_alive()

    def _empty(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._batch or self._closed)
                if not self._batch:
                    return
                batch, self._batch = self._batch, []
                self._in_hand, size = len(batch), self._bytes
            try:
                self._handle(batch)
            except Exception as error:  # noqa: BLE001 - or all that comes later would wait for ever
                self._failed(batch, error)
            with self._changed:
                self.handled_so_far += self._in_hand
                self._in_hand = 0
                self._bytes -= size
                self._changed.notify_all()


def _size_and_copy(doc: Document) -> tuple[int, Document]:
    """Bytes of a document, and the document with arrays of its own, since a detector may use its array again."""
    data, size = doc.get("data"), 1000
    if not isinstance(data, Mapping):
        return size, doc
    own = {}
    for key, value in data.items():
        size += getattr(value, "nbytes", 8 * len(value) if isinstance(value, list) else 0)
        if isinstance(value, np.ndarray):
            own[key] = value.copy()
    return size, {**doc, "data": {**data, **own}} if own else doc
