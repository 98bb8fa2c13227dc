"""The finders of a source, asked one after the other; one that fails does not hold up the others."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from saxs_bluesky.errors import reason_of
from saxs_bluesky.sources._accepted_files import AcceptedFiles
from saxs_bluesky.sources._finders import Finder

_log = logging.getLogger(__name__)

_REST = 1.0  # seconds for a finder that failed


class FinderGroup:
    """Asks finders for files.

    Parameters
    ----------
    finders
        A file that several of them find is one.
    """

    def __init__(self, finders: Sequence[Finder]) -> None:
        self._finders = list(finders)
        self._rests: dict[int, float] = {}  # until when a finder that failed is not asked, by its id

    def begin(self, known: AcceptedFiles, wake: Callable[[], None]) -> None:
        """Begin to look for files; arguments as for a finder."""
        for finder in self._finders:
            finder.begin(known, wake)

    def add(self, finder: Finder) -> None:
        """Add a finder that has begun."""
        self._finders.append(finder)

    def find(self, *, last: bool) -> Iterator[tuple[str, bool]]:
        """Yield paths of files that may be new, and whether they were announced; the last time, of all that exist."""
        for finder in self._finders:
            if time.monotonic() < self._rests.get(id(finder), 0.0) and not last:
                continue
            try:
                for path in finder.find_all() if last else finder.find():
                    yield path, finder.announces
            # Whatever is wrong with one finder, the others go on, and it is asked again.
            except Exception as error:  # noqa: BLE001
                if id(finder) not in self._rests:
                    _log.warning("looking for files failed and is tried again: %s", reason_of(error), exc_info=True)
                self._rests[id(finder)] = time.monotonic() + _REST

    @property
    def next_look(self) -> float:
        """When to ask again at the latest, by ``time.monotonic``; infinite if only a wake-up brings news."""
        looks = ((finder.next_look, self._rests.get(id(finder), 0.0)) for finder in self._finders)
        return min((max(look, rest) for look, rest in looks if look is not None), default=float("inf"))

    @property
    def exhausted(self) -> bool:
        """True if none will find any more."""
        return all(finder.exhausted for finder in self._finders)

    def unreadable_folders(self) -> list[str]:
        """Folders that cannot be listed now."""
        return [folder for finder in self._finders for folder in getattr(finder, "unreadable_folders", ())]

    def other_files(self) -> Counter[str]:
        """How many files in the folders are not images that can be taken, by kind."""
        found: Counter[str] = Counter()
        for finder in self._finders:
            found.update(getattr(finder, "other_files", {}))
        return found

    def close(self) -> None:
        """Close all."""
        for finder in self._finders:
            finder.close()
