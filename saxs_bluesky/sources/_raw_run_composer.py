"""The raw run of files: one event a file."""

from __future__ import annotations

import getpass
import math
import socket
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from event_model import ComposeDescriptorBundle, compose_run

from saxs_bluesky.documents import FILE_FAILURE, FILE_SOURCE, NamedDocument, new_uid
from saxs_bluesky.errors import FrameError, printable
from saxs_bluesky.reduction import PilatusHeader, Stamp, part_of
from saxs_bluesky.sources._readiness import FoundFile

DETECTOR = "pilatus"
_NUMBERS = {"exposure_time": "s", "exposure_period": "s", "wavelength": "nm", "image_time": "s", "file_time": "s"}
_LONGEST_TEXT = 1000  # letters
# What programs that show times can show: pandas' times in nanoseconds end in 2262.
_YEARS = range(1970, 2262)
_END = datetime(_YEARS.stop, 1, 1, tzinfo=UTC).timestamp()


def describe_session(kind: str, directory: str | Path, calibration_title: str = "") -> dict[str, Any]:
    """Metadata for the start document: what is watched, how, and by whom.

    Parameters
    ----------
    kind
        Where the files come from: ``folder``, ``watch``, ``feeder``.
    directory
        Below which they are.
    calibration_title
        What the calibration is called.

    Returns
    -------
    Keys and values for the start document.
    """
    return {
        "plan_name": kind,
        "detectors": [DETECTOR],
        "directory": printable(str(Path(directory).absolute())),
        "calibration_title": calibration_title,
        "login_id": f"{_user()}@{socket.gethostname()}",
    }


class RawRunComposer:
    """Composes the documents of a raw run whose frames are files.

    Its events hold the path ``image_path``, in a data key whose source says that it is a file, and what the file's
    header says: ``exposure_time``, ``exposure_period`` (s), ``wavelength`` (nm), ``detector_model``; ``image_time``
    is when the image was taken by the detector's clock, taken to be in this computer's time zone, and ``file_time``
    when the file was last written. A file of several images has an event for each: ``image_page`` is its number there,
    from 0, of ``image_pages``. ``file_stamp`` tells one content of the file from the next. Unknown numbers are
    NaN. Of a file that is no whole image, `FILE_FAILURE` says why; the reduction does not read it.

    Parameters
    ----------
    metadata
        For the start document.
    """

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self._run = compose_run(metadata=dict(metadata))
        self._stream: ComposeDescriptorBundle = self._run.compose_descriptor(
            name="primary",
            data_keys=_data_keys(),
            object_keys={DETECTOR: list(_data_keys())},
            hints={DETECTOR: {"fields": []}},
        )

    @property
    def opening(self) -> list[NamedDocument]:
        """Start and descriptor."""
        return [("start", dict(self._run.start_doc)), ("descriptor", dict(self._stream.descriptor_doc))]

    def event(self, file: FoundFile, page: int = 0) -> NamedDocument:
        """Compose the event of a file, or of one of its pages."""
        header, failure = file.header, file.failure
        if file.pages:
            found = file.pages[page]
            header, failure = (None, str(found)) if isinstance(found, FrameError) else (found.header, "")
        header = header or PilatusHeader()
        data: dict[str, Any] = {
            "image_path": printable(file.path) if failure else file.path,
            "image_page": page,
            "image_pages": len(file.pages) or 1,
            "file_size": file.size,
            "file_time": file.modified,
            "file_stamp": file.stamp,
            "image_time": _image_time(header, file.modified),
            "exposure_time": _number(header.exposure_time),
            "exposure_period": _number(header.exposure_period),
            "wavelength": _number(header.wavelength),
            "detector_model": printable(header.model or "")[:_LONGEST_TEXT],
            FILE_FAILURE: printable(failure),
        }
        # The image's time is when its data were taken. Without validation: it takes longer than all else, and a
        # test validates events.
        stamps = dict.fromkeys(data, data["image_time"] if math.isfinite(data["image_time"]) else time.time())
        event = self._stream.compose_event(
            data=data, timestamps=stamps, time=time.time(), validate=False, uid=new_uid()
        )
        return "event", dict(event)

    def stop(self, *, reason: str = "") -> NamedDocument:
        """Compose the stop document; with a reason where the run ended before its time."""
        return "stop", dict(self._run.compose_stop(exit_status="abort" if reason else "success", reason=reason))


def accepted_in(data: Mapping[str, Any]) -> tuple[str, Stamp]:
    """Path and stamp that are accepted with an event, from its data, as sources remember them.

    With any page but the last, the pages up to this one are: so that the others are not lost in a crash.

    Parameters
    ----------
    data
        ``data`` of an event of a raw run.

    Returns
    -------
    The path of the file, and the stamp of its content.
    """
    path, stamp = data["image_path"], data["file_stamp"]
    page, pages = data.get("image_page", 0), data.get("image_pages", 1)
    return path, stamp if page + 1 >= pages else part_of(stamp, page + 1)


def _data_keys() -> dict[str, dict[str, Any]]:
    keys: dict[str, dict[str, Any]] = {"image_path": {"dtype": "string", "shape": [], "source": FILE_SOURCE}}
    for name in ("image_page", "image_pages"):
        keys[name] = {"dtype": "integer", "shape": [], "source": "file header"}
    keys["file_size"] = {"dtype": "integer", "shape": [], "units": "byte", "source": "file system"}
    keys["file_stamp"] = {"dtype": "integer", "shape": [], "source": "file system"}
    for name, units in _NUMBERS.items():
        source = "file system" if name == "file_time" else "file header"
        keys[name] = {"dtype": "number", "shape": [], "units": units, "source": source}
    keys["detector_model"] = {"dtype": "string", "shape": [], "source": "file header"}
    keys[FILE_FAILURE] = {"dtype": "string", "shape": [], "source": "file system"}
    return keys


def _image_time(header: PilatusHeader, modified: float) -> float:
    """When the image was taken: as its header says, to a second, or else when its file was last written.

    A clock that was never set, or a program that knew no time, says 0001:01:01 or 9999:12:31.
    """
    try:
        taken = header.time(UTC)
    except ValueError:
        taken = None
    if taken is None or taken.year not in _YEARS:
        return modified if 0 <= modified < _END else math.nan
    # A time without a zone is local, daylight saving included.
    return taken.replace(tzinfo=None).timestamp()


def _number(value: float | None) -> float:
    """A number as documents and catalogs can hold it: one that is too large for any is unknown."""
    return math.nan if value is None or math.isinf(value) else value


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"  # a process without an entry in the list of users, as in containers
