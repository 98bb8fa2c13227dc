"""Reducing the images of a folder to ``.chi`` files, one failure never stopping the others."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from saxs_bluesky.errors import CurveFileError, FrameError, SaxsError
from saxs_bluesky.plotting import plot_curves, plot_frame, save_figure
from saxs_bluesky.reduction import Curve, FileList, Frame, OutputNames, Reducer, read_chi, read_frame, write_chi

_log = logging.getLogger(__name__)

IMAGE_SUFFIXES = {".tif", ".tiff"}


@dataclass(frozen=True)
class Outcome:
    """What became of one image: the files written, or why there are none.

    ``failure`` is None where all went well; ``skipped`` tells that the image's curves were there
    already.
    """

    image: Path
    written: tuple[Path, ...] = ()
    skipped: bool = False
    failure: str | None = None


@dataclass(frozen=True, eq=False)
class ImageJob:
    """What to do with each image: reduce it and write its curves, and pictures where wanted.

    Parameters
    ----------
    reducer
        What makes the curves.
    names
        Where they go.
    file_list
        List of written curves to keep; None for none.
    resume
        Skip images whose curves are complete and not older than the image.
    overwrite
        Write curves anew that exist already.
    plot_curves, plot_image
        Write a picture of the curves (SVG), of the image (PNG), beside the first curve.
    """

    reducer: Reducer
    names: OutputNames
    file_list: FileList | None = None
    resume: bool = False
    overwrite: bool = True
    plot_curves: bool = False
    plot_image: bool = False
    # Matplotlib's text layout shares caches that are not made for several threads.
    _drawing: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def run(self, image: Path) -> Outcome:
        """Do one image; whatever goes wrong with it ends in the outcome."""
        try:
            targets = self._targets(image)
            if self._is_done(image, targets):
                return Outcome(image, skipped=True)
            frame = read_frame(image)
            curves = self._reduce(frame)
            targets[0].parent.mkdir(parents=True, exist_ok=True)
            written = list(self._write_curves(curves, targets))
            written += self._draw(frame, curves)
        except (SaxsError, OSError) as error:
            _log.debug("%s", image, exc_info=True)
            return Outcome(image, failure=_reason(error, image))
        # A fault of the program, or of a user's recipe, costs one image and not the night's others.
        except Exception as error:  # noqa: BLE001
            _log.debug("%s", image, exc_info=True)
            return Outcome(image, failure=f"unexpected {type(error).__name__}: {error}")
        return Outcome(image, tuple(written))

    def _reduce(self, frame: Frame) -> list[Curve]:
        try:
            return self.reducer.reduce(frame.image, count_cutoff=frame.header.count_cutoff)
        except FrameError as error:
            raise FrameError(f"{frame.path}: {error}") from error

    def _targets(self, image: Path) -> list[Path]:
        integrators = self.reducer.integrators
        return [self.names.chi(image, position, one.name) for position, one in enumerate(integrators)]

    def _is_done(self, image: Path, targets: list[Path]) -> bool:
        if self.resume:
            return all(_is_current(chi, image) for chi in targets)
        return not self.overwrite and all(chi.exists() for chi in targets)

    def _write_curves(self, curves: list[Curve], targets: list[Path]) -> Iterator[Path]:
        for curve, chi in zip(curves, targets, strict=True):
            if not self.overwrite and not self.resume and chi.exists():
                continue
            write_chi(chi, curve, self.reducer.calibration)
            if self.file_list is not None:
                self.file_list.add(chi, curve)
            yield chi

    def _draw(self, frame: Frame, curves: list[Curve]) -> Iterator[Path]:
        stem = self.names.stem(frame.path)
        with self._drawing:
            if self.plot_curves:
                yield save_figure(plot_curves(curves, title=frame.path.name), stem.with_name(f"{stem.name}.svg"))
            if self.plot_image:
                yield save_figure(plot_frame(frame), stem.with_name(f"{stem.name}.png"))


def _reason(error: Exception, image: Path) -> str:
    """The message without the name of the image, which is said anyway."""
    text = str(error) or type(error).__name__
    return text.removeprefix(f"{image}: ")


def _is_current(chi: Path, image: Path) -> bool:
    try:
        read_chi(chi)  # a file cut short is no curve
        return chi.stat().st_mtime >= image.stat().st_mtime
    except (CurveFileError, OSError):
        return False


def find_images(directory: Path, *, below: bool = True) -> Iterator[Path]:
    """Images in a folder in the order of their names, then those of the folders ``below`` it.

    Hidden files and folders are left out, and symbolic links to folders are not followed.
    """
    for folder, folders, files in os.walk(directory):
        folders[:] = sorted(name for name in folders if below and not name.startswith("."))
        for name in sorted(files):
            path = Path(folder, name)
            if path.suffix.lower() in IMAGE_SUFFIXES and not name.startswith("."):
                yield path


def distinct(images: Iterable[Path], names: OutputNames) -> Iterator[Path | Outcome]:
    """Pass images on; one whose curves would overwrite those of an earlier one becomes a failure."""
    owners: dict[Path, Path] = {}
    for image in images:
        owner = owners.setdefault(names.stem(image), image)
        if owner == image:
            yield image
        else:
            yield Outcome(image, failure=f"its curves would overwrite those of {owner}")


def run_all(images: Iterable[Path], job: ImageJob, threads: int) -> Iterator[Outcome]:
    """Do all images and give their outcomes in order, several at a time.

    When the caller stops early, the images in hand are finished and the others left.
    """
    entries = distinct(images, job.names)
    if threads == 1:
        for entry in entries:
            yield entry if isinstance(entry, Outcome) else job.run(entry)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Callable[[], Outcome]] = deque()
        try:
            for entry in entries:
                waiting.append(_submit(pool, job, entry))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft()()
            while waiting:
                yield waiting.popleft()()
        finally:
            pool.shutdown(cancel_futures=True)


def _submit(pool: ThreadPoolExecutor, job: ImageJob, entry: Path | Outcome) -> Callable[[], Outcome]:
    if isinstance(entry, Outcome):
        return lambda: entry
    future: Future[Outcome] = pool.submit(job.run, entry)
    return future.result
