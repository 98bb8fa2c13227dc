"""How curves that are there stand, by what their files say of themselves."""

from __future__ import annotations

import os
from enum import IntEnum
from pathlib import Path

from saxs_bluesky.reduction import CurveProvenance, Reducer, has_stamp, provenance_in


class Condition(IntEnum):
    """How the curves of an image stand, from what must be done to what need not: of several, the least counts."""

    #: Not all of them are there and whole.
    ABSENT = 0
    #: They say that they are of another image.
    FOREIGN = 1
    #: They do not say what they were made of.
    UNKNOWN = 2
    #: They are of another content of the image, or were made with another calibration or mask.
    OUTDATED = 3
    #: They are those that would be made now.
    CURRENT = 4


def condition_of(line: bytes, image: Path, reducer: Reducer) -> Condition:
    """How one curve stands, by the first line of its file."""
    provenance = provenance_in(line)
    if provenance is None:
        return Condition.UNKNOWN
    if not is_of(provenance, image):
        return Condition.FOREIGN
    try:
        status = image.stat()
    except OSError:
        return Condition.OUTDATED
    if provenance.image_stamp is None or not has_stamp(status, provenance.image_stamp):
        return Condition.OUTDATED
    made = provenance.is_made_with(line, reducer.provenance, reducer.calibration)
    return Condition.CURRENT if made else Condition.OUTDATED


def is_of(provenance: CurveProvenance, file: Path) -> bool:
    """True if curves are of the image, or of one of the images, in a file."""
    return provenance.image == str(file) or are_one(provenance.image, file)


def are_one(one: str | Path, other: Path) -> bool:
    """True if two paths lead to one file, through links of folders or another mount; not where it has two names."""
    try:
        first, second = Path(one).stat(), other.stat()
    except (OSError, ValueError):
        return False
    if not os.path.samestat(first, second):
        return False
    return first.st_nlink == 1 or os.path.realpath(one) == os.path.realpath(other)
