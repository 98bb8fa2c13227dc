"""Files whose folder has another name now."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import islice, pairwise
from pathlib import Path

from saxs_bluesky.documents._references import FileContent

_MOST_LOOKS = 1000  # at folders beside those of the path


def holds(path: str | Path, content: FileContent) -> bool:
    """True if a file is there and has this content."""
    try:
        return content.is_in(Path(path).stat())
    except OSError:
        return False


def moved_to(path: str, content: FileContent) -> str | None:
    """Where a file is whose folder, or one above, has another name in the same place; None where it is not found.

    There may be another folder of the old name: for the next images, as detectors make one, or of a program that
    writes there. So it is looked for beside each folder of the path, as far up as one filesystem reaches.
    """
    left = _MOST_LOOKS
    device: int | None = None
    parents = Path(path).parents
    for folder, above in pairwise(parents):
        with suppress(OSError):  # those that are gone, or closed to this user: it may be beside another
            here = above.stat().st_dev
            if device not in (None, here):
                return None  # nothing is renamed across filesystems
            device = here
            below = os.path.relpath(path, folder)
            with os.scandir(above) as beside:
                for entry in islice(beside, left):
                    left -= 1
                    if entry.name == folder.name or not entry.is_dir(follow_symlinks=False):
                        continue
                    moved = f"{entry.path}/{below}"
                    if holds(moved, content):
                        return moved
    return None
