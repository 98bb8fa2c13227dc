"""Names of output files."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from saxs_bluesky.support.output_folders import LinkRule

_OF_THE_USER = LinkRule()
_LONGEST_NAME = 255  # bytes, on nearly all file systems


@dataclass(frozen=True)
class OutputNames:
    """Names of the files made from an image.

    Parameters
    ----------
    relative
        Output folder relative to the folder of the image.
    folder
        One output folder for all images in place of ``relative``; the names then carry the
        image's whole path, with the separators replaced by underscores.
    base
        Folder whose own path is left out of these names, where an image lies below it.
    within
        Folder that nothing is written out of, neither by ``relative`` nor by symbolic links; its own path is without
        links. None: links of the user, and of root, lead anywhere.
    """

    relative: str = "../work"
    folder: Path | None = None
    base: Path | None = None
    within: Path | None = None

    @property
    def rule(self) -> LinkRule:
        """Which symbolic links are followed on the way to the output folders."""
        if self.within is None:
            return _OF_THE_USER
        if self.folder is not None:
            return LinkRule(self.folder)
        # A folder that has nothing to do with that of the image was named by whoever runs the program.
        return LinkRule(Path(self.relative) if self.relative.startswith("/") else self.within)

    def stem(self, named_after: Path) -> Path:
        """Path of the output files of an image up to where their names differ."""
        folder, name = self._parts(named_after)
        return folder / name

    def _parts(self, named_after: Path) -> tuple[Path, str]:
        """Folder of the output files of an image, and how their names begin."""
        if self.folder is not None:
            path = named_after
            if self.base and path.is_relative_to(self.base):
                path = path.relative_to(self.base)
            return self.folder, os.path.normpath(path.with_suffix("")).replace(os.sep, "_")
        return _beside(named_after.parent, self.relative, self.within), named_after.stem

    def chi(self, named_after: Path, position: int, curve: str) -> Path:
        """Path of the ``.chi`` file of the curve of that name, at ``position`` among those of the image.

        The first has the image's name; the others add ``_cR1``, ``_cS2`` and so on. As in SAXSdog,
        curves over the azimuth go by R too.
        """
        ending = "" if position == 0 else f"_c{re.sub(r'^P(?=[0-9]+$)', 'R', curve)}"
        return self.file(named_after, f"{ending}.chi")

    def file(self, named_after: Path, ending: str) -> Path:
        """Path of an output file of an image; where its name would be too long, a hash stands for the rest of it."""
        folder, stem = self._parts(named_after)
        name = f"{stem}{ending}"
        if len(name) > _LONGEST_NAME // 4 and len(os.fsencode(name)) > _LONGEST_NAME:
            whole = os.fsencode(stem)
            mark = f"~{hashlib.sha256(whole).hexdigest()[:12]}{ending}"
            name = whole[: _LONGEST_NAME - len(os.fsencode(mark))].decode(errors="ignore") + mark
        return folder / name


@lru_cache(maxsize=64)  # it is asked for each frame several times, and pathlib is slow
def _beside(images: Path, relative: str, within: Path | None) -> Path:
    """Output folder relative to a folder of images."""
    folder = images / relative
    if within is not None and folder.is_relative_to(within):
        # As below the root of all, above which is the root.
        folder = within / os.path.normpath(f"/{folder.relative_to(within)}")[1:]
    return Path(os.path.normpath(folder))
