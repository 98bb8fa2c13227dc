"""What is written of each frame: the files of its curves, and pictures."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from saxs_bluesky.errors import OutputError
from saxs_bluesky.frame_job._output_names import OutputNames
from saxs_bluesky.reduction import (
    Calibration,
    Curve,
    CurveProvenance,
    Frame,
    PilatusHeader,
    Reducer,
    chi_bytes,
    first_line,
    first_line_if_whole,
    has_stamp,
    provenance_in,
)
from saxs_bluesky.reduction.arrays import Image
from saxs_bluesky.support.output_folders import LinkRule, OutputFolder, open_folder

# Formats of one frame a file; in others the number of the frame belongs to the name.
_ONE_FRAME = {".tif", ".tiff", ".cbf", ".edf"}


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


def _condition_of(line: bytes, image: Path, reducer: Reducer) -> Condition:
    """How one curve stands, by the first line of its file."""
    provenance = provenance_in(line)
    if provenance is None:
        return Condition.UNKNOWN
    if not _is_of(provenance, image):
        return Condition.FOREIGN
    try:
        status = image.stat()
    except OSError:
        return Condition.OUTDATED
    if provenance.image_stamp is None or not has_stamp(status, provenance.image_stamp):
        return Condition.OUTDATED
    made = provenance.is_made_with(line, reducer.provenance, reducer.calibration)
    return Condition.CURRENT if made else Condition.OUTDATED


def _is_of(provenance: CurveProvenance, file: Path) -> bool:
    """Whether curves are of the image, or of one of the images, in a file."""
    return provenance.image == str(file) or _are_one(provenance.image, file)


def _are_one(one: str | Path, other: Path) -> bool:
    """Whether two paths lead to one file, through links of folders or another mount; not where it has two names."""
    try:
        first, second = Path(one).stat(), other.stat()
    except (OSError, ValueError):
        return False
    if not os.path.samestat(first, second):
        return False
    return first.st_nlink == 1 or os.path.realpath(one) == os.path.realpath(other)


def _is_gone(path: Path) -> bool:
    """Whether a file is surely not there any more; not where that cannot be found out."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return True
    except OSError:
        return False
    return False


@dataclass(frozen=True)
class CurveFiles:
    """Writes the curves of a frame to ``.chi`` files, and draws them where wanted; small, to travel to workers.

    Parameters
    ----------
    names
        Where they go.
    overwrite
        Write curves anew that exist already.
    svg, png
        Draw the curves (SVG), the image (PNG), beside the first curve.
    """

    names: OutputNames = OutputNames()  # noqa: RUF009 - it is frozen
    overwrite: bool = True
    svg: bool = False
    png: bool = False

    def targets(self, image: Path, curve_names: Iterable[str]) -> list[Path]:
        """Path of each curve's file."""
        return [self.names.chi(image, position, name) for position, name in enumerate(curve_names)]

    def condition(self, image: Path, reducer: Reducer, pages: int = 1) -> Condition:
        """How the curves of an image stand that are there, by what their files say of themselves.

        Parameters
        ----------
        image
            Path of the image's file.
        reducer
            What would make the curves now.
        pages
            How many images the file holds.

        Where curves are not written anew, any file is one; else only one that is whole.
        """
        found = Condition.CURRENT
        names = reducer.calibration.curve_names
        for chi in (one for page in range(pages) for one in self.targets(page_image(image, page, pages), names)):
            # What is never replaced need not be whole.
            line = (
                first_line_if_whole(chi)
                if self.overwrite
                else first_line(chi) or (b"" if os.path.lexists(chi) else None)
            )
            if line is None:
                return Condition.ABSENT
            found = min(found, _condition_of(line, image, reducer))
        return found

    def are_current(self, image: Path, reducer: Reducer) -> bool:
        """Whether all curves of an image have files that are whole and were made as a reducer would make them now.

        They say that they were made of this content of this image, with this calibration and these masks.
        """
        return self.condition(image, reducer) is Condition.CURRENT

    def write(
        self,
        path: Path,
        image: Image,
        curves: Sequence[Curve],
        calibration: Calibration,
        provenance: CurveProvenance | None = None,
        check: Callable[[], None] | None = None,
    ) -> Iterator[Path]:
        """Write the files of one frame, yielding the path of each curve's as it is there.

        Parameters
        ----------
        path
            After which they are named.
        image
            The frame, for its picture.
        curves
            What was made of it.
        calibration, provenance
            For the files' headers: what the curves were made with, and what of.
        check
            Called before a folder is made, or opened anew, whose place follows from that of the image; what it raises
            is raised here.

        Raises
        ------
        OutputError
            A file cannot be written.
        """
        targets = self.targets(path, [curve.name for curve in curves])
        folder = output_folder(targets[0].parent, self.names.rule, None if self.names.folder else check)
        for curve, chi in zip(curves, targets, strict=True):
            if self.overwrite or not folder.has(chi.name):
                write_curve(folder, chi, curve, calibration, provenance)
            yield chi
        if self.svg or self.png:
            self._draw(folder, path, image, curves)

    def _draw(self, folder: OutputFolder, path: Path, image: Image, curves: Sequence[Curve]) -> None:
        from saxs_bluesky.plotting import figure_bytes, plot_curves, plot_frame  # Matplotlib: half a second

        pictures: list[tuple[str, Any]] = []
        if self.svg:
            pictures.append((".svg", plot_curves(list(curves), title=path.name)))
        if self.png:
            pictures.append((".png", plot_frame(Frame(image, PilatusHeader(), path))))
        for suffix, figure in pictures:
            target = self.names.file(path, suffix)
            try:
                folder.write(target.name, figure_bytes(figure, suffix))
            except OSError as error:
                raise OutputError(f"{target}: the picture cannot be written ({error.strerror or error})") from error

    def clean_up(self, path: Path, curve_names: Iterable[str]) -> None:
        """Remove temporary files that a killed writer left for this frame, and for no other."""
        targets = [*self.targets(path, curve_names), *(self.names.file(path, suffix) for suffix in (".svg", ".png"))]
        with suppress(OSError, OutputError):  # they are no obstacle
            folder = open_folder(targets[0].parent, self.names.rule, make=False)
            folder.remove_drafts([target.name for target in targets])


def page_image(image: Path, page: int, pages: int) -> Path:
    """After which the files of a page are named: ``name_00012`` where its file has several."""
    return image if pages == 1 and not page else image.with_name(f"{image.stem}_{page:05d}{image.suffix}")


def home_folder() -> Path:
    """What relative paths are relative to: the current folder, or the root of all where that is gone."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/")


def output_folder(folder: Path, rule: LinkRule, check: Callable[[], None] | None = None) -> OutputFolder:
    """Open a folder to write to, and make it and those above it, where they are missing and a ``check`` lets that be.

    Raises
    ------
    OutputError
        It cannot be opened or made, or a symbolic link is in the way.
    """
    try:
        return open_folder(folder, rule, check=check)
    except OSError as error:
        raise OutputError(f"{folder}: wanted a folder to write curves to, found {error.strerror or error}") from error


def write_curve(
    folder: OutputFolder, chi: Path, curve: Curve, calibration: Calibration, provenance: CurveProvenance | None
) -> None:
    """Write the file of a curve into an open folder.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    try:
        folder.write(chi.name, chi_bytes(curve, calibration, provenance))
    except OSError as error:
        raise OutputError(f"{chi}: the curve cannot be written ({error.strerror or error})") from error


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

    def claim(self, image: Path, file: Path | None = None) -> None:
        """Give an image the names that follow from its path.

        Parameters
        ----------
        image
            After which its files are named.
        file
            The image's file, where that is known and another path; None: the same.

        Raises
        ------
        OutputError
            Another image has them.
        """
        stem = self._names.stem(image)
        owner, remedy = self._owners.get(stem), ""
        if owner is None:
            owner = self._owner_there(image, file or image) or image
            self._owners[stem] = owner
            remedy = "; give the curves of either image another folder (-R), or all one folder (-o)"
        if owner != image and not _are_one(owner, image):
            raise OutputError(
                f"{image}: wanted names of its own for its curves, found those of {owner} at {stem}{remedy}"
            )
        if len(self._owners) > self._remembered:
            del self._owners[next(iter(self._owners))]

    def _owner_there(self, image: Path, file: Path) -> Path | None:
        """The other image that has curves under these names."""
        line = first_line(self._names.chi(image, 0, ""))
        provenance = None if line is None else provenance_in(line)
        if provenance is None or not provenance.image or _is_of(provenance, file):
            return None
        other = Path(provenance.image)
        # An image of the same name may have been moved here, with its curves.
        in_the_way = not _is_gone(other) or (self._keep and other.name != file.name)
        return other if in_the_way else None


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

    def image(self, home: Path, *, one_folder: bool) -> Path:
        """Path of an image, or of what stands for one: ``name_00012`` for a frame of a file that holds many,
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
