"""The TIFF plugin of a Pilatus: what it shall write, and whether it did."""

from __future__ import annotations

import itertools
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from ophyd.areadetector.filestore_mixins import FileStoreTIFFIterativeWrite
from ophyd.areadetector.plugins import TIFFPlugin_V34
from ophyd.device import Staged

from saxs_bluesky.devices._staged_settings import Settings
from saxs_bluesky.errors import OutputError, SaxsError

_FOLDERS_TO_MAKE = -3  # CreateDirectory of areaDetector: that many levels, where they are missing
_WRITE_OK = 0  # WriteStatus of areaDetector
_SESSION_NAME = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}")  # what ophyd names files at each stage()
_READBACK = 5.0  # seconds for a setting to be read back
_CLEARED = 1.0  # seconds for an error of an earlier file to be cleared when the next one is written
_LOOK_AGAIN = 0.02  # seconds


class PilatusTiff(TIFFPlugin_V34, FileStoreTIFFIterativeWrite):  # type: ignore[misc]
    """TIFF plugin that writes a file a frame and makes resource and datum documents of them."""

    lag = 5.0
    """Seconds that its readbacks may be late though the detector has waited until it had written."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stage_sigs["file_template"] = "%s%s_%6.6d.tif"
        self.frames_per_point = 1
        self._found: Settings = OrderedDict()
        self._named = ("", "", "")
        self._point_counter: Iterator[int] = itertools.count()
        self._last_datum = ""
        self._void: set[str] = set()
        self._listening = False
        self._error_before = False
        self._error_heard = False
        self._message = ""

    def stage(self) -> None:
        """Get ready to write files of a new name.

        Raises
        ------
        OutputError
            The IOC has no such folder and cannot make it.
        """
        if self._staged == Staged.no:
            names = (self.file_number, self.file_name, self.file_path, self.create_directory)
            self._found = OrderedDict((signal, signal.get()) for signal in names)
        # The IOC makes folders when it is told the path, which ophyd does before it applies stage_sigs.
        self.create_directory.set(self.stage_sigs.get("create_directory", _FOLDERS_TO_MAKE)).wait()
        try:
            super().stage()
        except TimeoutError:  # an OSError too: the IOC does not answer
            raise
        except OSError as error:
            raise OutputError(
                f"{self.name}: wanted a folder where the IOC can write, found {error} (write_path_template)"
            ) from error
        self._named = (self.file_template.get(), self.file_path.get(), self.file_name.get())
        self.frames_per_point = int(self.parent.cam.num_images.get())
        self._void.clear()
        self._listening = True
        self.write_status.subscribe(self._heard_of_status, run=False)
        self.write_message.subscribe(self._heard_message, run=False)

    def make_filename(self) -> tuple[str, str, str]:
        """Name of the files and their folder, as read here and as written there; see ophyd."""
        names: tuple[str, str, str] = super().make_filename()
        self._named = ("", "", names[0])
        return names

    def unstage(self) -> None:
        """Forget what was staged; `Pilatus` has put the settings back."""
        if self._listening:  # asking for the signals would wait for an IOC that never answered
            self.write_status.clear_sub(self._heard_of_status)
            self.write_message.clear_sub(self._heard_message)
            self._listening = False
        super().unstage()

    def settings_found(self) -> Settings:
        """Values that the signals had before stage() set them, in the order in which it did."""
        # ophyd finds the number of folders when it is set already.
        self._original_vals.update(self._found)
        for signal in reversed(self._found):
            self._original_vals.move_to_end(signal, last=False)
        self._found = OrderedDict()
        settings: Settings = self._original_vals
        return settings

    def taken_by(self) -> str:
        """Name of the files of another session that has staged the plugin since; empty if there is none."""
        name = str(self.file_name.get())
        return name if name != self._named[2] and _SESSION_NAME.fullmatch(name) else ""

    def next_point(self) -> int:
        """Number of the next point: one whose files do not exist yet.

        Raises
        ------
        SaxsError
            The plugin writes the files of somebody else.
        """
        found = (self.file_template.get(), self.file_path.get(), self.file_name.get())
        if found != self._named:
            raise SaxsError(
                f"{self.parent.name}: wanted the TIFF plugin to write {self._file('NUMBER')}, found it set to "
                f"{self._file('NUMBER', found)}: {self._another_session()}"
            )
        # An exposure must not overwrite frames that somebody took by hand.
        free = -(-int(self.file_number.get()) // self.frames_per_point)
        point = max(next(self._point_counter), free)
        self._point_counter = itertools.count(point)
        return point

    def expect(self, first: int) -> None:
        """Prepare the plugin for the files of a point, from number ``first`` on.

        Raises
        ------
        SaxsError
            There is a file of that number already.
        """
        number = int(self.file_number.get())
        if number > first:
            raise SaxsError(
                f"{self.parent.name}: wanted the TIFF plugin to write {self._file(first)} next, "
                f"found FileNumber {number}: {self._another_session()}"
            )
        if number < first:  # an exposure before was stopped, or a frame of it was not written
            self.file_number.set(first, timeout=_READBACK).wait(_READBACK + 1)
        self._error_before = self.write_status.get() != _WRITE_OK
        self._error_heard, self._message = False, ""

    def check_written(self, first: int, patience: float, wait: Callable[[float], None]) -> None:
        """Wait until the plugin has written the files of a point.

        Parameters
        ----------
        first
            Number of the point's first file.
        patience
            Seconds that a plugin may be late that does not block the detector while it writes.
        wait
            Waits for some seconds, or raises.

        Raises
        ------
        OutputError
            A file could not be written.
        SaxsError
            The files are not those that the datum names.
        """
        begin = time.monotonic()
        late = self.lag if self.blocking_callbacks.get() == "Yes" else patience
        wanted, last = first + self.frames_per_point, self._file(first + self.frames_per_point - 1)
        while True:
            number, found = int(self.file_number.get()), str(self.full_file_name.get())
            failed = self.write_status.get() != _WRITE_OK
            elapsed = time.monotonic() - begin
            complete = number == wanted and found == last
            if complete and not failed and not self._error_heard:
                return
            # An error of an earlier file stands until the plugin opens the next one.
            if self._error_heard or (failed and (not self._error_before or elapsed > (_CLEARED if complete else late))):
                raise self._write_error(last)
            if number > wanted or elapsed > late:
                raise self._wrong_files(number - first, last, found)
            wait(_LOOK_AGAIN)

    def _write_error(self, last: str) -> OutputError:
        message = self._message or self.write_message.get()
        return OutputError(
            f"{self.parent.name}: wanted the TIFF plugin to write {self.frames_per_point} new file(s) up to {last}, "
            f"found WriteStatus an error, WriteMessage {message!r}: see whether the disk is full, and whether the IOC "
            f"{self.parent.prefix} may write there"
        )

    def _wrong_files(self, written: int, last: str, found: str) -> SaxsError:
        wanted = f"{self.parent.name}: wanted {self.frames_per_point} new file(s) up to {last}, found"
        if written >= self.frames_per_point or self.taken_by():
            return SaxsError(f"{wanted} {written} up to {found}: {self._another_session()}")
        return SaxsError(
            f"{wanted} {written}, and {found} as the last one: the TIFF plugin {self.prefix} did not get every frame, "
            "or the exposure was stopped; look at its EnableCallbacks, AutoSave, AutoIncrement and DroppedArrays, "
            "then repeat the scan"
        )

    def _another_session(self) -> str:
        return (
            f"somebody else uses the detector {self.parent.prefix} (another session, or its settings were changed "
            "by hand); let one of the two end, then repeat the scan"
        )

    def _file(self, number: int | str, named: tuple[str, str, str] | None = None) -> str:
        template, path, name = named or self._named
        return str(template % (path, name, number)) if isinstance(number, int) else f"{path}{name}_{number}"

    def _heard_of_status(self, value: Any = None, old_value: Any = None, **_: Any) -> None:
        # The first value that a subscription gives is of old.
        if old_value == _WRITE_OK and value != _WRITE_OK:
            self._error_heard = True

    def _heard_message(self, value: Any = "", **_: Any) -> None:
        self._message = str(value) or self._message

    def generate_datum(self, key: str, timestamp: float, datum_kwargs: dict[str, Any]) -> str:
        """Make the datum of the next point; see ophyd."""
        datum_id: str = super().generate_datum(key, timestamp, datum_kwargs)
        self._last_datum = datum_id
        return datum_id

    def forget_last_datum(self) -> None:
        """Withhold the last datum: some of its files do not belong to its point."""
        self._void.add(self._last_datum)

    def collect_asset_docs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Resource and datum documents; the path of the resource, a folder, ends in ``/``."""
        for kind, document in super().collect_asset_docs():
            if kind == "datum" and document["datum_id"] in self._void:
                continue
            if kind == "resource":
                document["resource_path"] = document["resource_path"].rstrip("/") + "/"
            yield kind, document
