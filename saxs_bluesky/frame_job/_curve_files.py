"""The files of a frame: its curves, and pictures of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saxs_bluesky.errors import OutputError
from saxs_bluesky.frame_job._curve_condition import Condition, condition_of
from saxs_bluesky.frame_job._frame_names import page_image
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
)
from saxs_bluesky.reduction.arrays import Image
from saxs_bluesky.support.output_folders import LinkRule, OutputFolder, open_folder


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
            found = min(found, condition_of(line, image, reducer))
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
