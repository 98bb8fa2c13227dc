"""The calibration: the JSON file that users know, as frozen dataclasses."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from saxs_bluesky.errors import CalibrationError, GeometryError, MaskError
from saxs_bluesky.reduction._geometry import Geometry
from saxs_bluesky.reduction._polarization import Polarization
from saxs_bluesky.reduction._slices import Direction, Plane
from saxs_bluesky.reduction.arrays import BoolImage
from saxs_bluesky.reduction.formats.masks import read_mask
from saxs_bluesky.schemas import fill_defaults, load_schema, parse_json, validate

# Spellings that occur in files of deployed versions, and the format's own.
_OTHER_SPELLINGS = {"DetectorDistanceMM": "DedectorDistanceMM", "ImageSize": "Imagesize"}
#: What files of curves add to the calibration in their first line, which users cut out to use it again.
PROVENANCE = "Provenance"


@dataclass(frozen=True)
class MaskSettings:
    """One entry of ``Masks``: a curve over q, or over the azimuth in phi mode; q in 1/nm.

    Parameters
    ----------
    mask_file
        Path of the mask as the calibration says it; empty where there is none.
    oversampling
        Parts of a pixel along each edge.
    pixels_per_bin
        Width of a bin in pixels.
    name
        What users call the mask.
    q_start, q_stop
        Range of the integral parameters, in 1/nm. ``q_stop`` is 0 where there is no range, and all of them are 0 then;
        it is infinite in phi mode where the file says 0.
    phi_mode
        True for a curve over the azimuth.
    """

    mask_file: str
    oversampling: int
    pixels_per_bin: float
    name: str
    q_start: float
    q_stop: float
    phi_mode: bool


@dataclass(frozen=True)
class SliceSettings:
    """One entry of ``Slices``.

    Parameters
    ----------
    direction
        ``x`` along rows, ``y`` along columns.
    plane
        What the axis shows: the component of q in the sample's surface, or normal to it.
    position
        Index of the middle row from the top or of the middle column from the left, counted from 0, whichever corner the
        file counts from.
    margin
        Rows or columns on each side of the middle one.
    incident_angle
        Angle between beam and surface, in radians.
    mask
        Index into ``Masks``; None: no pixel is masked.
    """

    direction: Direction
    plane: Plane
    position: int
    margin: int
    incident_angle: float
    mask: int | None


@dataclass(frozen=True, eq=False)
class Calibration:
    """All that is needed to turn images of one detector into curves.

    Made by `from_file` or `from_dict`.

    Parameters
    ----------
    document
        The calibration as JSON holds it, complete with defaults and in the format's own spelling.
    where
        What errors call it: its path, or another name.
    geometry
        Where the pixels are.
    masks, slices
        Entries of ``Masks`` and ``Slices``, in their order.
    polarization
        Fraction and angle of the polarization; None: intensities are not corrected for it.
    """

    document: Mapping[str, Any]
    where: str
    geometry: Geometry
    masks: tuple[MaskSettings, ...]
    slices: tuple[SliceSettings, ...]
    polarization: Polarization | None
    _mask_sources: tuple[str | Path | bytes | None, ...] = field(repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """A copy, since another thread may add what is worked out once while this is pickled for a worker."""
        return self.__dict__.copy()

    @classmethod
    def from_file(cls, path: str | Path) -> Calibration:
        """Read a calibration file; the paths of its masks are relative to it.

        Raises
        ------
        CalibrationError
            The file cannot be read, or contradicts itself.
        SchemaError
            It does not fit the schema of calibrations.
        """
        path = Path(path)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise CalibrationError(f"{path}: wanted a calibration file, found {error.strerror}") from error
        return cls.from_dict(parse_json(content, str(path)), folder=path.parent, where=str(path))

    @classmethod
    def from_dict(
        cls,
        document: Mapping[str, Any],
        *,
        masks: Sequence[bytes | None] | None = None,
        folder: str | Path = ".",
        where: str = "calibration",
    ) -> Calibration:
        """Make a calibration from its JSON document.

        Parameters
        ----------
        document
            As the JSON parser returns it; it is copied.
        masks
            Contents of the mask files, one for each entry of ``Masks`` and in their order, None for
            an entry without mask; without this the files are read.
        folder
            What the paths of the mask files are relative to.
        where
            What errors call the document.

        Raises
        ------
        CalibrationError
            The document contradicts itself, or the number of masks is wrong.
        SchemaError
            It does not fit the schema of calibrations.
        """
        plain = complete_document(document, where)
        try:
            geometry = _geometry(plain)
        except GeometryError as error:
            raise CalibrationError(f"{where}: {error}") from error
        mask_settings = tuple(_mask_settings(entry, f"{where}: Masks[{i}]") for i, entry in enumerate(plain["Masks"]))
        slice_settings = tuple(
            _slice_settings(entry, geometry.shape, len(mask_settings), f"{where}: Slices[{i}]")
            for i, entry in enumerate(plain["Slices"])
        )
        if not slice_settings and (plain["GISAXSmode"] or not mask_settings):
            wanted = "Slices for GISAXSmode" if plain["GISAXSmode"] else "Masks or Slices"
            raise CalibrationError(f"{where}: wanted at least one entry in {wanted}, found none: no curve to make")
        if masks is not None and len(masks) != len(mask_settings):
            raise CalibrationError(
                f"{where}: wanted one mask for each of the {len(mask_settings)} entries of Masks, found {len(masks)}"
            )
        sources = tuple(masks) if masks is not None else tuple(_mask_path(m, Path(folder)) for m in mask_settings)
        return cls(
            document=plain,
            where=where,
            geometry=geometry,
            masks=mask_settings,
            slices=slice_settings,
            polarization=_polarization(plain),
            _mask_sources=sources,
        )

    @property
    def gisaxs_mode(self) -> bool:
        """True if only slices are made: GISAXS mode."""
        return bool(self.document["GISAXSmode"])

    @property
    def curve_names(self) -> tuple[str, ...]:
        """Names of the curves, numbered over masks, then slices: ``R0`` radial, ``P1`` azimuthal, ``S2`` a slice."""
        masks = () if self.gisaxs_mode else self.masks
        slices = range(len(self.masks), len(self.masks) + len(self.slices))
        return (
            *(f"{'P' if mask.phi_mode else 'R'}{index}" for index, mask in enumerate(masks)),
            *(f"S{index}" for index in slices),
        )

    def load_mask(self, index: int) -> BoolImage:
        """Mask of entry ``index`` of ``Masks``: True where masked, shape (rows, columns).

        Raises
        ------
        MaskError
            It is unreadable, or its shape is not that of the images.
        """
        source, settings = self._mask_sources[index], self.masks[index]
        if source is None:
            return np.zeros(self.geometry.shape, dtype=bool)
        try:
            # Bytes may have come over a network, and claim to be more than they are.
            rows, columns = self.geometry.shape
            mask = read_mask(source, settings.mask_file, rows * columns if isinstance(source, bytes) else None)
        except MaskError as error:
            raise MaskError(f"{error} (MaskFile in Masks[{index}] of {self.where})") from error
        if mask.shape != self.geometry.shape:
            turned = ": its rows are the image's columns, turn it" if mask.shape == self.geometry.shape[::-1] else ""
            raise MaskError(
                f"{settings.mask_file}: wanted a mask of shape {self.geometry.shape} (Imagesize in "
                f"{self.where}), found {mask.shape}{turned}"
            )
        return mask

    def mask_content_sha256(self) -> tuple[str, ...]:
        """SHA-256 of what is in each mask's file now, or was attached; empty for an entry without mask.

        Raises
        ------
        MaskError
            A file cannot be read.
        """
        return tuple(self._content_sha256(index) for index in range(len(self.masks)))

    def _content_sha256(self, index: int) -> str:
        source = self._mask_sources[index]
        if source is None:
            return ""
        if not isinstance(source, bytes):
            path = str(source).partition("::")[0]  # of an HDF5 file the whole, whichever dataset is meant
            try:
                source = Path(path).read_bytes()
            except OSError as error:
                raise MaskError(
                    f"{path}: wanted a mask, found {error.strerror} (MaskFile in Masks[{index}] of {self.where})"
                ) from error
        return hashlib.sha256(source).hexdigest()

    def json(self) -> str:
        """The complete document as one line of JSON."""
        return self._line

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the complete document as one line of JSON."""
        return hashlib.sha256(self._line.encode()).hexdigest()

    @cached_property
    def _line(self) -> str:
        # Every curve's file begins with it.
        return json.dumps(self.document)


def complete_document(document: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A copy of a calibration document, checked, with defaults and in the format's own spelling.

    Raises
    ------
    CalibrationError
        The document has a key in both spellings.
    SchemaError
        It does not fit the schema of calibrations.
    """
    schema = load_schema("calibration")
    plain = own_spelling(copy.deepcopy(dict(document)), where)
    validate(plain, schema, where)
    filled: dict[str, Any] = fill_defaults(plain, schema)
    return filled


def own_spelling(document: dict[str, Any], where: str) -> dict[str, Any]:
    """Bring the other spellings that files have to the format's own, in place; leave out what curves add.

    Parameters
    ----------
    document
        The calibration document; it is changed.
    where
        What errors call it.

    Returns
    -------
    The document.

    Raises
    ------
    CalibrationError
        The document has a key in both spellings.
    """
    document.pop(PROVENANCE, None)
    geometry = document.get("Geometry")
    if isinstance(geometry, dict):
        for other, own in _OTHER_SPELLINGS.items():
            if other in geometry:
                if own in geometry:
                    raise CalibrationError(f'{where}: Geometry: wanted one of "{own}" and "{other}", found both')
                geometry[own] = geometry.pop(other)
    return document


def _geometry(document: dict[str, Any]) -> Geometry:
    geometry = document["Geometry"]
    pixel_size = [size / 1000 for size in geometry["PixelSizeMicroM"]]
    return Geometry(
        shape=(int(geometry["Imagesize"][0]), int(geometry["Imagesize"][1])),
        beam_center=(float(geometry["BeamCenter"][0]), float(geometry["BeamCenter"][1])),
        distance=float(geometry["DedectorDistanceMM"]),
        pixel_size=(pixel_size[0], pixel_size[-1]),
        wavelength=document["Wavelength"] / 10,
        tilt_angle=math.radians(geometry["Tilt"]["TiltAngleDeg"]),
        tilt_rotation=math.radians(geometry["Tilt"]["TiltRotDeg"]),
    )


def _mask_settings(entry: dict[str, Any], where: str) -> MaskSettings:
    q_stop = float(entry["qStop"])
    if q_stop == 0 and entry["Phi-mode"]:
        q_stop = math.inf
    elif q_stop > 0 and entry["qStart"] >= q_stop:
        raise CalibrationError(f"{where}: wanted qStart below qStop, found {entry['qStart']} and {entry['qStop']}")
    return MaskSettings(
        mask_file=entry["MaskFile"],
        oversampling=int(entry["Oversampling"]),
        pixels_per_bin=float(entry["PixelPerRadialElement"]),
        name=entry["Name"],
        q_start=float(entry["qStart"]),
        q_stop=q_stop,
        phi_mode=entry["Phi-mode"],
    )


def _slice_settings(entry: dict[str, Any], shape: tuple[int, int], masks: int, where: str) -> SliceSettings:
    along_row = entry["Direction"] == "x"
    size = shape[0] if along_row else shape[1]
    cut = int(entry["CutPosition"])
    if cut > size:
        what = "rows" if along_row else "columns"
        raise CalibrationError(f"{where}.CutPosition: wanted a number from 1 to {size} ({what}), found {cut}")
    mask = int(entry["MaskRef"])
    if mask >= masks:
        raise CalibrationError(f"{where}.MaskRef: wanted -1 or an index into the {masks} Masks, found {mask}")
    from_bottom = along_row and entry["CutOrigin"] == "bottom-left"
    return SliceSettings(
        direction=entry["Direction"],
        plane=entry["Plane"],
        position=size - cut if from_bottom else cut - 1,
        margin=int(entry["CutMargin"]),
        incident_angle=math.radians(entry["IncidentAngle"]),
        mask=None if mask < 0 else mask,
    )


def _mask_path(settings: MaskSettings, folder: Path) -> str | None:
    if not settings.mask_file:
        return None
    path = folder / settings.mask_file
    try:
        return str(path.absolute())  # for a process that begins elsewhere, or later, when this folder is gone
    except OSError:
        return str(path)


def _polarization(document: dict[str, Any]) -> Polarization | None:
    correction = document.get("PolarizationCorrection")
    if correction is None:
        return None
    return Polarization(fraction=float(correction["Fraction"]), angle=math.radians(correction["Angle"]))
