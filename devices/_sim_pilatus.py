"""A Pilatus in software: frames of a simulated sample, in real files, under a real RunEngine."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ophyd import Component, Device, DeviceStatus

from saxs_bluesky.devices._acquisition import Background, CutOffError, Outbox
from saxs_bluesky.devices._frame_files import FILE_FORMATS, Recording, writable_folder
from saxs_bluesky.devices._quantity import Quantity
from saxs_bluesky.devices._scene import Positioner, SampleProfile, Scene, counted, described_image
from saxs_bluesky.documents import NamedDocument
from saxs_bluesky.errors import SaxsError
from saxs_bluesky.reduction import Calibration
from saxs_bluesky.simulation import (
    DETECTOR_SHAPES,
    Sample,
    SilverBehenate,
    SimulatedPilatus,
    simulated_calibration,
    simulated_header,
    write_mask,
)

_MASK_FILE = "mask.tif"


class SimPilatus(Device):  # type: ignore[misc]
    """A simulated Pilatus detector, for step scans and fly scans.

    Settable are ``exposure_time`` (s) and ``num_images``: the frames of one trigger, or of one
    flight. An event holds ``<name>_image`` (a datum, shape (frames, rows, columns)) and
    ``<name>_total`` (counts of all pixels and frames). The events of a flight are in stream
    ``<name>_fly``, so that it can fly beside a step scan, whose stream is ``primary``.

    Parameters
    ----------
    name
        Of the device; data keys and files begin with it.
    directory
        Where the frames go; made when it is needed.
    detector
        One of `saxs_bluesky.simulation.DETECTOR_SHAPES`.
    file_format
        ``tif``: Pilatus TIFF files, spec AD_TIFF; ``hdf5``: one file, spec AD_HDF5.
    sample
        What scatters; silver behenate unless given. May be changed through `sample`.
    sample_x, sample_y
        Positioners that move the sample in mm, such as those of a `SimSampleStage`.
    profile
        How much of the sample is in the beam where they stand.
    seed
        Of the noise: the same seed and the same exposures give the same frames.
    real_time
        Whether an exposure lasts as long as it says; otherwise it is over at once.

    Raises
    ------
    SaxsError
        No such detector or file format.
    """

    exposure_time = Component(Quantity, value=1.0, units="s", minimum=1e-6, kind="config")
    num_images = Component(Quantity, value=1, minimum=1, kind="config")
    total = Component(Quantity, value=0, units="counts", kind="hinted")

    def __init__(
        self,
        name: str,
        directory: str | Path,
        *,
        detector: str = "1M",
        file_format: Literal["tif", "hdf5"] = "tif",
        sample: Sample | None = None,
        sample_x: Positioner | None = None,
        sample_y: Positioner | None = None,
        profile: SampleProfile | None = None,
        seed: int = 2026,
        real_time: bool = False,
    ) -> None:
        super().__init__(name=name)
        for what, found, known in (("detector", detector, DETECTOR_SHAPES), ("file_format", file_format, FILE_FORMATS)):
            if found not in known:
                raise SaxsError(f"{name}: wanted {what} to be one of {', '.join(known)}, found {found!r}")
        self.directory = Path(directory).absolute()
        self._file_format = file_format
        self._real_time = real_time
        self._calibration_document = simulated_calibration(detector, _MASK_FILE)
        self._scene = Scene(
            SimulatedPilatus(Calibration.from_dict(self._calibration_document, where=name).geometry),
            sample or SilverBehenate(),
            profile or SampleProfile(),
            np.random.default_rng(seed),
            sample_x,
            sample_y,
        )
        self._image_key = f"{name}_image"
        self._background = Background(self)
        self._outbox = Outbox()
        self._cut = threading.Event()
        self._cut_by = "unstage()"
        self._recording: Recording | None = None
        self._image: dict[str, Any] | None = None
        self._flight: DeviceStatus | None = None

    @property
    def sample(self) -> Sample:
        """What is in the beam."""
        return self._scene.sample

    @sample.setter
    def sample(self, sample: Sample) -> None:
        self._scene.sample = sample

    def calibration(self) -> Calibration:
        """Calibration of the simulated detector, with its mask."""
        masks = self._calibration_document["Masks"]
        assert isinstance(masks, list)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / _MASK_FILE
            write_mask(path, self._scene.detector.mask)
            content = path.read_bytes()
        where = f"calibration of {self.name}"
        return Calibration.from_dict(self._calibration_document, masks=[content] * len(masks), where=where)

    # Step scans

    def stage(self) -> list[object]:
        """Get ready for triggers, whose frames go to files of a new name.

        Raises
        ------
        OutputError
            No file can be made in the directory.
        SaxsError
            A flight is going on.
        """
        self._background.require_idle()
        writable_folder(self.directory)
        staged: list[object] = super().stage()
        self._ready_for_work()
        self._outbox.clear()  # what a scan that was aborted left
        self._recording = self._new_recording(self.num_images.get())
        return staged

    def unstage(self) -> list[object]:
        """Cut off what is still going on, and close the files."""
        self._cut_off("unstage()")
        if self._recording is not None:
            self._recording.close()
            self._recording = None
        unstaged: list[object] = super().unstage()
        return unstaged

    def trigger(self) -> DeviceStatus:
        """Take and write ``num_images`` frames; finished when they are in their files.

        Raises
        ------
        SaxsError
            The device is not staged or still busy, or ``num_images`` was changed since stage().
        """
        recording = self._recording
        if recording is None:
            raise SaxsError(f"{self.name}: wanted stage() before trigger(), found it not staged")
        frames, exposure_time = self.num_images.get(), self.exposure_time.get()
        if frames != recording.frames_per_point:
            raise SaxsError(
                f"{self.name}: wanted num_images as it was at stage(), {recording.frames_per_point}, found {frames}"
            )

        self._ready_for_work()

        def take() -> None:
            documents, total = self._take_point(recording, exposure_time)
            self._outbox.put(documents)
            self._image = {"value": documents[-1][1]["datum_id"], "timestamp": time.time()}
            self.total.put(total)

        return self._background.start(take)

    def pause(self) -> None:
        """Cut off the exposure that is going on; a RunEngine that resumes takes it again. A flight goes on."""
        if self._flight is None or self._flight.done:
            self._cut_off("pause()")
        super().pause()

    def stop(self, *, success: bool = False) -> None:
        """Cut off the exposure or the flight that is going on."""
        self._cut_off("stop()")
        super().stop(success=success)

    def read(self) -> dict[str, dict[str, Any]]:
        """Total and datum of the last trigger.

        Raises
        ------
        SaxsError
            There was none since stage(), or it is going on, has failed, or was cut off.
        """
        if self._image is None:
            raise SaxsError(f"{self.name}: wanted trigger() before read(), found no frame taken by it")
        return {**super().read(), self._image_key: self._image}

    def describe(self) -> dict[str, dict[str, Any]]:
        """Data keys of the total and of the images."""
        return self._describe(self._recording.frames_per_point if self._recording else self.num_images.get())

    def collect_asset_docs(self) -> Iterator[NamedDocument]:
        """Resource and datum documents that are new since the last call."""
        yield from self._outbox.documents()

    # Fly scans

    def kickoff(self) -> DeviceStatus:
        """Start a series of ``num_images`` frames, an event each, whose files have a new name.

        Raises
        ------
        OutputError
            No file can be made in the directory.
        SaxsError
            The device is still busy.
        """
        writable_folder(self.directory)
        frames, exposure_time = self.num_images.get(), self.exposure_time.get()
        recording = self._new_recording(1)
        self._ready_for_work()
        self._outbox.clear()

        def fly() -> None:
            try:
                for _ in range(frames):
                    documents, total = self._take_point(recording, exposure_time)
                    self._outbox.put(documents, self._event(documents[-1][1]["datum_id"], total))
            finally:
                recording.close()

        self._flight = self._background.start(fly)
        started = DeviceStatus(self)
        started.set_finished()
        return started

    def complete(self) -> DeviceStatus:
        """Status of the series, finished when its last frame is written.

        Raises
        ------
        SaxsError
            None was started.
        """
        if self._flight is None:
            raise SaxsError(f"{self.name}: wanted kickoff() before complete(), found no flight started")
        return self._flight

    def describe_collect(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Data keys of a series' events, below the name of their stream."""
        return {f"{self.name}_fly": self._describe(1)}

    def collect(self) -> Iterator[dict[str, Any]]:
        """Events of the frames whose documents `collect_asset_docs` gave."""
        yield from self._outbox.events()

    # What both share

    def _ready_for_work(self) -> None:
        """Forget the frame of the last trigger, which is not that of the next.

        Raises
        ------
        SaxsError
            The work before is still going on.
        """
        self._background.require_idle()
        self._cut.clear()
        self._image = None

    def _cut_off(self, by: str) -> None:
        """Cut off what is going on, and wait for its end."""
        self._cut_by = by
        self._cut.set()
        self._background.join()

    def _new_recording(self, frames_per_point: int) -> Recording:
        return Recording(self.directory, self.name, self._file_format, frames_per_point)

    def _take_point(self, recording: Recording, exposure_time: float) -> tuple[list[NamedDocument], int]:
        """Take and write the frames of a point; its documents, and the sum of its counts."""
        point = recording.begin_point()
        total = 0
        for frame in range(recording.frames_per_point):
            if self._cut.wait(exposure_time if self._real_time else 0):
                kind = CutOffError if self._cut_by == "pause()" else SaxsError
                raise kind(f"{self.name}: wanted {exposure_time:g} s of exposure, found it cut off by {self._cut_by}")
            image = self._scene.expose(exposure_time)
            recording.write(point, frame, image, simulated_header(self._scene.detector.geometry, exposure_time))
            total += counted(image)
        return recording.documents(point), total

    def _describe(self, frames: int) -> dict[str, dict[str, Any]]:
        image = described_image(self._scene.detector.geometry.shape, frames, f"SIM:{self._image_key}")
        return {**super().describe(), self._image_key: image}

    def _event(self, datum_id: str, total: int) -> dict[str, Any]:
        now = time.time()
        data: dict[str, Any] = {self.total.name: total, self._image_key: datum_id}
        return {"time": now, "data": data, "timestamps": dict.fromkeys(data, now), "filled": {self._image_key: False}}
