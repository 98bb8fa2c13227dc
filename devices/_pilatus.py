"""The Pilatus detector behind EPICS areaDetector."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import ophyd
from ophyd import Component, PilatusDetector, Signal, SingleTrigger
from ophyd.areadetector.filestore_mixins import FileStoreTIFFIterativeWrite
from ophyd.areadetector.plugins import TIFFPlugin_V34
from ophyd.areadetector.trigger_mixins import ADTriggerStatus
from ophyd.device import Staged
from ophyd.status import AndStatus

from saxs_bluesky.devices._scene import described_image
from saxs_bluesky.errors import OutputError, SaxsError

READOUT_TIME = 0.003
"""Seconds between two exposures; longer than the readout of any Pilatus (2.28 ms, DECTRIS, Pilatus manuals)."""

_INTERNAL_TRIGGER = 0  # TriggerMode of ADPilatus
_FOLDERS_TO_MAKE = -3  # CreateDirectory of areaDetector: that many levels, where they are missing


class PilatusTiff(TIFFPlugin_V34, FileStoreTIFFIterativeWrite):  # type: ignore[misc]
    """TIFF plugin that writes a file a frame and makes resource and datum documents of them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stage_sigs["file_template"] = "%s%s_%6.6d.tif"

    def stage(self) -> None:
        """Get ready to write files of a new name.

        Raises
        ------
        OutputError
            The IOC has no such folder and cannot make it.
        """
        # The IOC makes folders when it is told the path, which ophyd does before it applies stage_sigs.
        self.create_directory.set(_FOLDERS_TO_MAKE).wait()
        try:
            super().stage()
        except OSError as error:
            raise OutputError(
                f"{self.name}: wanted a folder where the IOC can write, found {error} (write_path_template)"
            ) from error

    def collect_asset_docs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Resource and datum documents; the path of the resource, a folder, ends in ``/``."""
        for kind, document in super().collect_asset_docs():
            if kind == "resource":
                document["resource_path"] = document["resource_path"].rstrip("/") + "/"
            yield kind, document


class ExposureTime(Signal):  # type: ignore[misc]
    """Exposure time of a detector's camera in s; setting it keeps the period longer by the readout."""

    def get(self, **_: Any) -> float:
        """What the camera says."""
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


class PatientStatus(ADTriggerStatus):  # type: ignore[misc]
    """Status of a trigger that fails when the detector is much later than its frames should take."""

    def __init__(self, device: Pilatus) -> None:
        frames = device.cam.num_images.get() * max(device.cam.acquire_period.get(), device.cam.acquire_time.get())
        super().__init__(device, timeout=frames + device.patience)


class Pilatus(SingleTrigger, PilatusDetector):  # type: ignore[misc]
    """A Pilatus detector with the TIFF plugin of its EPICS IOC (``cam1:`` and ``TIFF1:``).

    A trigger takes ``num_images`` frames; an event holds ``<name>_image``, a datum of shape (frames,
    rows, columns). Settable are ``exposure_time`` (s) and ``num_images``; ``cam`` and ``tiff`` have
    everything else.

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
    _status_type = PatientStatus

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

    @property
    def num_images(self) -> Any:
        """Signal of the number of frames of a trigger."""
        return self.cam.num_images

    def trigger(self) -> PatientStatus:
        """Take ``num_images`` frames; finished when the IOC has them.

        Raises
        ------
        SaxsError
            The device is not staged.
        """
        if self._staged != Staged.yes:
            raise SaxsError(f"{self.name}: wanted stage() before trigger(), found it not staged")
        # Unlike ophyd's own, this one keeps the status, which a short exposure may end before we return.
        status = self._status = self._status_type(self)
        self.generate_datum(self._image_name, time.time(), {})
        self._acquisition_signal.put(1, wait=False)
        return status

    def make_data_key(self) -> dict[str, Any]:
        """Data key of the images; shape (frames, rows, columns)."""
        size, sensor = self.cam.array_size, self.cam.max_size
        # An IOC that has taken no frame yet gives the array no size.
        rows = int(size.array_size_y.get() or sensor.max_size_y.get())
        columns = int(size.array_size_x.get() or sensor.max_size_x.get())
        return described_image((rows, columns), int(self.cam.num_images.get()), f"PV:{self.prefix}")
