"""Runs plans with the real `Pilatus` while something goes wrong: `python pilatus_faults.py PREFIX FOLDER NAME...`.

Each line of standard output is a JSON object: the ``name`` of what went wrong, the ``documents`` of the run, the
``error`` that the user saw, and the settings of the IOC ``before`` and ``after``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky import RunEngine
from bluesky.plans import list_scan
from bluesky.utils import FailedStatus, RunEngineInterrupted
from caproto.threading.pyepics_compat import PV
from ophyd import EpicsSignal, SoftPositioner
from ophyd.utils import RedundantStaging

from saxs_bluesky.devices import Pilatus

TIFF = (
    "CreateDirectory",
    "FilePath",
    "FileName",
    "FileNumber",
    "FileTemplate",
    "AutoIncrement",
    "AutoSave",
    "EnableCallbacks",
)
SETTINGS = [
    "cam1:TriggerMode",
    "cam1:ImageMode",
    "cam1:ArrayCallbacks",
    "cam1:Acquire",
    *(f"TIFF1:{name}" for name in TIFF),
]


class Session:
    """A RunEngine with its detector, and what it gave."""

    def __init__(self, prefix: str, folder: str) -> None:
        self.prefix = prefix
        self.pilatus = Pilatus(prefix, name="pilatus", write_path_template=folder)
        self.pilatus.wait_for_connection(timeout=30)
        self.pilatus.tiff.lag = 2.0  # what is missing is missing for good
        self.motor = SoftPositioner(name="motor", init_pos=0)
        self.engine = RunEngine({}, call_returns_result=False)
        self.engine.subscribe(lambda name, document: self.documents.append((name, document)))
        self.documents: list[tuple[str, Any]] = []
        self.records: dict[str, EpicsSignal] = {}

    def expose(self, seconds: float, frames: int = 1) -> None:
        self.engine(bps.mv(self.pilatus.exposure_time, seconds, self.pilatus.num_images, frames))

    def scan(self, points: int, react: Callable[[int], None] = lambda _: None) -> None:
        """Scan positions 0, 1, ...; ``react`` is told of the number of each event."""
        self.engine(
            list_scan([self.pilatus], self.motor, list(range(points))),
            {"event": lambda _, document: react(document["seq_num"])},
        )

    def record(self, name: str) -> EpicsSignal:
        """A record of the IOC; kept, since connections that come and go upset the IOC."""
        if name not in self.records:
            self.records[name] = EpicsSignal(f"{self.prefix}{name}", name=name, string=True)
            self.records[name].wait_for_connection(timeout=30)
        return self.records[name]

    def put(self, name: str, value: Any) -> None:
        self.record(name).put(value, wait=True)

    def settings(self) -> dict[str, Any]:
        return {name: str(self.record(name).get(timeout=30)) for name in SETTINGS}


def num_images_changed(session: Session) -> None:
    session.scan(4, lambda number: session.pilatus.num_images.put(2, wait=True) if number == 2 else None)


def paused(session: Session) -> None:
    """A pause in the second exposure, and a quick resume."""
    session.expose(0.5)
    session.put("FAULT:StopTime", 0.3)
    pause = threading.Timer(0.2, session.engine.request_pause)
    try:
        session.scan(4, lambda number: pause.start() if number == 1 else None)
    except RunEngineInterrupted:
        session.engine.resume()
    finally:
        session.put("FAULT:StopTime", 0.0)


def aborted(session: Session) -> None:
    session.expose(30)
    threading.Timer(0.7, session.engine.request_pause).start()
    try:
        session.scan(4)
    except RunEngineInterrupted:
        session.engine.abort("enough")


def aborted_at_once(session: Session) -> None:
    """An abort in an exposure that nothing has paused."""
    session.expose(30)
    threading.Timer(0.7, lambda: session.engine.abort("enough")).start()
    session.scan(4)


def frame_dropped(session: Session) -> None:
    session.scan(4, lambda number: session.put("FAULT:FramesToDrop", 1) if number == 1 else None)


def frame_of_three_dropped(session: Session) -> None:
    session.expose(0.02, frames=3)
    session.scan(3, lambda number: session.put("FAULT:FramesToDrop", 1) if number == 1 else None)


def write_failed(session: Session) -> None:
    session.scan(4, lambda number: session.put("FAULT:WritesToFail", 1) if number == 1 else None)


def first_write_of_three_failed(session: Session) -> None:
    session.expose(0.02, frames=3)
    session.scan(3, lambda number: session.put("FAULT:WritesToFail", 1) if number == 1 else None)


def error_of_before(session: Session) -> None:
    """The last write before the scan has failed; those of the scan are good."""
    session.put("FAULT:WritesToFail", 1)
    session.put("TIFF1:FilePath", "/")
    session.put("cam1:ArrayCallbacks", "Enable")
    session.put("TIFF1:EnableCallbacks", "Enable")
    session.put("TIFF1:AutoSave", "Yes")
    session.put("cam1:Acquire", "Acquire")
    time.sleep(0.5)
    assert session.record("TIFF1:WriteStatus").get() == "Write error"
    session.scan(3)


def slow_writes(session: Session) -> None:
    """The plugin does not let the detector wait, and is late."""
    session.put("FAULT:WriteTime", 0.4)
    session.pilatus.tiff.stage_sigs["blocking_callbacks"] = "No"
    try:
        session.scan(3)
    finally:
        session.put("FAULT:WriteTime", 0.0)
        session.pilatus.tiff.ensure_blocking()


def frame_taken_by_hand(session: Session) -> None:
    """Somebody takes a frame between two points, and one while the third is triggered."""

    def take(number: int) -> None:
        if number < 3:
            session.put("cam1:Acquire", "Acquire")
            if number == 1:
                time.sleep(0.3)

    session.scan(4, take)


def failure_passed_over(session: Session) -> None:
    """A plan that goes on when a point has failed, and reads it."""
    pilatus = session.pilatus

    @bpp.stage_decorator([pilatus])
    @bpp.run_decorator()
    def plan() -> Any:
        yield from bps.trigger_and_read([pilatus])
        session.put("FAULT:FramesToDrop", 1)
        try:
            yield from bps.trigger(pilatus, wait=True)
        except FailedStatus:
            session.documents.append(("passed over", {}))
        yield from bps.trigger_and_read([pilatus])

    session.engine(plan())


def failed_point_read(session: Session) -> None:
    pilatus = session.pilatus

    @bpp.stage_decorator([pilatus])
    @bpp.run_decorator()
    def plan() -> Any:
        yield from bps.trigger_and_read([pilatus])
        session.put("FAULT:FramesToDrop", 1)
        yield from bps.create()
        try:
            yield from bps.trigger(pilatus, wait=True)
        except FailedStatus:
            session.documents.append(("passed over", {}))
        yield from bps.read(pilatus)
        yield from bps.save()

    session.engine(plan())


def setting_that_stays(session: Session) -> None:
    """One setting cannot be put back."""
    session.put("FAULT:Deaf", 1)
    try:
        session.scan(2)
    finally:
        session.documents.append(("settings", session.settings()))
        session.put("FAULT:Deaf", 0)
        session.pilatus.unstage()


def no_folder(session: Session) -> None:
    """Staging fails half way."""
    template = session.pilatus.tiff.write_path_template
    session.pilatus.tiff.write_path_template = "/dev/null/frames"
    try:
        session.scan(2)
    finally:
        session.pilatus.tiff.write_path_template = template


def staged_twice(session: Session) -> None:
    session.pilatus.stage()
    try:
        session.pilatus.stage()
    except RedundantStaging as error:
        session.documents.append(("refused", {"error": str(error)}))
    session.pilatus.unstage()
    session.scan(2)


def first_session(session: Session) -> None:
    """Another process stages the detector between two points of this one."""
    folder = Path(session.pilatus.tiff.write_path_template)

    def hand_over(number: int) -> None:
        if number == 2:
            (folder / "go").touch()
            wait_for(folder / "begun")

    session.expose(0.1)
    session.scan(5, hand_over)


def second_session(session: Session) -> None:
    """What the other process does."""
    folder = Path(session.pilatus.tiff.write_path_template)
    wait_for(folder / "go")
    session.scan(5, lambda number: (folder / "begun").touch() if number == 2 else None)


def wait_for(file: Path) -> None:
    end = time.monotonic() + 100
    while not file.exists():
        assert time.monotonic() < end, f"{file} does not come"
        time.sleep(0.02)


def scan_while_the_ioc_gets(session: Session, number: signal.Signals) -> None:
    """Scan, and send a signal to the IOC in mid-exposure."""
    session.expose(30)

    def send() -> None:
        while session.record("cam1:Armed").get() != "Armed":
            time.sleep(0.05)
        time.sleep(0.3)
        os.kill(int(os.environ["IOC_PID"]), number)

    threading.Thread(target=send, daemon=True).start()
    session.scan(3)


def died(session: Session) -> None:
    """The IOC dies in mid-exposure."""
    scan_while_the_ioc_gets(session, signal.SIGKILL)


def froze(session: Session) -> None:
    """The IOC does not answer any more, and its connection stays."""
    scan_while_the_ioc_gets(session, signal.SIGSTOP)


def died_before_the_reading(session: Session) -> None:
    pilatus = session.pilatus

    @bpp.stage_decorator([pilatus])
    @bpp.run_decorator()
    def plan() -> Any:
        yield from bps.trigger(pilatus, wait=True)
        os.kill(int(os.environ["IOC_PID"]), signal.SIGKILL)
        while pilatus.tiff.plugin_type.connected:
            time.sleep(0.02)
        yield from bps.create()
        yield from bps.read(pilatus)
        yield from bps.save()

    session.engine(plan())


def died_between_points(session: Session) -> None:
    def kill(number: int) -> None:
        if number == 2:
            os.kill(int(os.environ["IOC_PID"]), signal.SIGKILL)
            while session.pilatus.tiff.plugin_type.connected:
                time.sleep(0.02)

    session.scan(3, kill)


def main() -> None:
    prefix, folder, *names = sys.argv[1:]
    session = Session(prefix, folder)
    for name in names:
        session.documents.clear()
        session.expose(0.02)
        before = session.settings()
        error = ""
        try:
            globals()[name](session)
        except Exception as exception:  # noqa: BLE001 (the outcome tells it)
            error = str(exception)
        dead = name.startswith(("died", "froze"))
        outcome = {
            "name": name,
            "documents": session.documents,
            "error": error,
            "state": session.engine.state,
            "before": before,
            "after": None if dead else session.settings(),
        }
        sys.stdout.write(json.dumps(outcome) + "\n")
        sys.stdout.flush()
    PV.default_context().disconnect()


if __name__ == "__main__":
    main()
