"""Files of curves: their kinds, and the images that they were made from."""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path

#: Kind of a curve whose name says no other, and of results of images that are no curves.
FIRST_KIND, JSON_KIND = "R", "JSON"

_ENDING = re.compile(r"_c([A-Za-z]+[0-9]+)$")


def curve_kind(path: Path) -> str:
    """Kind of a curve by its name: ``a_00000_cS2.chi`` is S2, ``a_00000.chi`` R, any JSON file JSON."""
    if path.suffix == ".json":
        return JSON_KIND
    ending = _ENDING.search(path.stem)
    return ending[1] if ending else FIRST_KIND


def by_kind(curves: Iterable[Path]) -> Mapping[str, Sequence[Path]]:
    """Files of curves by their kinds, each sorted by name."""
    kinds: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(curves, key=lambda path: (path.name, path)):
        kinds[curve_kind(path)].append(path)
    return dict(sorted(kinds.items()))


def file_id(path: str | Path) -> str:
    """Name of an image in HDF5 files: ``h`` and the SHA-224 of its path without suffix.

    SAXSdog ends the path at its first dot, which is the same where no other part of it has one.
    """
    stem, _ = os.path.splitext(path)  # noqa: PTH122, of texts: there are many
    return f"h{hashlib.sha224(os.fsencode(stem)).hexdigest()}"


class ImageFinder:
    """Finds the image that a curve was made from.

    Parameters
    ----------
    images
        Paths of all images.
    """

    def __init__(self, images: Iterable[Path]) -> None:
        self._by_stem: dict[str, list[Path]] = defaultdict(list)
        for path in images:
            self._by_stem[path.stem].append(path)

    def find(self, curve: Path) -> Path | None:
        """Image of the curve's name that is closest to it in the tree of folders.

        Of ``run1/work/a_00000_cR1.chi`` it is ``run1/a_00000.tif``. None where there is no image of that name, or more
        than one at the same distance.
        """
        found = self._by_stem.get(_ENDING.sub("", curve.stem), [])
        near = [(_shared_depth(curve.parent, image.parent), -len(image.parts), image) for image in found]
        nearest = max((each[:2] for each in near), default=None)
        images = [image for *place, image in near if tuple(place) == nearest]
        return images[0] if len(images) == 1 else None


def _shared_depth(one: Path, other: Path) -> int:
    pairs = zip(one.parts, other.parts, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
