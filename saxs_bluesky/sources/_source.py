"""Sources: files as they come, as the documents of a raw run."""

from __future__ import annotations

import logging
import math
import os
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from saxs_bluesky.documents import NamedDocument
from saxs_bluesky.errors import FrameError, printable, reason_of
from saxs_bluesky.reduction import has_stamp, part_of
from saxs_bluesky.sources._accepted_files import AcceptedFiles
from saxs_bluesky.sources._finder_group import FinderGroup
from saxs_bluesky.sources._finders import Finder, FolderListing
from saxs_bluesky.sources._folder_scanner import scan_order
from saxs_bluesky.sources._path_text import is_text
from saxs_bluesky.sources._raw_run_composer import RawRunComposer
from saxs_bluesky.sources._readiness import MOST_ABSENT, FoundFile, Readiness
from saxs_bluesky.sources._settings import SourceSettings

_log = logging.getLogger(__name__)

_LONGEST_WAIT = 1.0  # seconds
_AT_A_TIME = 16
_ROOM_PAUSE = 0.005  # seconds between looks whether there is room again
_SETTLED_PAUSE = 0.01  # seconds between looks whether all is settled


@dataclass(frozen=True)
class SourceCounters:
    """How many files a source has found.

    Parameters
    ----------
    accepted
        Files that were handed out.
    skipped
        Files for which there was nothing to do.
    pending
        Files that were found and are not ready, or not handed out yet.
    dropped
        Announced files that do not exist, and were not waited for since too many others were.
    """

    accepted: int
    skipped: int
    pending: int
    dropped: int = 0


class FileSource:
    """The documents of one raw run of files: one event for each content of each file.

    A file of several images is as many events. One that is overwritten later is a new event. One that does not become
    a whole image in time is an event too, so that its failure is recorded, and another when it changes.

    Parameters
    ----------
    finders
        What finds files; a file that several of them find is one.
    metadata
        For the start document.
    readiness
        When files are ready.
    skip
        Called with a path; True if there is nothing to do for the file, such as curves that exist already. Of a file
        with several images it is called with their number, too.

    Examples
    --------
    >>> for name, doc in DirectorySource("images").documents():  # doctest: +SKIP
    ...     reduction(name, doc)
    """

    def __init__(
        self,
        finders: Sequence[Finder],
        metadata: Mapping[str, Any],
        *,
        readiness: Readiness | None = None,
        skip: Callable[..., bool] | None = None,
    ) -> None:
        self.metadata = dict(metadata)
        self._finders = FinderGroup(finders)
        self._readiness = Readiness() if readiness is None else readiness
        self._skip = skip
        self._known = AcceptedFiles()
        self._never_came: dict[str, None] = {}  # the latest
        #: Set when files that come are noticed.
        self.begun = threading.Event()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._draining = threading.Event()
        self._requests: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._is_settled: Callable[[], bool] = lambda: True
        self._accepted = self._skipped = 0
        self._drawn: deque[FoundFile] = deque()  # they are ready, and wait for room
        self._pages_left = 0  # of the one that is handed out

    @property
    def counters(self) -> SourceCounters:
        """How many files it has found by now; from any thread."""
        pending = len(self._drawn) + self._pages_left + len(self._readiness)
        return SourceCounters(self._accepted, self._skipped, pending, self._readiness.dropped)

    def stop(self, *, drain: bool = False) -> None:
        """Accept no more files; with ``drain``, none but those that exist or are announced by now. From any thread."""
        (self._draining if drain else self._stopping).set()
        self._wake.set()

    def again(self, folder: str | Path, *, recursive: bool = True, forget: bool = True) -> None:
        """Take all images of a folder anew, whatever was accepted; from any thread.

        Parameters
        ----------
        folder
            The folder.
        recursive
            Take the images in subfolders too.
        forget
            Forget what was accepted. Without it, files that are remembered of the program before are left out.
        """
        listing = FolderListing(SourceSettings(Path(folder), recursive=recursive))
        self._request(partial(self._list_again, listing, forget=forget))

    def look_again(self, path: str, *, anew: bool = False) -> None:
        """Take the content that a file has now, unless that was accepted; from any thread.

        Where there is no such file any more, what was accepted of it was gone before it was read: where its folder has
        another name now, it is found there.

        Parameters
        ----------
        path
            Of the file.
        anew
            Take it even if it was accepted: it was, under another path, and not done.
        """
        self._request(partial(self._look_again, path, anew=anew))

    def _request(self, request: Callable[[], None]) -> None:
        self._requests.put(request)
        self._wake.set()

    def remember(self, path: str, stamp: int) -> None:
        """Take a content of a file for accepted already; before the first file is asked for."""
        self._known.remember(path, stamp)

    def remember_all(self, folder: str, names: dict[str, int]) -> None:
        """Take contents of many files of a folder for accepted already; the dictionary may be kept."""
        self._known.put_all(folder, names)

    def accepted(self) -> list[tuple[str, int]]:
        """Paths and stamps of all files that were accepted; after the last document."""
        return list(self._known)

    def unfinished(self) -> list[str]:
        """Paths of files that were found and not handed out, in order; after the last document."""
        return sorted({*self._readiness.paths, *(file.path for file in self._drawn)}, key=scan_order)

    def unreadable_folders(self) -> list[str]:
        """Folders that cannot be listed now."""
        return self._finders.unreadable_folders()

    def other_files(self) -> Counter[str]:
        """How many files in the folders are not images that can be taken, by suffix or kind."""
        return self._finders.other_files()

    def documents(
        self, has_room: Callable[[], bool] = lambda: True, is_settled: Callable[[], bool] = lambda: True
    ) -> Iterator[NamedDocument]:
        """Yield the documents of the raw run, until the source is exhausted or stopped.

        Parameters
        ----------
        has_room
            True if a further event may come; while it may not, the source waits.
        is_settled
            True if nobody will call `look_again` for a file of the events so far; before, the source does not end by
            itself.
        """
        self._is_settled = is_settled
        files = self.files(has_room)
        run = RawRunComposer(self.metadata)
        yield from run.opening
        for file in files:
            pages = len(file.pages) or 1
            for page in range(file.first, pages):
                if page > file.first and not self._wait_for_room(has_room):
                    break
                self._pages_left = pages - page - 1
                if self._pages_left or file.first:
                    self._known.put(file.path, part_of(file.stamp, page + 1) if self._pages_left else file.stamp)
                yield _event(run, file, page)
        yield run.stop()

    def files(self, has_room: Callable[[], bool] = lambda: True) -> Iterator[FoundFile]:
        """Begin to look for files, and yield them as they get ready."""
        self._finders.begin(self._known, self._wake.set)
        self.begun.set()
        return self._files(has_room)

    def _files(self, has_room: Callable[[], bool]) -> Iterator[FoundFile]:
        last = complete = False
        try:
            while not self._stopping.is_set():
                self._wake.clear()
                # In this order: what was requested before the end is part of it.
                last = last or self._draining.is_set()
                while not self._requests.empty():
                    self._requests.get()()
                if not complete:
                    complete = last
                    for path, announced in self._finders.find(last=last):
                        self._watch_if_new(path, announced=announced)
                yield from self._hand_out(has_room)
                pause = self._pause(complete=complete)
                if not self._readiness and (complete or (not self._draining.is_set() and self._finders.exhausted)):
                    # In this order: what is settled has said what must be looked at again.
                    if self._is_settled() and self._requests.empty():
                        return
                    pause = _SETTLED_PAUSE
                self._wake.wait(pause)
        finally:
            self._finders.close()

    def _hand_out(self, has_room: Callable[[], bool]) -> Iterator[FoundFile]:
        files = self._readiness.due()
        # Several at a time: those who take their documents wake less often than if one came after each look.
        while not self._stopping.is_set():
            self._drawn.extend(islice(files, _AT_A_TIME))
            if not self._drawn:
                return
            while self._drawn:
                if not self._wait_for_room(has_room):
                    return
                file = self._drawn.popleft()
                if file.pages:
                    file = replace(file, first=self._pages_done(file))
                if self._accept(file):
                    yield file if is_text(file.path) else _with_unusable_path(file)

    def _wait_for_room(self, has_room: Callable[[], bool]) -> bool:
        """Wait until there is room; False if the source was stopped."""
        while not (has_room() or self._stopping.is_set()):
            time.sleep(_ROOM_PAUSE)
        return not self._stopping.is_set()

    def _pause(self, *, complete: bool) -> float:
        looks = (self._readiness.next_look, None if complete else self._finders.next_look)
        soonest = min((look for look in looks if look is not None), default=math.inf)
        return min(max(0.0, soonest - time.monotonic()), _LONGEST_WAIT)

    # Which files are new

    def _watch_if_new(self, path: str, *, announced: bool = False) -> None:
        known = None if path in self._readiness else self._known.get(path)
        if known is not None:
            try:
                if has_stamp(os.stat(path), known):
                    return
            except (OSError, ValueError):
                if not announced:
                    return
        self._readiness.watch(path, announced=announced)

    def _list_again(self, listing: FolderListing, *, forget: bool) -> None:
        if forget:
            self._known.clear()
        self._skip = None
        listing.begin(self._known, self._wake.set)
        self._finders.add(listing)

    def _look_again(self, path: str, *, anew: bool) -> None:
        if anew:
            self._known.get(path)  # which finds it, whatever its folder was called before
            self._known.drop(path)
        if os.path.lexists(path):
            self._watch_if_new(path)
        else:
            self._known.drop(path)

    def _pages_done(self, file: FoundFile) -> int:
        """How many pages of this content were accepted before a crash or a stop."""
        parts = range(1, len(file.pages))
        return next((page for page in parts if self._known.knows(file.path, part_of(file.stamp, page))), 0)

    def _accept(self, file: FoundFile) -> bool:
        """Accept a file; False if there is nothing to do for it."""
        if file.stamp == 0 and file.failure:
            return self._is_first_absence(file.path)
        if self._known.knows(file.path, file.stamp):
            return False
        self._known.put(file.path, file.stamp)
        skipped = self._skip is not None and not file.first and self._is_skipped(self._skip, file)
        self._skipped += skipped
        self._accepted += not skipped
        return not skipped

    def _is_skipped(self, skip: Callable[..., bool], file: FoundFile) -> bool:
        try:
            return skip(file.path, len(file.pages)) if file.pages else skip(file.path)
        # The file is to be done, as far as anybody knows.
        except Exception as error:  # noqa: BLE001
            path, reason = printable(file.path), printable(reason_of(error))
            _log.warning("%s: whether there is nothing to do for it is not known: %s", path, reason)
            return False

    def _is_first_absence(self, path: str) -> bool:
        if path in self._never_came:
            return False
        self._never_came[path] = None
        if len(self._never_came) > MOST_ABSENT:
            del self._never_came[next(iter(self._never_came))]
        self._accepted += 1
        return True


def _with_unusable_path(file: FoundFile) -> FoundFile:
    """A file that failed, since documents and lists cannot hold its path."""
    path = printable(file.path)
    failure = f"{path}: wanted a path in UTF-8 without control characters, found another: rename it"
    return replace(file, header=None, failure=failure, pages=(), first=0)


def _event(run: RawRunComposer, file: FoundFile, page: int) -> NamedDocument:
    """Compose an event; if what is known of the file does not go into one, that is its failure."""
    try:
        return run.event(file, page)
    except Exception as error:  # noqa: BLE001
        failure = file.failure or f"{file.path}: {reason_of(error)}"
        pages = (FrameError(failure),) * len(file.pages)
        return run.event(FoundFile(file.path, file.stamp, file.size, math.nan, None, failure, pages), page)
