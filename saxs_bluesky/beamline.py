"""Settings of a beamline's session: from a TOML file and the environment."""

from __future__ import annotations

import logging
import os
import threading
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import matplotlib as mpl
from bluesky.utils import DefaultDuringTask
from matplotlib._pylab_helpers import Gcf
from matplotlib.backends.registry import BackendFilter, backend_registry

from saxs_bluesky.callbacks import CatalogWriter, LiveCurves
from saxs_bluesky.errors import OutputError, SchemaError
from saxs_bluesky.plotting import avoid_broken_qt
from saxs_bluesky.schemas import fill_defaults, load_schema, validate

_log = logging.getLogger(__name__)

SETTINGS_FILE = "SAXS_BEAMLINE"
"""Environment variable that names the TOML file; without it, ``beamline.toml`` in the working folder if it is there."""

_VARIABLES = {
    "detector_prefix": "SAXS_DETECTOR_PREFIX",
    "calibration": "SAXS_CALIBRATION",
    "frames": "SAXS_FRAMES",
    "detector_frames": "SAXS_DETECTOR_FRAMES",
    "catalog": "SAXS_CATALOG",
    "output": "SAXS_OUTPUT",
    "journal": "SAXS_JOURNAL",
}
_WINDOWS_EVERY = 0.05  # seconds: windows answer, and the plan's end is hardly late
_PATHS = ("calibration", "frames", "catalog", "output", "journal")


@dataclass(frozen=True)
class BeamlineSettings:
    """What a session needs to know; ``schemas/beamline.schema.json`` describes each setting.

    Paths are absolute; ``calibration`` is empty where there is none.
    """

    detector_prefix: str
    calibration: str
    frames: str
    detector_frames: str
    catalog: str
    output: str
    journal: str

    @property
    def simulated(self) -> bool:
        """Whether the detector is a simulated one."""
        return not self.detector_prefix


def load_settings(environment: Mapping[str, str] | None = None) -> BeamlineSettings:
    """Read the settings: defaults, then the TOML file, then environment variables.

    Parameters
    ----------
    environment
        Environment variables; None: those of this process. ``SAXS_DETECTOR_PREFIX``,
        ``SAXS_CALIBRATION``, ``SAXS_FRAMES``, ``SAXS_DETECTOR_FRAMES``, ``SAXS_CATALOG``,
        ``SAXS_OUTPUT`` and ``SAXS_JOURNAL`` each set one; their paths are relative to the working folder.

    Raises
    ------
    SchemaError
        The file cannot be read, or holds what is no setting; a real detector has no calibration.
    """
    environment = os.environ if environment is None else environment
    path = Path(environment.get(SETTINGS_FILE, "beamline.toml"))
    document = _read(path) if SETTINGS_FILE in environment or path.exists() else {}
    where = str(path) if document else "environment"
    schema = load_schema("beamline")
    validate(document, schema, where)
    values: dict[str, str] = fill_defaults(document, schema)
    values |= {name: environment[variable] for name, variable in _VARIABLES.items() if variable in environment}
    for name in _PATHS:
        inside = path.parent if name in document and _VARIABLES[name] not in environment else Path()
        if values[name] and "://" not in values[name]:
            values[name] = str((inside / values[name]).absolute())
    settings = BeamlineSettings(**values)
    if not settings.simulated and not settings.calibration:
        raise SchemaError(f"{where}: wanted a calibration for detector {settings.detector_prefix}, found none")
    return settings


def open_writer(settings: BeamlineSettings) -> CatalogWriter:
    """Open the writer to a session's catalog, with its journal.

    Where another session has the journal already, this one has a temporary one, and says so.
    """
    try:
        writer = CatalogWriter(settings.catalog, journal=settings.journal)
    except OutputError as error:
        _log.warning("%s; this session's journal is a temporary one", error)
        return CatalogWriter(settings.catalog)
    writer.end_left_over("the session ended before the run")
    return writer


def show_where_possible(live: LiveCurves) -> bool:
    """Open the window of the live plot in an IPython session that has a display; elsewhere, do nothing.

    Returns
    -------
    Whether there is a window now.
    """
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    if shell is None or not has_windows(os.environ.get("MPLBACKEND", "auto")):
        return False
    try:
        avoid_broken_qt()
        # Lets windows live while the prompt waits for input.
        _, backend = shell.enable_matplotlib()
        if not has_windows(backend):
            return False
        live.show()
    # No display, no toolkit, a toolkit that does not start: a session goes on without the window.
    except Exception as error:  # noqa: BLE001 (each toolkit has errors of its own)
        _log.warning("no window for the live plot: %s", error)
        return False
    return True


def has_windows(backend: str) -> bool:
    """Whether a backend of Matplotlib has windows; one that is yet to be chosen may have."""
    headless = backend_registry.list_builtin(BackendFilter.NON_INTERACTIVE)
    return backend.lower() not in {name.lower() for name in headless}


class LiveWindows(DefaultDuringTask):
    """Keeps the windows of Matplotlib alive while a plan runs: a RunEngine's ``during_task``.

    bluesky's own does so for Qt alone.
    """

    def __init__(self) -> None:
        avoid_broken_qt()  # bluesky's starts Qt if Matplotlib would use it
        super().__init__()  # type: ignore[no-untyped-call]

    def block(self, blocking_event: threading.Event) -> None:
        """Wait until the plan has ended."""
        if "qt" in mpl.get_backend().lower() or threading.current_thread() is not threading.main_thread():
            super().block(blocking_event)  # type: ignore[no-untyped-call]
        while not blocking_event.wait(_WINDOWS_EVERY):
            for manager in Gcf.get_all_fig_managers():
                manager.canvas.flush_events()


def copy_profile(folder: Path) -> list[Path]:
    """Copy the start-up files to a folder where they can be edited, and return their paths.

    Raises
    ------
    OutputError
        A file is there already, or the folder cannot be written.
    """
    source = files("saxs_bluesky.profile_collection")
    startup = sorted(entry.name for entry in (source / "startup").iterdir() if entry.name.endswith(".py"))
    targets = {folder / "startup" / name: source / "startup" / name for name in startup}
    targets[folder / "README.md"] = source / "README.md"
    there = [str(path) for path in targets if path.exists()]
    if there:
        raise OutputError(f"{folder}: wanted a folder without start-up files, found {', '.join(there)}")
    try:
        (folder / "startup").mkdir(parents=True, exist_ok=True)
        for path, content in targets.items():
            path.write_bytes(content.read_bytes())
    except OSError as error:
        raise OutputError(f"{folder}: the profile cannot be written ({error.strerror})") from error
    return list(targets)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SchemaError(f"{path}: wanted a file of settings, found {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SchemaError(f"{path}: wanted TOML, found {str(error).lower()}") from error
