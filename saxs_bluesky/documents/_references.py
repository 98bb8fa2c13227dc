"""Where a frame is, small enough to wait in a queue and to travel to another process."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any, Protocol
from uuid import uuid4

import h5py
import numpy as np

from saxs_bluesky.documents._hdf5_detector import Detectors
from saxs_bluesky.documents._hdf5_file import dataset_of, is_written_to, not_yet, read_file
from saxs_bluesky.documents._unfilled import why_unfilled, why_unwritten
from saxs_bluesky.errors import FrameError, HandlerError, StillOpenError, SupersededError, UnfilledError, one_line
from saxs_bluesky.reduction import PilatusHeader, Stamp, has_stamp, read_frame
from saxs_bluesky.reduction.arrays import Image

_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.2  # seconds between looks at a file that is not ready
_DETECTORS = Detectors()


@dataclass(frozen=True, eq=False)
class LoadedFrame:
    """A frame in memory.

    ``image`` of shape (rows, columns), the detector's count cutoff where its file has one, and its header where it is a
    file that has one.
    """

    image: Image
    count_cutoff: float | None = None
    header: PilatusHeader | None = None


class FrameReference(Protocol):
    """Where one frame is."""

    @property
    def path(self) -> str:
        """What documents call it: the path of its file, empty where it has none."""

    def read(self) -> LoadedFrame:
        """Read it; any error means that it is not there, or not yet."""


@dataclass(frozen=True, eq=False)
class InlineFrame:
    """A frame that an event brought along, or a stack of them of which it is one."""

    array: Any
    index: int
    path: str = ""

    def read(self) -> LoadedFrame:
        """Take the frame out of the event's array."""
        return LoadedFrame(frame_of(np.asarray(self.array), self.index, "the event's array"))


@dataclass(frozen=True)
class SpilledFrame:
    """An event's frame that waits in a temporary file."""

    file: str
    path: str = ""

    @classmethod
    def write(cls, folder: Path, image: Image) -> SpilledFrame:
        """Put an image into a new file of a folder."""
        file = folder / f"{uuid4()}.npy"
        np.save(file, image)
        return cls(str(file))

    def read(self) -> LoadedFrame:
        """Read the image back."""
        return LoadedFrame(np.load(self.file, allow_pickle=False))


@dataclass(frozen=True)
class FileContent:
    """Which content of a file is meant, as an event describes it.

    Parameters
    ----------
    stamp
        Its stamp.
    size
        In bytes.
    modified
        When it was last written, seconds since 1970.
    by_stamp
        Whether to go by the stamp. Without, by size and time only: some network filesystems give each computer other
        inode numbers, or other times of the inode, or cut times to seconds.
    """

    stamp: Stamp
    size: int
    modified: float
    by_stamp: bool = True

    def is_in(self, status: os.stat_result) -> bool:
        """True if the file with this status holds it."""
        if self.by_stamp:
            return has_stamp(status, self.stamp)
        return status.st_size == self.size and status.st_mtime in (self.modified, math.floor(self.modified))


@dataclass(frozen=True)
class TiffFrame:
    """A frame in a TIFF file.

    Parameters
    ----------
    path
        Where the file is.
    content
        What it must hold, or else it is not the frame's any more; None: whatever it holds.
    page
        Which image in the file, from 0.
    pages
        How many there may be, as documents say; None where they do not.
    """

    path: str
    content: FileContent | None = None
    page: int = 0
    pages: int | None = 1

    def read(self) -> LoadedFrame:
        """Read the file with its header.

        Raises
        ------
        SupersededError
            It holds other content.
        """
        is_meant = None if self.content is None else self.content.is_in
        frame = read_frame(self.path, page=self.page, is_meant=is_meant)
        # Those behind would be lost without a word.
        if self.pages is not None and frame.pages > self.pages:
            wanted = "one image" if self.pages == 1 else f"{self.pages} images"
            raise FrameError(f"{self.path}: wanted a file of {wanted} as its documents say, found {frame.pages}")
        loaded = LoadedFrame(frame.image, frame.header.count_cutoff, frame.header)
        # The source of a file run has seen to it already.
        if self.content is None and (why := why_unfilled(frame)):
            raise UnfilledError(why, loaded)
        return loaded


@dataclass(frozen=True)
class Hdf5Frame:
    """A frame in a dataset of an HDF5 file, which may still be written to (SWMR)."""

    path: str
    dataset: str
    index: int

    def read(self) -> LoadedFrame:
        """Read the frame as the file is now.

        Raises
        ------
        StillOpenError
            No frame of the file can be read before its writer closes it.
        """
        check_that_it_opens(self.path)
        return read_file(self.path, self._read)

    def _read(self, file: h5py.File) -> LoadedFrame:
        data = dataset_of(file, self.path, self.dataset)
        told = _DETECTORS.of(file, self.path, self.dataset)
        if data.ndim == 2 and self.index == 0:
            return LoadedFrame(np.asarray(data[()]), *told)
        if data.ndim < 3:
            raise FrameError(f"{self.path}: wanted a stack of images in {self.dataset}, found shape {data.shape}")
        frames = math.prod(data.shape[:-2])
        if self.index >= frames:
            raise not_yet(self.path, f"{self.path}: wanted frame {self.index} in {self.dataset}, found {frames}")
        place = tuple(map(int, np.unravel_index(self.index, data.shape[:-2])))
        image = _pixels(data, place, self.path)
        loaded = LoadedFrame(image, *told)
        if why := why_unwritten(data, place, image, self.path):
            raise UnfilledError(why, loaded)
        return loaded


def _pixels(data: Any, place: tuple[int, ...], path: str) -> Image:
    try:
        return np.asarray(data[place])
    except (OSError, RuntimeError) as error:
        # What the index says is there may be on its way to the file.
        if is_written_to(path):
            raise StillOpenError(f"{path}: wanted frame {place} in {data.name}, found {error}") from error
        raise


def page_of(reference: FrameReference | None) -> tuple[int, int]:
    """Which image in its TIFF file a frame is, and of how many; (0, 1) for those in other places."""
    if not isinstance(reference, TiffFrame):
        return 0, 1
    return reference.page, max(reference.pages or 1, reference.page + 1)


def load(reference: FrameReference, deadline: float, *, wait_for_writer: bool = True) -> LoadedFrame:
    """Read a frame, waiting for a file that is still being written.

    Parameters
    ----------
    reference
        Where it is.
    deadline
        Until when to try again, in seconds of ``time.time()``; one attempt is made in any case.
    wait_for_writer
        Whether that holds for a file too of which nothing can be read before its writer closes it.

    Raises
    ------
    SupersededError
        Its file holds newer content: that is not waited for.
    StillOpenError
        It can be read when the file is closed.
    HandlerError
        No handler reads it: that is not waited for.
    FrameError
        It could not be read; the message is that of the last attempt.
    """
    pause = _FIRST_PAUSE
    while True:
        try:
            return reference.read()
        except (SupersededError, HandlerError):
            raise
        except StillOpenError:
            if not wait_for_writer or time.time() + pause > deadline:
                raise
        except UnfilledError as error:
            # Zeros may be what the detector saw.
            if time.time() + pause > deadline:
                loaded: LoadedFrame = error.args[1]
                return loaded
        # A file that is half written fails in as many ways as there are readers.
        except Exception as error:
            if time.time() + pause > deadline:
                raise FrameError(_reason(error, reference)) from error
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def check_that_it_opens(path: str) -> None:
    """Raise FrameError for a named pipe, a socket or a device: to open one may take for ever."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except OSError:
        return  # whoever opens it tells more; and what a handler takes may be the beginning of a name
    if not (S_ISREG(mode) or S_ISDIR(mode)):
        raise FrameError(f"{path}: wanted a file of images, found a named pipe, a socket or a device")


def _reason(error: Exception, reference: FrameReference) -> str:
    text = one_line(error)
    return text if reference.path in text else f"{reference.path}: {text}"


def frame_of(stack: Image, index: int, where: str) -> Image:
    """One image of a stack, which may be a single image.

    Raises
    ------
    FrameError
        There is none of this index.
    """
    if stack.ndim == 2:
        stack = stack[None]
    frames = stack.reshape(-1, *stack.shape[-2:]) if stack.ndim > 2 else stack
    if frames.ndim != 3 or index >= frames.shape[0]:
        raise FrameError(f"{where}: wanted frame {index} of an image stack, found shape {stack.shape}")
    frame: Image = frames[index]
    return frame
