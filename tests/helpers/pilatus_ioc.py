"""A soft IOC of a Pilatus 100K with its TIFF plugin: `python pilatus_ioc.py PREFIX`.

The records have the types and the behaviour of areaDetector's: enumerations, long strings, readbacks;
folders made when the path is put; a Pilatus TIFF written for each frame while ``cam1:Acquire`` is set; file numbers
that advance when a file is named, whatever becomes of it; an acquisition that ends some time after it was stopped.
``FAULT:`` records make faults.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
from caproto import ChannelType
from caproto.server import PVGroup, pvproperty, run

from saxs_bluesky.reduction import Calibration
from saxs_bluesky.simulation import SilverBehenate, SimulatedPilatus, simulated_calibration, write_simulated_frame

READY = "ready"
SEED = 100
CAM_PORT = "PIL"
DETECTOR = SimulatedPilatus(Calibration.from_dict(simulated_calibration("100K")).geometry)


def choice(name: str, *strings: str) -> Any:
    return pvproperty(name=name, value=strings[0], dtype=ChannelType.ENUM, enum_strings=list(strings))


def text(name: str, value: str = "") -> Any:
    return pvproperty(name=name, value=value, dtype=ChannelType.STRING)


def long_text(name: str, value: str) -> Any:
    return pvproperty(name=name, value=value, dtype=ChannelType.CHAR, max_length=256, string_encoding="utf-8")


class PilatusIOC(PVGroup):
    acquire = choice("cam1:Acquire", "Done", "Acquire")
    acquire_time = pvproperty(name="cam1:AcquireTime", value=1.0)
    acquire_period = pvproperty(name="cam1:AcquirePeriod", value=1.003)
    armed = choice("cam1:Armed", "Unarmed", "Armed")
    array_callbacks = choice("cam1:ArrayCallbacks", "Disable", "Enable")
    array_counter = pvproperty(name="cam1:ArrayCounter", value=0)
    array_size_x = pvproperty(name="cam1:ArraySizeX_RBV", value=0)
    array_size_y = pvproperty(name="cam1:ArraySizeY_RBV", value=0)
    image_mode = choice("cam1:ImageMode", "Single", "Multiple", "Continuous")
    manufacturer = text("cam1:Manufacturer_RBV", "Dectris")
    max_size_x = pvproperty(name="cam1:MaxSizeX_RBV", value=DETECTOR.geometry.shape[1])
    max_size_y = pvproperty(name="cam1:MaxSizeY_RBV", value=DETECTOR.geometry.shape[0])
    model = text("cam1:Model_RBV", "Pilatus")
    num_exposures = pvproperty(name="cam1:NumExposures", value=1)
    num_images = pvproperty(name="cam1:NumImages", value=1)
    port_name = text("cam1:PortName_RBV", CAM_PORT)
    trigger_mode = choice("cam1:TriggerMode", "Internal", "Ext. Enable", "Ext. Trigger", "Mult. Trigger", "Alignment")

    frames_to_drop = pvproperty(name="FAULT:FramesToDrop", value=0)  # of the next frames, those the plugin never gets
    writes_to_fail = pvproperty(name="FAULT:WritesToFail", value=0)
    write_time = pvproperty(name="FAULT:WriteTime", value=0.0)  # seconds
    stop_time = pvproperty(name="FAULT:StopTime", value=0.0)  # seconds from Acquire 0 to the end of the acquisition
    deaf = pvproperty(name="FAULT:Deaf", value=0)  # 1: EnableCallbacks cannot be disabled

    tiff_array_counter = pvproperty(name="TIFF1:ArrayCounter", value=0)
    auto_increment = choice("TIFF1:AutoIncrement", "No", "Yes")
    auto_save = choice("TIFF1:AutoSave", "No", "Yes")
    blocking_callbacks = choice("TIFF1:BlockingCallbacks", "No", "Yes")
    create_directory = pvproperty(name="TIFF1:CreateDirectory", value=0)
    delete_driver_file = choice("TIFF1:DeleteDriverFile", "No", "Yes")
    enable_callbacks = choice("TIFF1:EnableCallbacks", "Disable", "Enable")
    file_format = choice("TIFF1:FileFormat", "TIFF")
    file_name = long_text("TIFF1:FileName", "image")
    file_number = pvproperty(name="TIFF1:FileNumber", value=0)
    file_path = long_text("TIFF1:FilePath", "/nowhere/")
    file_path_exists = choice("TIFF1:FilePathExists_RBV", "No", "Yes")
    file_template = long_text("TIFF1:FileTemplate", "%s%s_%3.3d.tif")
    file_write_mode = choice("TIFF1:FileWriteMode", "Single", "Capture", "Stream")
    full_file_name = long_text("TIFF1:FullFileName_RBV", "none")
    nd_array_port = text("TIFF1:NDArrayPort", CAM_PORT)
    num_capture = pvproperty(name="TIFF1:NumCapture", value=1)
    plugin_type = text("TIFF1:PluginType_RBV", "NDFileTIFF")
    tiff_port_name = text("TIFF1:PortName_RBV", "FileTIFF1")
    write_message = long_text("TIFF1:WriteMessage", "none")
    write_status = choice("TIFF1:WriteStatus", "Write OK", "Write error")

    def __init__(self, prefix: str) -> None:
        super().__init__(prefix=prefix)
        # A setpoint and its readback are one channel here.
        self.pvdb.update({f"{name}_RBV": channel for name, channel in self.pvdb.items() if not name.endswith("_RBV")})
        self.rate = DETECTOR.rate(SilverBehenate())
        self.rng = np.random.default_rng(SEED)
        self.acquisition: asyncio.Task[None] | None = None
        self.writing: set[asyncio.Task[None]] = set()
        self.one_file = asyncio.Lock()

    @file_path.putter
    async def file_path(self, instance: Any, value: str) -> str:
        folder = Path(value)
        if self.create_directory.value < 0:
            missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
            if len(missing) <= -self.create_directory.value:
                with contextlib.suppress(OSError):  # it does not exist then, as the IOC tells
                    folder.mkdir(parents=True, exist_ok=True)
        await self.file_path_exists.write("Yes" if folder.is_dir() else "No")
        return f"{value.rstrip('/')}/"

    @enable_callbacks.putter
    async def enable_callbacks(self, instance: Any, value: str) -> str:
        return "Enable" if self.deaf.value else value

    @acquire.putter
    async def acquire(self, instance: Any, value: str) -> str:
        # ADPilatus takes an order to acquire only when the acquisition before has ended.
        if value == "Acquire" and instance.value == "Done" and self.acquisition is None:
            self.acquisition = asyncio.create_task(self.take_frames())
        elif value == "Done" and self.acquisition is not None and asyncio.current_task() is not self.acquisition:
            self.acquisition.cancel()
        return value

    async def take_frames(self) -> None:
        try:
            await self.array_size_x.write(DETECTOR.geometry.shape[1])
            await self.array_size_y.write(DETECTOR.geometry.shape[0])
            await self.armed.write("Armed")
            if self.trigger_mode.value != "Internal":
                await asyncio.Event().wait()  # for a trigger that never comes
            frames = 1 if self.image_mode.value == "Single" else self.num_images.value
            for _ in range(frames):
                await asyncio.sleep(self.acquire_time.value)
                if "Disable" not in (self.array_callbacks.value, self.enable_callbacks.value):
                    await self.take_to_plugin()
                await self.array_counter.write(self.array_counter.value + 1)
        finally:
            await asyncio.shield(asyncio.create_task(self.end_acquisition()))

    async def end_acquisition(self) -> None:
        if self.acquire.value == "Done":  # it was stopped
            await asyncio.sleep(self.stop_time.value)
        self.acquisition = None
        await self.armed.write("Unarmed")
        await self.acquire.write("Done")

    async def take_to_plugin(self) -> None:
        if self.frames_to_drop.value > 0:
            await self.frames_to_drop.write(self.frames_to_drop.value - 1)
        elif self.auto_save.value == "Yes":
            writing = asyncio.create_task(self.save_frame())
            self.writing.add(writing)
            writing.add_done_callback(self.writing.discard)
            if self.blocking_callbacks.value == "Yes":
                await asyncio.shield(writing)

    async def save_frame(self) -> None:
        async with self.one_file:
            await self.write_status.write("Write OK")
            await self.write_message.write("")
            path = self.file_template.value % (self.file_path.value, self.file_name.value, self.file_number.value)
            if self.auto_increment.value == "Yes":
                await self.file_number.write(self.file_number.value + 1)
            await asyncio.sleep(self.write_time.value)
            try:
                if self.writes_to_fail.value > 0:
                    await self.writes_to_fail.write(self.writes_to_fail.value - 1)
                    raise OSError("No space left on device")
                write_simulated_frame(Path(path), DETECTOR, self.rate, self.acquire_time.value, self.rng)
            except OSError as error:
                await self.write_status.write("Write error")
                await self.write_message.write(f"Error opening file {path}: {error}")
            await self.full_file_name.write(path)
            await self.tiff_array_counter.write(self.tiff_array_counter.value + 1)


async def tell_ready(async_library: Any) -> None:
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run(PilatusIOC(sys.argv[1]).pvdb, interfaces=["127.0.0.1"], startup_hook=tell_ready)
