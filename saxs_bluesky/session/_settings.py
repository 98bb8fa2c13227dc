"""Settings of a beamline's session: from a TOML file and the environment."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from saxs_bluesky.errors import SchemaError
from saxs_bluesky.schemas import fill_defaults, load_schema, validate

SETTINGS_FILE = "SAXS_BEAMLINE"
"""Environment variable that names the TOML file; without it, ``beamline.toml`` in the working folder if it is there."""

_PATHS = ("calibration", "frames", "catalog", "output", "journal")


@dataclass(frozen=True)
class BeamlineSettings:
    """Settings of a session; ``schemas/beamline.schema.json`` describes each.

    Paths are absolute.

    Parameters
    ----------
    detector_prefix
        Prefix of the EPICS records of the detector; empty: a simulated one.
    calibration
        The calibration file; empty where there is none.
    frames, detector_frames
        The folder of images, as seen from here and as the detector's IOC sees it.
    catalog
        Folder of the catalog, or address of a Tiled server.
    output
        Folder for curves.
    journal
        Folder for what waits for the catalog.
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
        """True if the detector is a simulated one."""
        return not self.detector_prefix


# Such as SAXS_DETECTOR_PREFIX.
_VARIABLES = {field.name: f"SAXS_{field.name.upper()}" for field in fields(BeamlineSettings)}


def load_settings(environment: Mapping[str, str] | None = None) -> BeamlineSettings:
    """Read the settings: defaults, then the TOML file, then environment variables.

    Parameters
    ----------
    environment
        Environment variables; None: those of this process. ``SAXS_DETECTOR_PREFIX``,
        ``SAXS_CALIBRATION``, ``SAXS_FRAMES``, ``SAXS_DETECTOR_FRAMES``, ``SAXS_CATALOG``,
        ``SAXS_OUTPUT`` and ``SAXS_JOURNAL`` each set one; their paths are relative to the working folder.

    Returns
    -------
    The settings.

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


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SchemaError(f"{path}: wanted a file of settings, found {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SchemaError(f"{path}: wanted TOML, found {str(error).lower()}") from error
