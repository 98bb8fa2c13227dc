"""What is written of each frame: the files of its curves, and pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from saxs_bluesky.errors import OutputError
from saxs_bluesky.reduction import (
    Calibration,
    Curve,
    Frame,
    OutputNames,
    PilatusHeader,
    chi_is_whole,
    write_chi,
)
from saxs_bluesky.reduction._types import Image

# Formats of one frame a file; in others the number of the frame belongs to the name.
_ONE_FRAME = {".tif", ".tiff", ".cbf", ".edf"}


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

    def are_there(self, image: Path, curve_names: Iterable[str]) -> bool:
        """Whether all curves of an image have files, whatever is in them."""
        return all(chi.exists() for chi in self.targets(image, curve_names))

    def are_current(self, image: Path, curve_names: Iterable[str]) -> bool:
        """Whether all curves of an image have files that are whole and not older than the image."""
        try:
            taken = image.stat().st_mtime_ns
            return all(
                chi.stat().st_mtime_ns >= taken and chi_is_whole(chi) for chi in self.targets(image, curve_names)
            )
        except OSError:
            return False

    def write(self, path: Path, image: Image, curves: Sequence[Curve], calibration: Calibration) -> Iterator[Path]:
        """Write the files of one frame, yielding the path of each curve's as it is there.

        Parameters
        ----------
        path
            After which they are named.
        image
            The frame, for its picture.
        curves
            What was made of it.
        calibration
            For the files' headers.

        Raises
        ------
        OutputError
            A file cannot be written.
        """
        targets = self.targets(path, [curve.name for curve in curves])
        # Asked for by every frame, and made once: this is quicker than trying to make it.
        if not targets[0].parent.is_dir():
            make_folder(targets[0].parent)
        for curve, chi in zip(curves, targets, strict=True):
            if self.overwrite or not chi.exists():
                write_chi(chi, curve, calibration)
            yield chi
        self._draw(path, image, curves)

    def _draw(self, path: Path, image: Image, curves: Sequence[Curve]) -> None:
        if not (self.svg or self.png):
            return
        from saxs_bluesky.plotting import plot_curves, plot_frame, save_figure  # Matplotlib: half a second

        stem = self.names.stem(path)
        if self.svg:
            save_figure(plot_curves(list(curves), title=path.name), stem.with_name(f"{stem.name}.svg"))
        if self.png:
            save_figure(plot_frame(Frame(image, PilatusHeader(), path)), stem.with_name(f"{stem.name}.png"))

    def clean_up(self, path: Path, curve_names: Iterable[str]) -> None:
        """Remove what a writer left that was killed while it wrote the files of a frame, and of no other."""
        stem = self.names.stem(path)
        pictures = [stem.with_name(f"{stem.name}{suffix}") for suffix in (".svg", ".png")]
        beginnings = tuple(f".{target.name}." for target in [*self.targets(path, curve_names), *pictures])
        with suppress(OSError):  # they are no obstacle
            for left in stem.parent.iterdir():
                if left.name.startswith(beginnings) and left.suffix == ".tmp":
                    left.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are missing.

    Raises
    ------
    OutputError
        It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: wanted a folder to write curves to, found {error.strerror or error}") from error


class Claims:
    """Which image has which names of files: two images must not write to the same.

    Parameters
    ----------
    names
        Where files go.
    remembered
        How many images are remembered, the latest.
    """

    def __init__(self, names: OutputNames, remembered: int = 100_000) -> None:
        self._names = names
        self._remembered = remembered
        self._owners: dict[Path, Path] = {}

    def claim(self, image: Path) -> None:
        """Give an image the names that follow from its path.

        Raises
        ------
        OutputError
            Another image has them.
        """
        stem = self._names.stem(image)
        owner = self._owners.setdefault(stem, image)
        if owner != image:
            raise OutputError(f"{image}: wanted names of its own for its curves, found those of {owner} at {stem}")
        if len(self._owners) > self._remembered:
            del self._owners[next(iter(self._owners))]


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
    """

    path: str
    index: int
    stream: str
    detector: str
    run_uid: str
    scan_id: int | None

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
        number = f"{stream}_{self.index:05d}"
        if self.path:
            image = home / self.path
            if image.suffix.lower() in _ONE_FRAME:
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
