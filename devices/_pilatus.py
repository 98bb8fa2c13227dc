"""The Pilatus detector behind EPICS areaDetector."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import ophyd
from ophyd import Component, PilatusDetector, Signal, SingleTrigger
from ophyd.device import Staged, do_not_wait_for_lazy_connection
from ophyd.status import AndStatus
from ophyd.utils import RedundantStaging

from saxs_bluesky.devices._connection import Connection
from saxs_bluesky.devices._exposure import Exposure, TriggerStatus
from saxs_bluesky.devices._pilatus_tiff import PilatusTiff
from saxs_bluesky.devices._scene import described_image
from saxs_bluesky.devices._staged_settings import Settings, put_back, staged_devices
from saxs_bluesky.errors import SaxsError

_log = logging.getLogger(__name__)

READOUT_TIME = 0.003
"""Seconds between two exposures; longer than the readout of any Pilatus (2.28 ms, DECTRIS, Pilatus manuals)."""

_INTERNAL_TRIGGER = 0  # TriggerMode of ADPilatus


class ExposureTime(Signal):  # type: ignore[misc]
    """Exposure time of a detector's camera in s; setting it keeps the period longer by the readout."""

    def get(self, **_: Any) -> float:
        """Value that the camera reports."""
        return float(self.parent.cam.acquire_time.get())

    def set(self, value: float, **kwargs: Any) -> AndStatus:
        """Set the exposure time and the period of the camera.

        Raises
        ------
        SaxsError
            The time is not above 0.
        """
        if not value > 0:
            raise SaxsError(f"{self.name}: wanted a time above 0 s, found {value!r}")
        cam = self.parent.cam
        return AndStatus(cam.acquire_period.set(value + READOUT_TIME, **kwargs), cam.acquire_time.set(value, **kwargs))


class Pilatus(SingleTrigger, PilatusDetector):  # type: ignore[misc]
    """A Pilatus detector with the TIFF plugin of its EPICS IOC (``cam1:`` and ``TIFF1:``).

    A trigger takes ``num_images`` frames; an event holds ``<name>_image``, a datum of shape (frames,
    rows, columns). Settable are ``exposure_time`` (s) and ``num_images``; ``cam`` and ``tiff`` have
    everything else.

    A trigger succeeds when the TIFF plugin has written the files that its datum names, and no others;
    otherwise its status fails with a sentence that tells what was wanted and found. It waits for an
    acquisition that is going on; its own, which a pause has cut off, is stopped. Unstaging puts all
    settings back.

    Parameters
    ----------
    prefix
        Of the IOC's records, such as ``X13PIL:``.
    name
        Of the device; data keys begin with it.
    write_path_template
        Folder where the IOC writes, as the IOC sees it, with the fields of `time.strftime`; up to
        three levels of it are made when they are missing.
    read_path_template
        The same folder as seen from here; without it both are the same.
    **kwargs
        As for ``ophyd.Device``.

    Raises
    ------
    SaxsError
        There is no EPICS library, or a path is not absolute.

    Examples
    --------
    ::

        pilatus = Pilatus("X13PIL:", name="pilatus", write_path_template="/data/%Y/%m/%d/")
        pilatus.wait_for_connection(timeout=5)
        RE(mv(pilatus.exposure_time, 10))
        RE(count([pilatus], 3))
    """

    _default_read_attrs = ("tiff",)

    patience = 30.0
    """Seconds that a trigger may last beyond its exposures before it fails."""

    exposure_time = Component(ExposureTime, kind="omitted")
    tiff = Component(PilatusTiff, "TIFF1:", write_path_template="/")

    def __init__(
        self,
        prefix: str,
        *,
        name: str,
        write_path_template: str,
        read_path_template: str | None = None,
        **kwargs: Any,
    ) -> None:
        if ophyd.cl.name == "dummy":
            raise SaxsError(
                f"{name}: wanted an EPICS library for {prefix}, found neither pyepics nor caproto installed"
            )
        for path in (write_path_template, read_path_template):
            if path is not None and not PurePosixPath(path).is_absolute():
                raise SaxsError(f"{name}: wanted absolute paths of folders, found {path!r}")
        super().__init__(prefix, name=name, **kwargs)
        self.stage_sigs["cam.trigger_mode"] = _INTERNAL_TRIGGER
        self.tiff.write_path_template = write_path_template
        self.tiff.read_path_template = read_path_template
        self._exposure: Exposure | None = None
        self._not_put_back: Settings = OrderedDict()
        self.connection = Connection(name, prefix, self.tiff.plugin_type, self._connection_changed)

    @property
    def num_images(self) -> Any:
        """Signal of the number of frames of a trigger."""
        return self.cam.num_images

    def stage(self) -> None:
        """Get ready for triggers, whose files have a new name.

        Raises
        ------
        OutputError
            The IOC has no folder to write to.
        SaxsError
            The IOC is not connected.
        RedundantStaging
            The device is staged already.
        """
        if self._staged != Staged.no:
            raise RedundantStaging(f"{self.name} is staged already: call unstage() first")
        self.connection.require()
        put_back(self._not_put_back)
        self._exposure = None
        with do_not_wait_for_lazy_connection(self.cam):
            self._armed = self.cam.armed  # ADPilatus has it, others need not
        try:
            super().stage()
        except TimeoutError as error:
            raise self.connection.explain(error) from None

    def unstage(self) -> None:
        """Cut off what is going on, and put back all settings that were staged.

        Those of an IOC that is not connected are told of, and put back by the next unstage() or stage();
        those of a detector that another session has staged since are left to it.

        Raises
        ------
        SaxsError
            A setting was not taken.
        """
        if self._exposure is not None:
            self._exposure.cut_off("unstage()")
            self._exposure.join()
        failed = self._put_back()
        super().unstage()
        if failed:
            self._staged = Staged.partially
            raise SaxsError(
                f"{self.name}: settings that the IOC did not take back: {', '.join(failed)}; "
                "set them by hand, or call unstage() again"
            )

    def _put_back(self) -> list[str]:
        """Put back the settings of this device and of its parts; those that failed."""
        settings: Settings = OrderedDict()
        for part in reversed(staged_devices(self)):
            settings.update(self.tiff.settings_found() if part is self.tiff else part._original_vals)  # noqa: SLF001
            part._original_vals.clear()  # noqa: SLF001 (ophyd would stop at the first that fails)
        names = ", ".join(signal.name for signal in settings)
        if self.connection.lost:
            if settings:
                _log.warning("%s; settings left as they were for the scan: %s", self.connection.sentence(), names)
            self._not_put_back.update(settings)
            return []
        try:
            other = self.tiff.taken_by() if settings else ""
        except TimeoutError as error:  # each setting would wait for its own
            _log.warning("%s; settings left as they were for the scan: %s", self.connection.explain(error), names)
            self._not_put_back.update(settings)
            return []
        if other:
            _log.warning(
                "%s: another session has staged the detector %s since (its files are %s); settings left to it: %s",
                self.name,
                self.prefix,
                other,
                names,
            )
            return []
        self._not_put_back.update(settings)
        return put_back(self._not_put_back)

    def trigger(self) -> TriggerStatus:
        """Take ``num_images`` frames; finished when the IOC has written them.

        Raises
        ------
        SaxsError
            The device is not staged or not connected, ``num_images`` was changed since stage(), or
            somebody else uses the detector.
        """
        if self._staged != Staged.yes:
            raise SaxsError(f"{self.name}: wanted stage() before trigger(), found it not staged")
        self.connection.require()
        try:
            wanted, found = self.tiff.frames_per_point, int(self.cam.num_images.get())
            if wanted != found:
                raise SaxsError(f"{self.name}: wanted num_images as it was at stage(), {wanted}, found {found}")
            if self._exposure is not None and self._exposure.void:
                self.tiff.forget_last_datum()
            exposure = Exposure(self, self.tiff.next_point(), self._exposure)
            self.generate_datum(self._image_name, time.time(), {})
        except TimeoutError as error:
            raise self.connection.explain(error) from None
        self._exposure = exposure
        exposure.start()
        return exposure.status

    def pause(self) -> None:
        """Cut off the exposure that is going on; a RunEngine that resumes takes it again."""
        if self._exposure is not None and self._exposure.running:
            self._exposure.cut_off("pause()")
        super().pause()

    def stop(self, *, success: bool = False) -> None:
        """Cut off the exposure that is going on."""
        if self._exposure is not None and self._exposure.running:
            self._exposure.cut_off("stop()")
        super().stop(success=success)

    def read(self) -> dict[str, dict[str, Any]]:
        """Datum of the last trigger.

        Raises
        ------
        SaxsError
            It has failed, or was cut off.
        """
        if self._exposure is not None and self._exposure.failure is not None:
            raise self._exposure.failure
        return self._answer(super().read)

    def describe(self) -> dict[str, dict[str, Any]]:
        """Data key of the images; SaxsError where the IOC does not answer."""
        return self._answer(super().describe)

    def read_configuration(self) -> dict[str, dict[str, Any]]:
        """Settings of the detector and its plugin; SaxsError where the IOC does not answer."""
        return self._answer(super().read_configuration)

    def describe_configuration(self) -> dict[str, dict[str, Any]]:
        """Data keys of the settings; SaxsError where the IOC does not answer."""
        return self._answer(super().describe_configuration)

    def _answer(self, question: Callable[[], dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
        try:
            return question()
        except TimeoutError as error:
            raise self.connection.explain(error) from None

    def busy(self) -> bool:
        """True while the detector acquires, or has not yet stopped after it was told to."""
        return bool(self.cam.acquire.get() or (self._armed.connected and self._armed.get()))

    def _acquire_changed(self, value: Any = None, **_: Any) -> None:
        if self._exposure is not None:
            self._exposure.acquiring(bool(value))

    def _connection_changed(self) -> None:
        if self._exposure is not None:
            self._exposure.wake()

    def make_data_key(self) -> dict[str, Any]:
        """Data key of the images; shape (frames, rows, columns)."""
        size, sensor = self.cam.array_size, self.cam.max_size
        # An IOC that has taken no frame yet gives the array no size.
        rows = int(size.array_size_y.get() or sensor.max_size_y.get())
        columns = int(size.array_size_x.get() or sensor.max_size_x.get())
        frames = self.tiff.frames_per_point if self._staged == Staged.yes else int(self.cam.num_images.get())
        return described_image((rows, columns), frames, f"PV:{self.prefix}")
