"""Messages of ``saxsdog`` and ``saxsfeeder`` on files that were not done, and on folders without images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from saxs_bluesky.errors import SaxsError, printable
from saxs_bluesky.sources import IMAGE_SUFFIXES, FileSource, is_text

_NAMED = 10
_TAKEN = " and ".join(IMAGE_SUFFIXES)


def check_folder(directory: Path) -> None:
    """Refuse a folder under whose name no image can be listed.

    Raises
    ------
    SaxsError
        Its path cannot stand in documents and lists.
    """
    path = str(directory.absolute())
    if not is_text(path):
        raise SaxsError(
            f"{printable(path)}: wanted a path in UTF-8 without control characters, found another: rename the folder, "
            "or the one above it"
        )


def files_not_done(source: FileSource, *, left_out: str = "") -> list[str]:
    """Lines on files that were found and not done, one for each kind; when the source has ended.

    Parameters
    ----------
    source
        Where the files came from.
    left_out
        Option of the command that would leave the files out at the next start.
    """
    said = []
    if paths := source.unfinished():
        again = f"start again without {left_out}, which leaves them out" if left_out else "start again to do them"
        said.append(f"{_images(len(paths))} found and not done; {again}: {_some(paths)}")
    if folders := source.unreadable_folders():
        said.append(f"{len(folders)} folders could not be listed, and their images are not done: {_some(folders)}")
    if dropped := source.counters.dropped:
        said.append(f"{dropped} announcements of images that are not there were not waited for, too many others were")
    return said


def no_image(directory: Path, others: Counter[str]) -> str:
    """Say that a folder holds no image that can be taken, and what it holds instead."""
    there = ", ".join(f"{number} {kind}" for kind, number in sorted(others.items()))
    return f"{printable(str(directory))}: no image that can be taken ({_TAKEN}); found {there or 'nothing'}"


def _images(number: int) -> str:
    return f"{number} image was" if number == 1 else f"{number} images were"


def _some(paths: Iterable[str]) -> str:
    named = [printable(path) for path in paths]
    more = len(named) - _NAMED
    return ", ".join(named[:_NAMED]) + (f", and {more} more" if more > 0 else "")
