"""Curves of reduced runs as ``.chi`` files, with the names that SAXSdog gave them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from saxs_bluesky.callbacks.sinks._curve_list import CurveList
from saxs_bluesky.documents import Document, ReducedFrame, ReducedRunReader
from saxs_bluesky.errors import OutputError, SaxsError, system_reason
from saxs_bluesky.frame_job import CurveFiles, FrameName, OutputNameRegistry, OutputNames, home_folder, in_a_name
from saxs_bluesky.reduction import Calibration, CurveProvenance

_log = logging.getLogger(__name__)

_REMEMBERED_FAILURES = 100


class ChiFiles:
    """A sink for the documents of reduced runs that writes each curve to a ``.chi`` file.

    Without arguments the curves of ``DIR/name.tif`` go to ``DIR/../work``: the first to ``name.chi``,
    others to ``name_cR1.chi``, ``name_cS2.chi``. ``ChiFiles("work")`` collects those of all images in
    one folder; the names then begin with the image's whole path, its separators replaced by underscores.
    The same image reduced again replaces its curves.

    A frame of a file that holds many, ``DIR/name.h5``, goes by ``name_00012``. One that came without a
    file goes by ``scan7_0a1b2c3d_pilatus_00012`` (scan and uid of the raw run, detector, frame), and counts
    as lying in a folder of the detector's name in the current directory. Numbers are those of the
    frames in their stream, from 0; other streams than ``primary`` stand in the name.

    A curve that cannot be written costs no other: it is counted, logged, and told in ``failures``.

    Parameters
    ----------
    folder
        One output folder for all images; None: a folder relative to that of each image.
    relative
        Where that is.
    file_list
        Whether to add to the list of written curves, ``DIR/../results/filelist_<name of DIR>.log``, where the
        calibration asks for it (Live-Filelisting).

    Attributes
    ----------
    written
        Number of curves written.
    failed
        Number of files and lines of lists that could not be written.
    skipped
        Number of frames without curves, since their reduction failed.
    """

    def __init__(self, folder: str | Path | None = None, *, relative: str = "../work", file_list: bool = True) -> None:
        # Absolute, since a program may change its directory while it runs.
        self._home = home_folder()
        self._files = CurveFiles(OutputNames(relative, None if folder is None else self._home / folder))
        self._file_list = file_list
        self._runs = ReducedRunReader()
        self._calibrations: dict[str, Calibration] = {}
        self._lists: dict[Path, CurveList | None] = {}
        self._registry = OutputNameRegistry(self._files.names)
        self._failures: deque[str] = deque(maxlen=_REMEMBERED_FAILURES)
        self.written = 0
        self.failed = 0
        self.skipped = 0

    def __call__(self, name: str, doc: Document) -> None:
        """Take a document in; write the curves that it brings."""
        for frame in self._runs.frames(name, doc):
            if frame.failure:
                self.skipped += 1
            else:
                with self._failures_counted():
                    self._write(frame)
        if name == "stop":
            self._calibrations.pop(doc["run_start"], None)

    @property
    def failures(self) -> tuple[str, ...]:
        """What could not be written and why, the last 100."""
        return tuple(self._failures)

    @contextmanager
    def _failures_counted(self) -> Iterator[None]:
        try:
            yield
        # ValueError: a path that can be none, such as one with a null character.
        except (SaxsError, OSError, ValueError) as error:
            self.failed += 1
            self._failures.append(str(error))
            _log.warning("%s", error)

    def _write(self, frame: ReducedFrame) -> None:
        calibration = self._calibration(frame)
        name = self._frame_name(frame)
        named_after = name.named_after(self._home, one_folder=self._files.names.folder is not None)
        self._registry.claim(named_after, name.file(self._home))
        directory = named_after.parent if frame.path else self._home / in_a_name(frame.stream.start["detector"])
        curve_list: CurveList | None = None
        with self._failures_counted():
            curve_list = self._list(directory, calibration)
        written = self._files.write_each(named_after, frame.curves, calibration, self._provenance(frame, name))
        for curve, (chi, failure) in zip(frame.curves, written, strict=True):
            with self._failures_counted():
                if failure is not None:
                    raise failure
                self.written += 1
                if curve_list is not None:
                    curve_list.add(chi, curve)

    def _calibration(self, frame: ReducedFrame) -> Calibration:
        start = frame.stream.start
        if start["uid"] not in self._calibrations:
            where = f"calibration in run {start['uid']}"
            self._calibrations[start["uid"]] = Calibration.from_dict(start["provenance"]["calibration"], where=where)
        return self._calibrations[start["uid"]]

    @staticmethod
    def _frame_name(frame: ReducedFrame) -> FrameName:
        """What the curves of a frame are named after."""
        start = frame.stream.start
        return FrameName(
            path=frame.path,
            index=frame.index,
            stream=frame.stream.name,
            detector=start["detector"],
            run_uid=start["original_run_uid"],
            scan_id=start.get("original_scan_id"),
            page=frame.page,
            pages=frame.pages,
        )

    def _provenance(self, frame: ReducedFrame, name: FrameName) -> CurveProvenance:
        """What the files of a frame tell of it: what the run's provenance says, made by whom it says."""
        told = frame.stream.start["provenance"]
        file = name.file(self._home)
        return CurveProvenance(
            calibration_sha256=str(told.get("calibration_sha256", "")),
            mask_sha256=tuple(told.get("mask_sha256", ())),
            image="" if file is None else str(file),
            # Which content of it was read, documents do not tell.
            image_stamp=None,
            frame=name.number,
            run="" if file is not None else name.run_uid,
            software=str(told.get("software", "")),
            version=str(told.get("version", "")),
        )

    def _list(self, directory: Path, calibration: Calibration) -> CurveList | None:
        if not self._file_list or not calibration.document["Live-Filelisting"]:
            return None
        if directory not in self._lists:
            # Where it cannot be opened it is tried, and counted as failed, only once.
            self._lists[directory] = None
            try:
                self._lists[directory] = CurveList(directory, keep=True)
            except OSError as error:
                raise OutputError(
                    f"{directory}: the list of curves cannot be written in {directory.parent / 'results'} "
                    f"({system_reason(error)})"
                ) from error
        return self._lists[directory]
