"""The files of a frame: its curves, and pictures of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saxs_bluesky.errors import OutputError, system_reason
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
from saxs_bluesky.support.output_folders import OutputFolder, open_folder


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

    def targets(self, named_after: Path, curve_names: Iterable[str]) -> list[Path]:
        """Path of each curve's file."""
        return [self.names.chi(named_after, position, name) for position, name in enumerate(curve_names)]

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
        """True if all curves of an image have files that are whole and were made as a reducer would make them now.

        They say that they were made of this content of this image, with this calibration and these masks.
        """
        return self.condition(image, reducer) is Condition.CURRENT

    def write(
        self,
        named_after: Path,
        image: Image,
        curves: Sequence[Curve],
        calibration: Calibration,
        provenance: CurveProvenance | None = None,
        check: Callable[[], None] | None = None,
    ) -> Iterator[Path]:
        """Write the files of one frame, yielding the path of each curve's as it is there.

        Parameters
        ----------
        named_after
            Path that they are named after.
        image
            The frame, of shape (rows, columns), for its picture.
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
        for chi, error in self.write_each(named_after, curves, calibration, provenance, check):
            if error is not None:
                raise error
            yield chi
        if self.svg or self.png:
            self._draw(named_after, image, curves, check)

    def write_each(
        self,
        named_after: Path,
        curves: Sequence[Curve],
        calibration: Calibration,
        provenance: CurveProvenance | None = None,
        check: Callable[[], None] | None = None,
    ) -> Iterator[tuple[Path, OutputError | None]]:
        """Write the curves of one frame; one that cannot be written costs no other.

        Parameters are those of `write`.

        Yields
        ------
        Path of each curve's file, and why it cannot be written; None where it is there.
        """
        targets = self.targets(named_after, [curve.name for curve in curves])
        try:
            folder = self._folder(targets[0], check)
        except OutputError as error:
            yield from ((chi, error) for chi in targets)
            return
        for curve, chi in zip(curves, targets, strict=True):
            failure: OutputError | None = None
            if self.overwrite or not folder.has(chi.name):
                try:
                    folder.write(chi.name, chi_bytes(curve, calibration, provenance))
                except OSError as error:
                    failure = OutputError(f"{chi}: the curve cannot be written ({system_reason(error)})")
                    failure.__cause__ = error
            yield chi, failure

    def _folder(self, target: Path, check: Callable[[], None] | None) -> OutputFolder:
        """Open the folder of a file, which is made where it is missing and a ``check`` lets that be."""
        folder = target.parent
        try:
            return open_folder(folder, self.names.rule, check=None if self.names.folder else check)
        except OSError as error:
            reason = system_reason(error)
            raise OutputError(f"{folder}: wanted a folder to write curves to, found {reason}") from error

    def _draw(self, named_after: Path, image: Image, curves: Sequence[Curve], check: Callable[[], None] | None) -> None:
        from saxs_bluesky.plotting import figure_bytes, plot_curves, plot_frame  # Matplotlib: half a second

        pictures: list[tuple[str, Any]] = []
        if self.svg:
            pictures.append((".svg", plot_curves(list(curves), title=named_after.name)))
        if self.png:
            pictures.append((".png", plot_frame(Frame(image, PilatusHeader(), named_after))))
        for suffix, figure in pictures:
            target = self.names.file(named_after, suffix)
            try:
                self._folder(target, check).write(target.name, figure_bytes(figure, suffix))
            except OSError as error:
                raise OutputError(f"{target}: the picture cannot be written ({system_reason(error)})") from error

    def clean_up(self, named_after: Path, curve_names: Iterable[str]) -> None:
        """Remove temporary files that a killed writer left for this frame, and for no other."""
        pictures = (self.names.file(named_after, suffix) for suffix in (".svg", ".png"))
        targets = [*self.targets(named_after, curve_names), *pictures]
        with suppress(OSError, OutputError):  # they are no obstacle
            folder = open_folder(targets[0].parent, self.names.rule, make=False)
            folder.remove_drafts([target.name for target in targets])
