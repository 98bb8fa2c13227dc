"""What the files of a frame are named after."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

# Formats of one frame a file; in others the number of the frame belongs to the name.
_ONE_FRAME = {".tif", ".tiff", ".cbf", ".edf"}


@dataclass(frozen=True)
class FrameName:
    """What the files of a frame are named after.

    Parameters
    ----------
    path
        The frame's file; empty where it has none.
    index
        Number of the frame in its stream.
    stream, detector
        Their names.
    run_uid, scan_id
        Of the raw run.
    page, pages
        Which image it is in its TIFF file, from 0, and how many there are.
    """

    path: str
    index: int
    stream: str
    detector: str
    run_uid: str
    scan_id: int | None
    page: int = 0
    pages: int = 1

    def file(self, home: Path) -> Path | None:
        """Path of the frame's file; None where it has none."""
        return home / self.path if self.path else None

    @property
    def number(self) -> int | None:
        """Number of the frame, where its file or its run holds many."""
        if self.path and os.path.splitext(self.path)[1].lower() in _ONE_FRAME:  # noqa: PTH122 - for each frame
            return self.page if self.pages > 1 or self.page else None
        return self.index

    def named_after(self, home: Path, *, one_folder: bool) -> Path:
        """Path of the image, or of what stands for one: ``name_00012`` for a frame of a file that holds many,
        ``scan7_0a1b2c3d_pilatus_00012`` for one that came without a file, in a folder of the detector's name.

        Parameters
        ----------
        home
            What relative paths are relative to.
        one_folder
            Whether all files go to one folder.
        """  # noqa: D205 - the examples need the room
        stream = "" if self.stream == "primary" else f"_{in_a_name(self.stream)}"
        number = f"{stream}_{self.number or 0:05d}"
        if self.path:
            image = home / self.path
            if self.number is None:
                return image
            return image.with_name(f"{image.stem}{number}{image.suffix}")
        detector = in_a_name(self.detector)
        scan = "" if self.scan_id is None else f"scan{self.scan_id}_"
        # A suffix, since what follows the last dot of a name is no part of the curves' names.
        name = f"{scan}{self.run_uid[:8]}_{detector}{number}.frame"
        return Path(name) if one_folder else home / detector / name


def in_a_name(text: str) -> str:
    """Text as it may be part of a file's name."""
    return re.sub(r"[^\w.-]|^\.", "_", text)


def page_image(image: Path, page: int, pages: int) -> Path:
    """After which the files of a page are named: ``name_00012`` where its file has several."""
    return image if pages == 1 and not page else image.with_name(f"{image.stem}_{page:05d}{image.suffix}")


def home_folder() -> Path:
    """What relative paths are relative to: the current folder, or the root of all where that is gone."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/")
