"""Which image owns which names of files."""

from __future__ import annotations

import os
from pathlib import Path

from saxs_bluesky.errors import OutputError
from saxs_bluesky.frame_job._curve_condition import are_one, is_of
from saxs_bluesky.frame_job._output_names import OutputNames
from saxs_bluesky.reduction import first_line, provenance_in


class OutputNameRegistry:
    """Which image has which names of files: two images must not write to the same, today or over the years.

    Curves that are there belong to the image that they say they are of, as long as that is there too.

    Parameters
    ----------
    names
        Where files go.
    remembered
        How many images are remembered, the latest.
    keep
        Whether curves that are there are never replaced: then those of an image that is gone are in the way too.
    """

    def __init__(self, names: OutputNames, remembered: int = 100_000, *, keep: bool = False) -> None:
        self._names = names
        self._remembered = remembered
        self._keep = keep
        self._owners: dict[Path, Path] = {}

    def claim(self, named_after: Path, file: Path | None = None) -> None:
        """Give an image the names that follow from its path.

        Parameters
        ----------
        named_after
            Path that its files are named after.
        file
            The image's file, where that is known and another path; None: the same.

        Raises
        ------
        OutputError
            Another image has them.
        """
        stem = self._names.stem(named_after)
        owner, remedy = self._owners.get(stem), ""
        if owner is None:
            owner = self._owner_there(named_after, file or named_after) or named_after
            self._owners[stem] = owner
            remedy = "; give the curves of either image another folder (-R), or all one folder (-o)"
        if owner != named_after and not are_one(owner, named_after):
            raise OutputError(
                f"{named_after}: wanted names of its own for its curves, found those of {owner} at {stem}{remedy}"
            )
        if len(self._owners) > self._remembered:
            del self._owners[next(iter(self._owners))]

    def _owner_there(self, named_after: Path, file: Path) -> Path | None:
        """The other image that has curves under these names."""
        line = first_line(self._names.chi(named_after, 0, ""))
        provenance = None if line is None else provenance_in(line)
        if provenance is None or not provenance.image or is_of(provenance, file):
            return None
        other = Path(provenance.image)
        # An image of the same name may have been moved here, with its curves.
        in_the_way = not _is_gone(other) or (self._keep and other.name != file.name)
        return other if in_the_way else None


def _is_gone(path: Path) -> bool:
    """True if a file is surely not there any more; not where that cannot be found out."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return True
    except OSError:
        return False
    return False
