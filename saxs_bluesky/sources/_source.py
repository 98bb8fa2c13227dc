"""Sources: files as they come, as the documents of a raw run."""

from __future__ import annotations

import logging
import math
import os
import queue
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from saxs_bluesky.documents import NamedDocument
from saxs_bluesky.errors import printable, reason_of
from saxs_bluesky.reduction import has_stamp, part_of
from saxs_bluesky.sources._accepted_files import AcceptedFiles
from saxs_bluesky.sources._finders import Candidate, Finder, FolderListing, FolderWatch
from saxs_bluesky.sources._folder_scanner import in_order
from saxs_bluesky.sources._raw_run_composer import RawRunComposer, describe_session
from saxs_bluesky.sources._readiness import MOST_ABSENT, FoundFile, FoundPage, Readiness

_log = logging.getLogger(__name__)

_LONGEST_WAIT = 1.0  # seconds
_AT_A_TIME = 16
# Bytes that are no UTF-8, and what ends lines or acts on a terminal.
_NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_REST = 1.0  # seconds for a finder that failed
_ROOM_PAUSE = 0.005  # seconds between looks whether there is room again
_SETTLED_PAUSE = 0.01  # seconds between looks whether all is settled


@dataclass(frozen=True)
class SourceCounters:
    """How a source stands.

    Parameters
    ----------
    accepted
        Files that were handed out.
    skipped
        Files for which there was nothing to do.
    pending
        Files that were found and are not ready, or not handed out yet.
    unlisted
        Folders that cannot be listed.
    dropped
        Announced files that are not there, and were not waited for since too many others were.
    """

    accepted: int
    skipped: int
    pending: int
    unlisted: int = 0
    dropped: int = 0


class FileSource:
    """Files that finders name, as the documents of one raw run: one event for each content of each file.

    A file of several images is as many events. One that is overwritten later is a new event. One that does not become
    a whole image in time is an event too, so that its failure is recorded, and another when it changes.

    Parameters
    ----------
    finders
        What names files; a file named by several is one.
    metadata
        For the start document.
    readiness
        When files are ready.
    skip
        Tells of a path whether there is nothing to do for it, such as curves that are there already. Of a file with
        several images it is asked with their number, too.

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
        self._finders = list(finders)
        self._readiness = Readiness() if readiness is None else readiness
        self._skip = skip
        self._known = AcceptedFiles()
        self._never_came: dict[str, None] = {}  # the latest
        #: Set when files that come are noticed.
        self.begun = threading.Event()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._draining = threading.Event()
        self._again: queue.SimpleQueue[tuple[FolderListing, bool]] = queue.SimpleQueue()
        self._rests: dict[int, float] = {}  # until when a finder that failed is left alone, by its id
        self._once_more: queue.SimpleQueue[tuple[str, bool]] = queue.SimpleQueue()
        self._is_settled: Callable[[], bool] = lambda: True
        self._accepted = self._skipped = 0
        self._drawn: deque[FoundFile] = deque()  # they are ready, and wait for room
        self._pages_left = 0  # of the one that is handed out

    @property
    def counters(self) -> SourceCounters:
        """How it stands now; from any thread."""
        pending = len(self._drawn) + self._pages_left + len(self._readiness)
        return SourceCounters(self._accepted, self._skipped, pending, len(self.unlisted()), self._readiness.dropped)

    def stop(self, *, drain: bool = False) -> None:
        """Accept no more files; with ``drain``, none but those that are there or announced by now. From any thread."""
        (self._draining if drain else self._stopping).set()
        self._wake.set()

    def again(self, folder: str | Path, *, below: bool = True, forget: bool = True) -> None:
        """Take all images anew that are in a folder, whatever was accepted or is there; from any thread.

        Without ``forget``, those that are remembered are left out: the program before this one took them.
        """
        self._again.put((FolderListing(folder, below=below), forget))
        self._wake.set()

    def look_again(self, path: str, *, anew: bool = False) -> None:
        """Take the content that a file has now, unless that was accepted; from any thread.

        With ``anew``, whether or not: it was accepted under another path, and not done.

        Where there is no such file any more, what was accepted of it was gone before it was read: where its folder has
        another name now, it is found there.
        """
        self._once_more.put((path, anew))
        self._wake.set()

    def remember(self, path: str, stamp: int) -> None:
        """Take a content of a file for accepted already; before the first file is asked for."""
        self._known.remember(path, stamp)

    def remember_all(self, folder: str, names: dict[str, int]) -> None:
        """Take contents of many files of a folder for accepted already; the dictionary may be kept."""
        self._known.put_all(folder, names)

    def accepted(self) -> list[tuple[str, int]]:
        """Which contents of which files were accepted; when there are no more to come."""
        return list(self._known)

    def unfinished(self) -> list[str]:
        """Files that were found and not handed out, by their names; when there are no more to come."""
        return sorted({*self._readiness.paths, *(file.path for file in self._drawn)}, key=in_order)

    def unlisted(self) -> list[str]:
        """Folders that cannot be listed now."""
        return [folder for finder in self._finders for folder in getattr(finder, "unlisted", ())]

    def others(self) -> Counter[str]:
        """Files in the folders that are not taken, by their suffixes, or what else they are."""
        found: Counter[str] = Counter()
        for finder in self._finders:
            found.update(getattr(finder, "others", {}))
        return found

    def documents(
        self, has_room: Callable[[], bool] = lambda: True, is_settled: Callable[[], bool] = lambda: True
    ) -> Iterator[NamedDocument]:
        """Yield the documents of the raw run, until the source is exhausted or stopped.

        Parameters
        ----------
        has_room
            Whether a further event may come; where it may not, the source waits.
        is_settled
            Whether nobody will want to `look_again` at a file of the events so far; before, the source does not end by
            itself.
        """
        self._is_settled = is_settled
        files = self.files(has_room)
        run = RawRunComposer(self.metadata)
        yield from run.opening
        for file in files:
            for page in range(file.first, file.number_of_pages):
                if page > file.first and not self._waited_for(has_room):
                    break
                self._pages_left = file.number_of_pages - page - 1
                if self._pages_left or file.first:
                    self._known.put(file.path, part_of(file.stamp, page + 1) if self._pages_left else file.stamp)
                yield _event(run, file, page)
        yield run.stop()

    def files(self, has_room: Callable[[], bool] = lambda: True) -> Iterator[FoundFile]:
        """Begin to look for files, and yield them as they get ready."""
        for finder in self._finders:
            finder.begin(self._known, self._wake.set)
        self.begun.set()
        return self._files(has_room)

    def _files(self, has_room: Callable[[], bool]) -> Iterator[FoundFile]:
        last = complete = False
        try:
            while not self._stopping.is_set():
                self._wake.clear()
                # In this order: what was asked for before the end is part of it.
                last = last or self._draining.is_set()
                self._begin_again()
                self._look_once_more()
                if not complete:
                    complete = last
                    self._find(last=last)
                yield from self._hand_out(self._readiness.due(), has_room)
                # Of those that never came, so few that the good ones behind them do not wait for long.
                yield from self._hand_out(iter(self._readiness.given_up(_AT_A_TIME)), has_room)
                pause = self._pause([] if complete else self._finders)
                if not self._readiness and (complete or self._is_exhausted()):
                    # In this order: what is settled has said what must be looked at again.
                    if self._is_settled() and self._once_more.empty():
                        return
                    pause = _SETTLED_PAUSE
                self._wake.wait(pause)
        finally:
            for finder in self._finders:
                finder.close()

    def _hand_out(self, files: Iterator[FoundFile], has_room: Callable[[], bool]) -> Iterator[FoundFile]:
        # Several at a time: those who take their documents wake less often than if one came after each look.
        while not self._stopping.is_set():
            self._drawn.extend(islice(files, _AT_A_TIME))
            if not self._drawn:
                return
            while self._drawn:
                if not self._waited_for(has_room):
                    return
                file = self._drawn.popleft()
                first = self._pages_done(file)
                if self._is_accepted(file, first):
                    yield _named(replace(file, first=first) if first else file)

    def _waited_for(self, has_room: Callable[[], bool]) -> bool:
        """Wait until there is room; False where the source was stopped."""
        while not (has_room() or self._stopping.is_set()):
            time.sleep(_ROOM_PAUSE)
        return not self._stopping.is_set()

    def _is_exhausted(self) -> bool:
        return not self._draining.is_set() and all(finder.exhausted for finder in self._finders)

    def _find(self, *, last: bool) -> None:
        """Ask the finders; at last, for all that there is."""
        for finder in self._finders:
            if time.monotonic() < self._rests.get(id(finder), 0.0) and not last:
                continue
            try:
                for candidate in finder.find_all() if last else finder.find():
                    self._take(candidate)
            # Whatever is wrong with one finder, the others go on, and it is asked again.
            except Exception as error:  # noqa: BLE001
                if id(finder) not in self._rests:
                    _log.warning("looking for files failed and is tried again: %s", reason_of(error), exc_info=True)
                self._rests[id(finder)] = time.monotonic() + _REST

    def _take(self, candidate: Candidate) -> None:
        if candidate.path in self._readiness or self._is_news(candidate):
            self._readiness.note(candidate.path, promised=candidate.promised)

    def _begin_again(self) -> None:
        while not self._again.empty():
            finder, forget = self._again.get()
            if forget:
                self._known.clear()
            self._skip = None
            finder.begin(self._known, self._wake.set)
            self._finders.append(finder)

    def _look_once_more(self) -> None:
        while not self._once_more.empty():
            path, anew = self._once_more.get()
            if anew:
                self._known.get(path)  # which finds it, whatever its folder was called before
                self._known.drop(path)
            if os.path.lexists(path):
                self._take(Candidate(path))
            else:
                self._known.drop(path)

    def _is_news(self, candidate: Candidate) -> bool:
        known = self._known.get(candidate.path)
        if known is None:
            return True
        try:
            return not has_stamp(os.stat(candidate.path), known)
        except OSError:
            return candidate.promised

    def _pages_done(self, file: FoundFile) -> int:
        """How many pages of this content were accepted before a crash or a stop."""
        parts = range(1, len(file.pages))
        return next((page for page in parts if self._known.knows(file.path, part_of(file.stamp, page))), 0)

    def _is_skipped(self, file: FoundFile) -> bool:
        if self._skip is None:
            return False
        return self._skip(file.path, file.number_of_pages) if file.pages else self._skip(file.path)

    def _is_accepted(self, file: FoundFile, pages_done: int) -> bool:
        if file.stamp == 0 and file.failure:
            return self._is_first_absence(file.path)
        if self._known.knows(file.path, file.stamp):
            return False
        self._known.put(file.path, file.stamp)
        try:
            skipped = not pages_done and self._is_skipped(file)
        # The file is to be done, as far as anybody knows.
        except Exception as error:  # noqa: BLE001
            _log.warning("%s: whether there is nothing to do for it is not known: %s", *_told(file.path, error))
            skipped = False
        self._skipped += skipped
        self._accepted += not skipped
        return not skipped

    def _is_first_absence(self, path: str) -> bool:
        if path in self._never_came:
            return False
        self._never_came[path] = None
        if len(self._never_came) > MOST_ABSENT:
            del self._never_came[next(iter(self._never_came))]
        self._accepted += 1
        return True

    def _pause(self, finders: Sequence[Finder]) -> float:
        looks = [self._readiness.next_look, *map(self._next_look, finders)]
        soonest = min((look for look in looks if look is not None), default=float("inf"))
        return min(max(0.0, soonest - time.monotonic()), _LONGEST_WAIT)

    def _next_look(self, finder: Finder) -> float | None:
        look = finder.next_look
        return None if look is None else max(look, self._rests.get(id(finder), 0.0))


def is_text(path: str) -> bool:
    """Whether documents and lists can hold a path: UTF-8 without control characters."""
    return path.isprintable() or not _NO_TEXT.search(path)


def _named(file: FoundFile) -> FoundFile:
    """A file, failed where documents and lists cannot hold its name."""
    if is_text(file.path):
        return file
    path = printable(file.path)
    failure = f"{path}: wanted a path in UTF-8 without control characters, found another: rename it"
    return replace(file, header=None, failure=failure, pages=(), first=0)


def _event(run: RawRunComposer, file: FoundFile, page: int) -> NamedDocument:
    """Compose an event; where what is known of the file does not go into one, that is its failure."""
    try:
        return run.event(file, page)
    except Exception as error:  # noqa: BLE001
        failure = file.failure or f"{file.path}: {reason_of(error)}"
        pages = (FoundPage(None, failure),) * len(file.pages)
        return run.event(FoundFile(file.path, file.stamp, file.size, math.nan, None, failure, pages), page)


def _told(path: str, error: Exception) -> tuple[str, str]:
    return printable(path), printable(reason_of(error))


class DirectorySource(FileSource):
    """The images that are in a folder and those below it, in the order of their names.

    Parameters
    ----------
    directory
        The folder.
    below
        Whether to go into folders below.
    follow_links
        Whether to go where symbolic links lead out of the folder.
    metadata
        For the start document, beside what this source says itself.
    readiness, skip
        As for `FileSource`.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        below: bool = True,
        follow_links: bool = False,
        metadata: Mapping[str, Any] | None = None,
        readiness: Readiness | None = None,
        skip: Callable[[str], bool] | None = None,
    ) -> None:
        finder = FolderListing(directory, below=below, follow_links=follow_links)
        described = describe_session("folder", directory) | dict(metadata or {})
        super().__init__([finder], described, readiness=readiness, skip=skip)


class WatchSource(FileSource):
    """The images in a folder and those below it, and those that come, until it is stopped.

    Parameters
    ----------
    directory
        The folder.
    below
        Whether to go into folders below.
    existing
        Whether to take the images that are there at the beginning.
    hints
        Whether to ask the operating system for hints; without them, and on network filesystems, folders are listed.
    poll
        Time between two listings where there are no hints, in seconds.
    follow_links
        Whether to go where symbolic links lead out of the folder.
    metadata
        For the start document, beside what this source says itself.
    readiness, skip
        As for `FileSource`.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        below: bool = True,
        existing: bool = True,
        hints: bool = True,
        poll: float = 0.1,
        follow_links: bool = False,
        metadata: Mapping[str, Any] | None = None,
        readiness: Readiness | None = None,
        skip: Callable[[str], bool] | None = None,
    ) -> None:
        finder = FolderWatch(
            directory, below=below, existing=existing, hints=hints, poll=poll, follow_links=follow_links
        )
        described = describe_session("watch", directory) | dict(metadata or {})
        super().__init__([finder], described, readiness=readiness, skip=skip)
