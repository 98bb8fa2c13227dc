"""Pilatus TIFF files: reading frames with their headers, and writing them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from saxs_bluesky.errors import FrameError
from saxs_bluesky.reduction._files import replacing
from saxs_bluesky.reduction._types import Image

_TIME_FORMAT = "%Y:%m:%d %H:%M:%S"
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"


@dataclass(frozen=True)
class PilatusHeader:
    """What the detector says of a frame; None where it does not.

    ``exposure_time`` and ``exposure_period`` in s, ``count_cutoff`` the counts from which on a
    pixel is saturated, ``threshold`` in eV, ``wavelength`` in nm, ``pixel_size`` (y, x) in mm,
    ``date_time`` as the detector's clock wrote it, ``model`` and ``software`` its names,
    ``image_path`` the folder on the detector's computer. ``entries`` holds every line of the
    header, key to text.
    """

    exposure_time: float | None = None
    exposure_period: float | None = None
    count_cutoff: float | None = None
    threshold: float | None = None
    wavelength: float | None = None
    pixel_size: tuple[float, float] | None = None
    image_path: str | None = None
    date_time: str | None = None
    model: str | None = None
    software: str | None = None
    entries: dict[str, str] = field(default_factory=dict)

    def time(self, zone: tzinfo) -> datetime | None:
        """When the frame was taken, the detector's clock being in time zone ``zone``; None if unknown."""
        if self.date_time is None:
            return None
        return datetime.strptime(self.date_time, _TIME_FORMAT).replace(tzinfo=zone)


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of the detector: ``image`` of shape (rows, columns), its header, and where it came from."""

    image: Image
    header: PilatusHeader
    path: Path


def read_frame(path: str | Path) -> Frame:
    """Read one TIFF image with its header.

    Raises
    ------
    FrameError
        The file is absent, empty, incomplete, no TIFF, or holds no single grey image.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size == 0:
            raise FrameError(f"{path}: wanted a TIFF image, found an empty file")
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            _check_complete(page, size, path)
            image = page.asarray()
            tags = {tag.name: tag.value for tag in page.tags}
    except FrameError:
        raise
    except OSError as error:
        raise FrameError(f"{path}: wanted a TIFF image, found {error.strerror or error}") from error
    # tifffile has many ways to fail on a file that is no TIFF or damaged.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FrameError(f"{path}: wanted a TIFF image, found an unreadable file ({reason})") from error
    if image.ndim != 2 or image.dtype.kind not in "iuf":
        raise FrameError(
            f"{path}: wanted one grey image of shape (rows, columns), found shape {image.shape} of {image.dtype}"
        )
    return Frame(image, _parse_header(tags), path)


def _check_complete(page: Any, size: int, path: Path) -> None:
    """A detector writes in place: the header can be there before the pixels are."""
    ends = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
    if not ends:
        raise FrameError(f"{path}: wanted a TIFF image, found no pixels in it")
    if max(ends) > size:
        raise FrameError(f"{path}: wanted an image that ends at byte {max(ends)}, found a file cut short at {size}")


def _parse_header(tags: dict[str, Any]) -> PilatusHeader:
    entries: dict[str, str] = {}
    for line in str(tags.get("ImageDescription", "")).splitlines():
        match = re.match(r"#?\s*(\w+)\s*(?:[=:]\s*|\s+)(?=\S)(.*\S)", line)
        if match:
            entries[match[1]] = match[2]

    def number(key: str) -> float | None:
        match = re.match(_NUMBER, entries.get(key, ""))
        return float(match[0]) if match else None

    wavelength = number("Wavelength")
    sizes = re.findall(rf"({_NUMBER})\s*m\b", entries.get("Pixel_size", ""))
    return PilatusHeader(
        exposure_time=number("Exposure_time"),
        exposure_period=number("Exposure_period"),
        count_cutoff=number("Count_cutoff"),
        threshold=number("Threshold_setting"),
        wavelength=None if wavelength is None else wavelength / 10,
        # The header gives x before y.
        pixel_size=(float(sizes[1]) * 1000, float(sizes[0]) * 1000) if len(sizes) == 2 else None,
        image_path=entries.get("Image_path"),
        date_time=_text(tags.get("DateTime")),
        model=_text(tags.get("Model")),
        software=_text(tags.get("Software")),
        entries=entries,
    )


def _text(value: Any) -> str | None:
    return str(value).strip() or None if value is not None else None


def write_frame(path: str | Path, image: Image, header: PilatusHeader | None = None) -> None:
    """Write an image as a Pilatus writes it: one strip of int32 at offset 4096, uncompressed.

    The file appears under its name only when it is whole.

    Parameters
    ----------
    path
        Where to; the folder must exist.
    image
        Counts, shape (rows, columns); -1 in gaps, -2 in bad pixels.
    header
        Its ``entries`` become the lines of the header, in their order.
    """
    header = header or PilatusHeader()
    lines = [f"# {key}{_SEPARATORS.get(key, ' ')}{text}" for key, text in header.entries.items()]
    taken = header.date_time or datetime.now(UTC).strftime(_TIME_FORMAT)
    with replacing(Path(path)) as temporary:
        tifffile.imwrite(
            temporary,
            np.ascontiguousarray(image, dtype="<i4"),
            byteorder="<",
            photometric="minisblack",
            rowsperstrip=image.shape[0],
            align=4096,
            metadata=None,
            description="\r\n".join(lines) + "\r\n" if lines else None,
            datetime=taken,
            software=header.software or "saxs-bluesky",
            extratags=[("Model", "s", 0, header.model, True)] if header.model else [],
        )


_SEPARATORS = {"Tau": " = ", "N_excluded_pixels": " = "} | dict.fromkeys(
    (
        "Threshold_setting",
        "Gain_setting",
        "Excluded_pixels",
        "Flat_field",
        "Trim_file",
        "Image_path",
        "Ratecorr_lut_directory",
        "Retrigger_mode",
    ),
    ": ",
)
