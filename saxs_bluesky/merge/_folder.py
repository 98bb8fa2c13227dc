"""Files below a queue's folder that belong in a merge, by what they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from saxs_bluesky.errors import MergeError, printable, system_reason
from saxs_bluesky.merge._curve_files import by_kind

#: In the path of a folder, or in the name that the detector gave to an image: the second detector's images.
OTHER_DETECTOR = "Pil100k"

_RESULTS = "results"  # of earlier merges, in the path of a folder


@dataclass(frozen=True)
class FolderFiles:
    """Paths of the files below a folder that belong in a merge.

    Parameters
    ----------
    images
        Those of the merged table, sorted.
    all_images
        With those of the second detector, sorted.
    detector_logs
        Files that may be logs of the detector, sorted.
    curves
        Curves by kind (``R``, ``R1``, ``S2``; ``JSON`` for documents), each kind sorted by the names of its files.
    remarks
        What was found on the way, each one sentence.
    """

    images: tuple[str, ...] = ()
    all_images: tuple[str, ...] = ()
    detector_logs: tuple[str, ...] = ()
    curves: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def find_files(folder: Path, progress: Callable[[str], None] | None = None) -> FolderFiles:
    """Find the images, detector logs and curves below a folder.

    Links to folders are not followed, nor links to files outside of the folder.

    Parameters
    ----------
    folder
        Where the queue looks for images.
    progress
        Called with a sentence for each folder; it may raise an error to end the search.

    Raises
    ------
    MergeError
        The folder cannot be read.
    """
    images, all_images, logs, curves = [], [], [], []
    remarks: list[str] = []
    root = os.path.realpath(folder)
    for inner, path, name in _walk(folder, root, progress, remarks):
        if name.endswith("tif"):
            all_images.append(path)
            if OTHER_DETECTOR not in inner:
                images.append(path)
        elif name.endswith("log"):
            if _RESULTS not in inner:
                logs.append(path)
        elif name.endswith(".chi") or (name.endswith(".json") and _RESULTS not in inner):
            curves.append(Path(path))
    return FolderFiles(
        tuple(sorted(images)),
        tuple(sorted(all_images)),
        tuple(sorted(logs)),
        by_kind(curves),
        tuple(remarks),
    )


def curve_files(folder: Path) -> dict[str, list[Path]]:
    """Curves below a folder by kind, as `find_files` finds them.

    Raises
    ------
    MergeError
        The folder cannot be read.
    """
    return {kind: list(paths) for kind, paths in find_files(folder).curves.items()}


def _walk(
    folder: Path, root: str, progress: Callable[[str], None] | None, remarks: list[str]
) -> Iterator[tuple[str, str, str]]:
    """For each file the path of its folder below the root, its whole path, and its name, in the order of names."""
    waiting = [str(folder)]
    left_links: list[str] = []
    while waiting:
        current = waiting.pop()
        if progress is not None:
            progress(f"Searching path: {current}")
        try:
            with os.scandir(current) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            if current == str(folder):
                raise MergeError(
                    f"{current}: the folder of the images cannot be read: {system_reason(error)}"
                ) from error
            remarks.append(f"{printable(current)}: the folder cannot be read: {system_reason(error)}.")
            continue
        inner = current[len(str(folder)) :]
        deeper = []
        for entry in entries:
            if entry.is_symlink() and not _is_file_within(root, entry.path):
                left_links.append(entry.path)
            elif entry.is_dir():
                deeper.append(entry.path)
            elif entry.is_file():
                yield inner, entry.path, entry.name
        waiting += reversed(deeper)
    if left_links:
        remarks.append(
            f"{len(left_links)} link{'s' if len(left_links) > 1 else ''} to folders or out of the folder not followed, "
            f"the first: {printable(left_links[0])}."
        )


def _is_file_within(root: str, link: str) -> bool:
    """True if a link leads to a file below the root."""
    target = Path(os.path.realpath(link))
    return target.is_file() and target.is_relative_to(root)
