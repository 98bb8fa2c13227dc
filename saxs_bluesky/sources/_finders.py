"""Where names of files come from: folders that are listed, hints, announcements."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from saxs_bluesky.reduction import stamp_of
from saxs_bluesky.sources._accepted_files import AcceptedFiles
from saxs_bluesky.sources._file_system_events import FolderHints
from saxs_bluesky.sources._folder_scanner import FolderScanner, in_order

_PORTION = 500
_SHARE = 0.05  # of the time that listing folders may take


@dataclass(frozen=True)
class Candidate:
    """A file that may be new; ``promised`` where somebody said that it is there."""

    path: str
    promised: bool = False


class Finder(Protocol):
    """Finds names of files. It is asked in one thread, and may call ``wake`` from any."""

    def begin(self, known: AcceptedFiles, wake: Callable[[], None]) -> None:
        """Start to find; ``known`` holds what is accepted already."""

    def find(self) -> Iterable[Candidate]:
        """Name the files that may be new since the last call."""

    def find_all(self) -> Iterable[Candidate]:
        """Name all files that may be new, after a complete look: it is the last."""

    @property
    def next_look(self) -> float | None:
        """When to ask again at the latest, by ``time.monotonic``; None where only a wake-up brings news."""

    @property
    def exhausted(self) -> bool:
        """Whether nothing more will come."""

    def close(self) -> None:
        """Let go of threads and sockets."""


class FolderListing:
    """Finds the images that are in a folder now, in the order of their names.

    Parameters
    ----------
    root
        The folder.
    below
        Whether to go into folders below.
    follow_links
        Whether to go where symbolic links lead out of the folder.
    at_once
        Whether to name all at the first call, or some hundred at each.
    """

    def __init__(
        self, root: str | Path, *, below: bool = True, follow_links: bool = False, at_once: bool = True
    ) -> None:
        self._root = root
        self._below = below
        self._follow_links = follow_links
        self._portion = None if at_once else _PORTION
        self._tree: FolderScanner | None = None
        self._paths: Iterator[str] = iter(())
        self._exhausted = False

    def begin(self, known: AcceptedFiles, wake: Callable[[], None]) -> None:  # noqa: ARG002 - nothing comes later
        """Start to find."""
        self._tree = FolderScanner(self._root, known, below=self._below, follow_links=self._follow_links)
        self._paths = self._tree.sweep()

    def find(self) -> Iterable[Candidate]:
        """Name images that were not named yet."""
        found = [Candidate(path) for path in islice(self._paths, self._portion)]
        self._exhausted = self._portion is None or len(found) < self._portion
        return found

    def find_all(self) -> Iterable[Candidate]:
        """Name all images that were not named yet."""
        self._exhausted = True
        return map(Candidate, self._paths)

    @property
    def unlisted(self) -> list[str]:
        """Folders that could not be listed."""
        return self._tree.unlisted if self._tree else []

    @property
    def others(self) -> Counter[str]:
        """Files that are no images to take."""
        return self._tree.others if self._tree else Counter()

    @property
    def next_look(self) -> float | None:
        """At once, while there are more."""
        return None if self._exhausted else time.monotonic()

    @property
    def exhausted(self) -> bool:
        """Whether all have been named."""
        return self._exhausted

    def close(self) -> None:
        """Nothing to let go of."""


class FolderWatch:
    """Finds images as they come into a folder, or change there, until it is closed.

    Folders are listed every ``poll`` seconds where only listing tells of new files, and less often where the
    operating system gives hints; in a large tree, no more often than leaves the listing a twentieth of the time.

    Parameters
    ----------
    root
        The folder.
    below
        Whether to go into folders below.
    existing
        Whether to take the images that are there at the beginning.
    hints
        Whether to ask the operating system for hints; network filesystems give none.
    poll
        Time between two listings, in seconds.
    follow_links
        Whether to go where symbolic links lead out of the folder.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        below: bool = True,
        existing: bool = True,
        hints: bool = True,
        poll: float = 0.1,
        follow_links: bool = False,
    ) -> None:
        self._root = root
        self._below = below
        self._existing = existing
        self._want_hints = hints
        self._poll = poll
        self._follow_links = follow_links
        self._tree: FolderScanner | None = None
        self._hints: FolderHints | None = None
        self._hinted: set[str] = set()
        self._wake: Callable[[], None] = lambda: None
        self._scan_at = self._sweep_at = 0.0

    def begin(self, known: AcceptedFiles, wake: Callable[[], None]) -> None:
        """Start to find."""
        self._wake = wake
        tree = self._tree = FolderScanner(self._root, known, below=self._below, follow_links=self._follow_links)
        if self._want_hints:
            self._hints = FolderHints(tree.root, self._hint, self._rescan)
        if not self._existing:
            for path in tree.sweep():
                # One that was known to the program before this one is new if it has changed since.
                if known.get(path) is not None:
                    continue
                with suppress(OSError):  # gone already
                    known.put(path, stamp_of(os.stat(path)))

    def _hint(self, path: str) -> None:
        self._hinted.add(path)
        self._wake()

    def _rescan(self) -> None:
        self._scan_at = 0.0
        self._wake()

    def find(self) -> Iterable[Candidate]:
        """Name the images that are new, or have changed, as far as hints and listings tell."""
        hinted = self._hinted_images()
        begin = time.monotonic()
        if begin < min(self._scan_at, self._sweep_at):
            return hinted
        return self._with(hinted, self._listed(begin, sweep=begin >= self._sweep_at))

    def find_all(self) -> Iterable[Candidate]:
        """Name the images that are new, or have changed, after looking at each file."""
        return self._with(self._hinted_images(), self._listed(time.monotonic(), sweep=True))

    def _hinted_images(self) -> list[Candidate]:
        paths = []
        while self._hinted:
            paths.append(self._hinted.pop())
        tree = self._tree
        return [Candidate(path) for path in sorted(paths, key=in_order) if tree is not None and tree.takes(path)]

    def _listed(self, begin: float, *, sweep: bool) -> list[Candidate]:
        tree = self._tree
        if tree is None:
            return []
        # Before the listing: one that fails is not tried again at once.
        self._scan_at = begin + 10 * self._poll
        paths = list(tree.sweep() if sweep else tree.scan())
        took = time.monotonic() - begin
        # Hints make listing a matter of safety.
        self._scan_at = begin + max((10 if self._hints else 1) * self._poll, took / _SHARE)
        if sweep:
            self._sweep_at = begin + max(10 * self._poll, 2 * took / _SHARE)
        return [Candidate(path) for path in paths]

    @staticmethod
    def _with(hinted: list[Candidate], listed: list[Candidate]) -> list[Candidate]:
        return sorted({*hinted, *listed}, key=lambda candidate: in_order(candidate.path)) if hinted else listed

    @property
    def unlisted(self) -> list[str]:
        """Folders that cannot be listed now."""
        return self._tree.unlisted if self._tree else []

    @property
    def others(self) -> Counter[str]:
        """Files that are no images to take."""
        return self._tree.others if self._tree else Counter()

    @property
    def next_look(self) -> float | None:
        """When to list next."""
        return min(self._scan_at, self._sweep_at)

    @property
    def exhausted(self) -> bool:
        """Never: more may always come."""
        return False

    def close(self) -> None:
        """End the watch."""
        if self._hints is not None:
            self._hints.close()
            self._hints = None
